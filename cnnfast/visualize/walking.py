"""A network, layer by layer: also those inside of nested networks and of branches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations

if TYPE_CHECKING:
    from ..layers import Layer
    from ..models import Sequential


def walk(model: Sequential) -> Iterator[tuple[str, Layer]]:
    """Yield name and layer in order. What is inside of a layer is named "outer/inner".

    A nested Sequential is no layer of its own here: its layers are. A `Residual` or a `Parallel` comes after the layers of
    its branches: "residual/main/conv2d", ..., "residual".
    """
    for name, layer in model.named_sublayers():
        yield from _inside(name, layer)


def _inside(name: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    from ..models import Sequential

    is_network = isinstance(layer, Sequential)
    if is_network or is_joint(layer):
        for inner_name, inner in layer.named_sublayers():
            yield from _inside(f"{name}/{inner_name}", inner)
    if not is_network:
        yield name, layer


def is_joint(layer: Layer) -> bool:
    """Whether it only joins branches, whose layers are walked through by themselves."""
    from ..layers import Parallel, Residual

    return isinstance(layer, (Parallel, Residual))


class Trace:
    """A private copy of a network that remembers what each of its layers returned, and the gradient of that.

    It infers (no dropout, fixed statistics, images as they are), and gradients can be pulled through it all the same. A
    last softmax or sigmoid is left out if `logits`: shares of one whole can't all rise, so their gradients say little of
    one class.

    Attributes
    ----------
    layers : dict of str to Layer
        By name, in order.
    outputs, gradients : dict of str to ndarray
        Of the last `forward` and `backward`.
    """

    def __init__(self, model: Sequential, *, logits: bool = False) -> None:
        self.model: Sequential = copy.deepcopy(model)
        self.layers = dict(walk(self.model))
        self.logits = logits and self.model.activation in (activations.softmax, activations.sigmoid)
        self.outputs: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self._start: dict[str, np.ndarray] = {}
        _rest(self.model)
        for name, layer in self.layers.items():
            self._watch(name, layer)

    def forward(self, batch: np.ndarray) -> np.ndarray:
        """Return the network's output."""
        return self.model.forward(batch, training=True, logits=self.logits)

    def backward(self, gradient: np.ndarray, layer: str | None = None) -> np.ndarray:
        """From the gradient of the output of a layer (by default the last) to that of the network's input."""
        last = list(self.layers)[-1]
        self._start = {layer or last: gradient}
        return self.model.backward(np.zeros_like(self.outputs[last]))  # type: ignore[return-value]

    def _watch(self, name: str, layer: Any) -> None:
        forward, backward = layer.forward, layer.backward

        def watched_forward(*args: Any, **kwargs: Any) -> np.ndarray:
            self.outputs[name] = forward(*args, **kwargs)
            return self.outputs[name]

        def watched_backward(dy: np.ndarray) -> np.ndarray:
            self.gradients[name] = self._start.get(name, dy)
            return backward(self.gradients[name])

        layer.forward, layer.backward = watched_forward, watched_backward


def _rest(layer: Any) -> None:
    """Make a layer do in training what it does in inference."""
    from ..layers.augment import RandomCrop, _Random

    if hasattr(layer, "rate"):
        layer.rate = 0.0
    if not layer.sublayers:
        layer.trainable = False  # one that is frozen does: Keras's rule for batch normalization, too
    if isinstance(layer, RandomCrop):
        vars(layer)["_draw"] = layer._middle
    elif isinstance(layer, _Random):
        vars(layer).update(forward=lambda x, training=False: x, backward=lambda dy: dy)
    for inner in layer.sublayers:
        _rest(inner)


def input_shape(function: str, model: Sequential) -> tuple[int, ...]:
    """The shape of one image that the network takes."""
    shape = known(function, model)
    if None in shape:
        raise ValueError(f"{function}: model must take images of one size, it takes {shape}")
    return tuple(size for size in shape if size is not None)


def one(function: str, model: Sequential, image: np.ndarray) -> np.ndarray:
    """`image` as a batch of one, in the network's dtype."""
    image, shape = np.asarray(image), known(function, model)
    if image.ndim == len(shape) - 1 and shape[-1] == 1:
        image = image[..., None]
    if image.ndim != len(shape) or any(size not in (None, given) for size, given in zip(shape, image.shape)):
        raise ValueError(f"{function}: image must have shape {shape}, got {image.shape}")
    return image[None].astype(model.dtype)


def known(function: str, model: Sequential) -> tuple[int | None, ...]:
    if model.input_shape is None:
        raise ValueError(f"{function}: model is not built: call fit or build first")
    return tuple(model.input_shape[1:])
