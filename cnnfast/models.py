"""`Sequential`: a network as a list of layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from . import groups
from . import layers as layers_module
from .activations import ActivationFunction
from .layers import Input, Layer
from .layers._arguments import Shape
from .layers.base import Clock, fresh_seed
from .ops.check import any_array
from .plans import infer
from .registry import serialize
from .training import Trainer


class Sequential(Trainer, Layer):
    """A network: layers one after the other. It is a layer itself, so networks nest.

    Parameters
    ----------
    layers : iterable of Layer, optional
        With an `Input` in front, the network is built at once; else by the first batch, or by `build`.
    trainable, name
        As for every layer.
    seed : int, optional
        Decides the initial weights, the order of the samples in every epoch, and dropout. By default drawn afresh; the
        network remembers it.
    dtype : "float32" or "float64", optional
        Of the weights and of everything that is computed; float32 by default.
    class_names : list of str, optional
        What the outputs stand for. The network only remembers it, also in its file.

    Examples
    --------
    >>> model = Sequential([layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
    ...                     layers.Flatten(), layers.Dense(10, activation="softmax")], seed=0)
    >>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> history = model.fit(x, y, epochs=5, batch_size=64)
    """

    def __init__(
        self, layers: Iterable[Layer] | None = None, trainable: bool = True, name: str | None = None, *,
        seed: int | None = None, dtype: Any = None, class_names: Sequence[str] | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        if seed is not None and (isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**64):
            raise ValueError(f"Sequential: seed must be an int from 0 to 2**64 - 1, got {seed!r}")
        self._clock = Clock(fresh_seed() if seed is None else int(seed))
        self.seed = self._clock.seed
        if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names or ()):
            raise TypeError(f"Sequential: class_names must be a list of str, got {class_names!r}")
        self.class_names = None if class_names is None else list(class_names)
        self._layers: list[Layer] = []
        self._input: Input | None = None
        self._init_trainer()
        for layer in layers or ():
            self._append(layer)
        if not trainable:
            self.trainable = False
        self._build_if_known()

    # --- layers ------------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the `Input`."""
        return list(self._layers)

    @property
    def sublayers(self) -> Sequence[Layer]:
        return self._layers

    @property
    def activation(self) -> ActivationFunction | None:  # type: ignore[override]
        return self._layers[-1].activation if self._layers else None

    def add(self, layer: Layer) -> None:
        """Append a layer; a network that is built already keeps its weights.

        Raises
        ------
        TypeError
            Not a layer.
        ValueError
            The layer is in the network already, or another of its name is, or the shapes don't fit.
        """
        self._append(layer)
        try:
            self._build_if_known()
        except ValueError:
            self._layers.pop()
            raise

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self._layers:
            raise ValueError("Sequential: pop from a network without layers")
        layer = self._layers.pop()
        if self._layers:
            self._build_if_known()
        return layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its index."""
        if (name is None) == (index is None):
            raise ValueError("get_layer: give a name or an index")
        if index is not None:
            if not -len(self._layers) <= index < len(self._layers):
                raise ValueError(f"get_layer: index {index} is outside 0…{len(self._layers) - 1}")
            return self._layers[index]
        for layer in self._layers:
            if layer.name == name:
                return layer
        raise ValueError(f"get_layer: no layer {name!r}; there are {', '.join(layer.name for layer in self._layers)}")

    def _append(self, layer: Any) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential: layer must be a Layer, got {layer!r}")
        if isinstance(layer, Input):
            if self._layers or self._input is not None:
                raise ValueError("Sequential: an Input must come first, and once")
            self._input = layer
            return
        if any(layer is other for other in self._layers):
            raise ValueError(f'Sequential: layer "{layer.name}" is in the network already')
        taken = {other.name for other in self._layers}
        if layer._name in taken:
            raise ValueError(f'Sequential: two layers of the name "{layer.name}"')
        if layer._name is None:
            base = layer.name
            numbered = (f"{base}_{i}" for i in itertools.count(1))
            layer._name = base if base not in taken else next(name for name in numbered if name not in taken)
        self._layers.append(layer)

    # --- building ----------------------------------------------------------------------------------------------------

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights for inputs of `input_shape`, whose first axis is the batch (None)."""
        if input_shape is None:
            if self._input is None:
                raise ValueError("build: input_shape is needed, or an Input in front")
            input_shape = (None, *self._input.shape)
        given = self.dtype if self._input is None or self._input.dtype is None else self._input.dtype
        dtype = np.dtype(np.float32) if given is None else given
        self._connect((None, *tuple(input_shape)[1:]), dtype)
        self._adopt()

    def _adopt(self) -> None:
        """Make all layers inside parts of this network: its clock, its memory."""
        self._bind(self._clock, itertools.count(1))
        self._allocate(self.seed)

    def _build_if_known(self) -> None:
        if not self._layers:
            return
        if self.built:
            self.build(self.input_shape)
        elif self._input is not None:
            self.build()

    def _bind(self, clock: Clock, positions: Iterator[int]) -> None:
        self.seed = clock.seed
        super()._bind(clock, positions)

    def _connect(self, input_shape: Shape, dtype: np.dtype) -> Shape:
        if not self._layers:
            raise ValueError(f'layer "{self.name}": a network without layers')
        shape = input_shape
        if self._input is not None:
            self.check_input(input_shape)
        for layer in self._layers:
            shape = layer._connect(shape, dtype)
        if self.dtype is not None and self.dtype != dtype:
            raise ValueError(f'layer "{self.name}": dtype {self.dtype} in a network of {dtype}')
        self.dtype, self.input_shape, self.output_shape = dtype, input_shape, shape
        self._largest_maps = max(map(groups.maps, self._layers))
        return shape

    def check_input(self, shape: Shape) -> None:
        wanted = None if self._input is None else self._input.shape
        if wanted is not None and (
            len(shape) != len(wanted) + 1 or any(w not in (None, n) for w, n in zip(wanted, shape[1:]))
        ):
            raise ValueError(f'layer "{self.name}": expected an input of {(None, *wanted)}, got {shape}')

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self._layers:
            if layer.built:
                layer.check_input(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    # --- forward, backward -------------------------------------------------------------------------------------------

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        if training and self._block is not None and self._block.grad is None and self._block.is_bound:
            self._block.with_gradients()  # not if this is part of another network now, whose block holds the weights
        x, done = (x, 0) if training else groups.forward(self._layers[:-1], x, self._largest_maps)
        for layer in self._layers[done:-1]:
            x = layer.forward(x, training)
        last = self._layers[-1]
        return last.forward(x, training, logits=True) if logits else last.forward(x, training)  # type: ignore[call-arg]

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        first = 0 if self.needs_input_gradient else self._first_trainable()
        gradient: np.ndarray | None = dy
        for layer in self._layers[:first]:
            layer.forget()
        for layer in reversed(self._layers[first:]):
            layer.needs_input_gradient = self.needs_input_gradient or layer is not self._layers[first]
            assert gradient is not None
            gradient = layer.backward(gradient)
        return gradient if self.needs_input_gradient else None

    def _first_trainable(self) -> int:
        """Layers before this one need no gradient at all."""
        return next((i for i, layer in enumerate(self._layers) if layer.trainable_weights), len(self._layers))

    def __call__(self, x: Any, training: bool = False) -> np.ndarray:
        if not training and not self.run_eagerly and (y := self._plans.infer(x)) is not None:
            return y
        if not self.built and self._layers:
            self.build((None, *np.shape(x)[1:]))
        self._require("call", compiled=False)
        with self._lock.reading():
            if training or self.run_eagerly:
                return super().__call__(x, training)
            x = any_array(x, type(self).__name__, "x")
            self._check_shape("call", x)
            return infer(self, x)

    def set_weights(self, weights: Iterable[Any]) -> None:
        with self._lock.writing():
            super().set_weights(weights)

    # --- description -------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        inputs = [] if self._input is None else [self._input]
        return {**super().get_config(), "layers": [serialize(layer) for layer in [*inputs, *self._layers]]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Sequential:
        """Make the network that `get_config` described, not built: nothing is allocated by a description."""
        arguments = dict(config)
        described = arguments.pop("layers", ())
        model = cls(**arguments)
        for layer in described:
            model._append(layers_module.get(layer))
        return model

    def summary(
        self, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None, expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:  # fmt: skip
        """Print the layers, the shapes of their outputs and the numbers of their weights.

        Parameters
        ----------
        line_length : int, optional
            By default as long as the longest row.
        print_fn : callable, optional
            Called with the whole text instead of `print`.
        expand_nested : bool
            Show the layers inside of layers.
        show_trainable : bool
            Show which layers are trained.
        """
        from .summary import summary

        (print_fn or print)(summary(self, line_length, expand_nested, show_trainable))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a file: layers, weights, optimizer and its state.

        The file is complete or is not there: it is written beside its place and then moved. See `load_model`.

        Raises
        ------
        OSError
            It could not be written; an older file of this name is as it was.
        """
        from .saving import save_model

        save_model(self, path)

    def save_weights(self, path: str | PathLike[str]) -> None:
        """Write the network to a file as `save` does, without optimizer and loss."""
        from .saving import save_weights

        save_weights(self, path)

    def load_weights(self, path: str | PathLike[str]) -> None:
        """Set all weights from a file that `save` or `save_weights` wrote, in order; the layers' names may differ.

        Raises
        ------
        ModelFileError
            Damaged, or the weights of another network; nothing was changed.
        """
        from .saving import load_weights

        load_weights(self, path)

    def __repr__(self) -> str:
        return f"Sequential({self._layers!r}, name={self.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_lock"], state["_training"], state["_plans"]
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._init_locks()
        super().__setstate__(state)
        if self.built:
            self._bind(self._clock, itertools.count(1))


def __getattr__(name: str) -> Any:
    """The builders of `networks`, which need this module first."""
    from . import networks

    if name in networks.NETWORKS:
        return networks.NETWORKS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
