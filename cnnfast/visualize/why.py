"""Why the network answers as it does: which pixels matter, and what a channel would like to see."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations, filters
from .drawing import Path, draw
from .walking import input_shape, one, walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..models import Sequential


def saliency(
    model: Sequential,
    image: np.ndarray,
    class_index: int | None = None,
    *,
    path: Path | None = None,
    figure: Figure | None = None,
) -> np.ndarray:
    """Return how much each pixel moves the score of a class: the gradient of the score with respect to the image.

    K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks", 2013.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        By default the class with the highest score.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

    Returns
    -------
    ndarray
        (height, width, channels): positive where a brighter pixel raises the score (that before a last softmax).
    """
    batch = one("saliency", model, image)
    network = _Differentiable(model)
    scores = network.forward(batch)[-1]
    class_index = _class("saliency", scores[0], class_index)
    result = network.backward(_one_hot(scores, class_index))[0]

    def paint(figure: Figure) -> None:
        strength = np.abs(result).max(-1)
        _paint_pair(figure, batch[0], strength, f"what moves class {class_index}", cmap="inferno", vmin=0)

    draw(paint, path, figure, (8, 4))
    return result


def grad_cam(
    model: Sequential,
    image: np.ndarray,
    class_index: int | None = None,
    *,
    layer: str | None = None,
    path: Path | None = None,
    figure: Figure | None = None,
) -> np.ndarray:
    """Return where in the image a layer saw what speaks for a class.

    R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        By default the class with the highest score.
    layer : str, optional
        Name of a layer that returns maps; by default the last convolution.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

    Returns
    -------
    ndarray
        (height, width) of the image, from 0 to 1; all 0 if nothing speaks for the class.
    """
    batch = one("grad_cam", model, image)
    network = _Differentiable(model)
    outputs = network.forward(batch)
    class_index = _class("grad_cam", outputs[-1][0], class_index)
    index = network.last_convolution(outputs) if layer is None else network.index("grad_cam", layer)
    maps = outputs[index][0]
    if maps.ndim != 3:
        raise ValueError(f"grad_cam: layer must return maps, {network.names[index]!r} returns {maps.shape}")
    gradient = network.backward(_one_hot(outputs[-1], class_index), first=index + 1)[0]
    weighted = np.maximum(0, maps @ gradient.mean((0, 1)))
    heat = _resize(weighted / (weighted.max() or 1), *batch.shape[1:3])

    def paint(figure: Figure) -> None:
        _paint_pair(figure, batch[0], heat, f"where class {class_index} was seen", cmap="inferno", vmin=0, vmax=1)

    draw(paint, path, figure, (8, 4))
    return heat


def activation_maximization(
    model: Sequential,
    layer: str,
    channel: int,
    *,
    steps: int = 100,
    step_size: float = 0.05,
    smoothness: float = 0.7,
    seed: int = 0,
    path: Path | None = None,
    figure: Figure | None = None,
) -> np.ndarray:
    """Return an image that a channel of a layer answers to strongly, found by following the gradient uphill.

    D. Erhan, Y. Bengio, A. Courville and P. Vincent, "Visualizing higher-layer features of a deep network", 2009.

    Parameters
    ----------
    model : Sequential
        A built network of images from 0 to 1.
    layer : str
        Name of a layer. Of a last softmax, the values before it are meant.
    channel : int
        Which of its maps (their mean is raised) or units.
    steps : int
        Steps uphill.
    step_size : float
        How far the average pixel moves in a step.
    smoothness : float
        Each gradient is blurred by so many pixels: 0 gives noise-like images.
    seed : int
        Of the faint noise on grey that the search starts from.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

    Returns
    -------
    ndarray
        (height, width, channels), 0 to 1.
    """
    network = _Differentiable(model)
    index = network.index("activation_maximization", layer)
    shape = (1, *input_shape("activation_maximization", model))
    image = np.random.default_rng(seed).normal(0.5, 0.05, shape).clip(0, 1).astype(model.dtype)
    for _ in range(steps):
        output = network.forward(image)[index]
        if not 0 <= channel < output.shape[-1]:
            raise ValueError(
                f"activation_maximization: channel must be from 0 to {output.shape[-1] - 1}, got {channel}"
            )
        uphill = np.zeros_like(output)
        uphill[..., channel] = 1
        gradient = network.backward(uphill, last=index)[0]
        if smoothness:
            gradient = filters.apply(gradient, filters.gaussian(smoothness))
        length = np.abs(gradient).mean()
        if length == 0:  # the channel is silent here, and no small change wakes it
            break
        image = (image + (step_size / length) * gradient).clip(0, 1).astype(model.dtype)

    def paint(figure: Figure) -> None:
        _show_image(figure.subplots(), image[0], f"what channel {channel} of {layer} looks for")

    draw(paint, path, figure, (4, 4.3))
    return image[0]


def occlusion(
    model: Sequential,
    image: np.ndarray,
    class_index: int | None = None,
    *,
    size: int = 3,
    value: float = 0.0,
    path: Path | None = None,
    figure: Figure | None = None,
) -> np.ndarray:
    """Return how much the score of a class falls when a square of the image is covered.

    M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        By default the class with the highest score.
    size : int
        Edge of the covering square in pixels, odd; it is centred on each pixel in turn.
    value : float
        What it is covered with.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

    Returns
    -------
    ndarray
        (height, width): score of the whole image minus score with this place covered.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"occlusion: size must be odd and positive, got {size}")
    batch = one("occlusion", model, image)
    scores = model.predict_on_batch(batch)[0]
    class_index = _class("occlusion", scores, class_index)
    height, width = batch.shape[1:3]
    result = np.empty((height, width), batch.dtype)
    for row in range(height):
        covered = np.repeat(batch, width, axis=0)
        for column in range(width):
            top, left = max(0, row - size // 2), max(0, column - size // 2)
            covered[column, top : row + size // 2 + 1, left : column + size // 2 + 1] = value
        result[row] = scores[class_index] - model.predict_on_batch(covered)[:, class_index]

    def paint(figure: Figure) -> None:
        limit = float(np.abs(result).max()) or 1.0
        title = f"fall of class {class_index} when covered"
        _paint_pair(figure, batch[0], result, title, cmap="RdBu_r", vmin=-limit, vmax=limit)

    draw(paint, path, figure, (8, 4))
    return result


class _Differentiable:
    """A private copy of a network that infers (no dropout, fixed statistics) and that gradients can be pulled through.

    Its last output are the scores before a softmax: shares of one whole can't all rise, so their gradients say little of
    one class.
    """

    def __init__(self, model: Sequential) -> None:
        self.names, self._layers = (list(column) for column in zip(*walk(copy.deepcopy(model))))
        last = self._layers[-1]
        if type(last).__name__ == "Softmax" or last.activation == activations.softmax:
            if last.weights:
                last.activation = activations.linear
            else:
                self._layers.pop()
        for layer in self._layers:
            _prepare(layer)

    def index(self, function: str, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{function}: layer must be one of {', '.join(self.names)}, got {name!r}")
        return min(self.names.index(name), len(self._layers) - 1)

    def last_convolution(self, outputs: list[np.ndarray]) -> int:
        maps = [i for i, output in enumerate(outputs) if output.ndim == 4]
        convolutions = [i for i in maps if any(len(weight.shape) == 4 for weight in self._layers[i].weights)]
        if not maps:
            raise ValueError("grad_cam: model has no layer that returns maps")
        return (convolutions or maps)[-1]

    def forward(self, batch: np.ndarray) -> list[np.ndarray]:
        """Return the output of each layer."""
        outputs = []
        for layer in self._layers:
            batch = layer(batch, training=True)
            outputs.append(batch)
        return outputs

    def backward(self, gradient: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """From the gradient of the output of layer `last` (default: the scores) to that of the input of layer `first`."""
        layers = self._layers[first:] if last is None else self._layers[first : last + 1]
        for layer in reversed(layers):
            gradient = layer.backward(gradient)
        return gradient


def _prepare(layer: Any) -> None:
    layer.needs_input_gradient = True
    if hasattr(layer, "rate"):
        layer.rate = 0.0
    if type(layer).__name__ == "BatchNormalization":
        layer.trainable = False  # Keras's rule: a frozen one uses its moving statistics
    for parameter in layer.weights:
        if parameter.grad is None:
            parameter.grad = np.zeros_like(parameter.data)
    for inner in layer.sublayers:
        _prepare(inner)


def _class(function: str, scores: np.ndarray, class_index: int | None) -> int:
    if scores.ndim != 1:
        raise ValueError(f"{function}: model must end in one value a class, its output is {scores.shape}")
    if class_index is None:
        return int(scores.argmax())
    if not 0 <= class_index < len(scores):
        raise ValueError(f"{function}: class_index must be from 0 to {len(scores) - 1}, got {class_index}")
    return class_index


def _one_hot(scores: np.ndarray, class_index: int) -> np.ndarray:
    gradient = np.zeros_like(scores)
    gradient[:, class_index] = 1
    return gradient


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, pixel centres at halves."""
    for axis, size in enumerate((height, width)):
        at = ((np.arange(size) + 0.5) * image.shape[axis] / size - 0.5).clip(0, image.shape[axis] - 1)
        low = at.astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        share = np.expand_dims(at - low, 1 - axis)
        image = image.take(low, axis) * (1 - share) + image.take(high, axis) * share
    return image


def _paint_pair(figure: Figure, image: np.ndarray, heat: np.ndarray, title: str, **options: Any) -> None:
    left, right = figure.subplots(1, 2)
    _show_image(left, image, "image")
    drawn = right.imshow(heat, **options)
    right.set_title(title, fontsize=10)
    right.set_axis_off()
    figure.colorbar(drawn, ax=right, shrink=0.8)


def _show_image(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
