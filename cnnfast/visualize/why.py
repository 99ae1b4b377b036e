"""Why the network answers as it does: which pixels matter, and what a channel would like to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import activations, filters
from ..answers import class_names, class_scores, is_binary
from .drawing import Path, Words, draw
from .walking import Trace, input_shape, one

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
    lang: str = "en",
) -> np.ndarray:
    """Return how much each pixel moves the score of a class: the gradient of the score with respect to the image.

    Source: K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks", 2013.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        By default the class with the highest score. A network that ends in one sigmoid has the classes 0 and 1.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        (height, width, channels): positive where a brighter pixel raises the score (before a last softmax or sigmoid).
    """
    batch = one("saliency", model, image)
    trace = Trace(model, logits=True)
    scores = trace.forward(batch)
    class_index = _class("saliency", model, scores[0], class_index)
    result = trace.backward(_upwards(model, scores, class_index))[0]

    def paint(figure: Figure, words: Words) -> None:
        strength = np.abs(result).max(-1)
        title = words["saliency"].format(name=_name(model, class_index, words))
        _paint_pair(figure, words, batch[0], strength, title, cmap="inferno", vmin=0)

    draw("saliency", paint, path, figure, (8, 4), lang)
    return result


def grad_cam(
    model: Sequential,
    image: np.ndarray,
    class_index: int | None = None,
    *,
    layer: str | None = None,
    path: Path | None = None,
    figure: Figure | None = None,
    lang: str = "en",
) -> np.ndarray:
    """Return where in the image a layer saw what speaks for a class.

    Source: R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        As in `saliency`.
    layer : str, optional
        Name of a layer that returns maps; by default the last convolution, or what follows it at the same size.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        (height, width) of the image, from 0 to 1; all 0 if nothing speaks for the class.
    """
    batch = one("grad_cam", model, image)
    trace = Trace(model, logits=True)
    scores = trace.forward(batch)
    class_index = _class("grad_cam", model, scores[0], class_index)
    name = _last_convolution(trace) if layer is None else _known("grad_cam", trace, layer)
    maps = trace.outputs[name][0]
    if maps.ndim != 3:
        raise ValueError(f"grad_cam: layer must return maps, {name!r} returns {maps.shape}")
    trace.backward(_upwards(model, scores, class_index))
    weighted = np.maximum(0, maps @ trace.gradients[name][0].mean((0, 1)))
    heat = _resize(weighted / (weighted.max() or 1), *batch.shape[1:3])

    def paint(figure: Figure, words: Words) -> None:
        title = words["grad_cam"].format(name=_name(model, class_index, words))
        _paint_pair(figure, words, batch[0], heat, title, over=True, cmap="inferno", vmin=0, vmax=1)

    draw("grad_cam", paint, path, figure, (8, 4), lang)
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
    lang: str = "en",
) -> np.ndarray:
    """Return an image that a channel of a layer answers to strongly, found by following the gradient uphill.

    Places that answer already are helped most, and no step is towards brighter or darker as a whole: it looks for patterns.

    Source: D. Erhan, Y. Bengio, A. Courville and P. Vincent, "Visualizing higher-layer features of a deep network", 2009.

    Parameters
    ----------
    model : Sequential
        A built network of images from 0 to 1.
    layer : str
        Name of a layer. Of a last softmax, the values before it are meant.
    channel : int
        Which of its maps or units.
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
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        (height, width, channels), 0 to 1.
    """
    trace = Trace(model, logits=True)
    _known("activation_maximization", trace, layer)
    shape = (1, *input_shape("activation_maximization", model))
    image = np.random.default_rng(seed).normal(0.5, 0.05, shape).clip(0, 1).astype(model.dtype)
    for _ in range(steps):
        gradient = _uphill(trace, image, layer, channel)
        if smoothness:
            gradient = filters.apply(gradient, filters.gaussian(smoothness))
        gradient = gradient - gradient.mean((0, 1))
        length = np.abs(gradient).mean()
        if length == 0:  # the channel is silent here, and no small change wakes it
            break
        image = (image + (step_size / length) * gradient).clip(0, 1).astype(model.dtype)

    def paint(figure: Figure, words: Words) -> None:
        _show_image(figure.subplots(), image[0], words["activation_maximization"].format(channel=channel, layer=layer))

    draw("activation_maximization", paint, path, figure, (4, 4.3), lang)
    return image[0]


def occlusion(
    model: Sequential,
    image: np.ndarray,
    class_index: int | None = None,
    *,
    size: int = 3,
    stride: int = 1,
    value: float = 0.0,
    path: Path | None = None,
    figure: Figure | None = None,
    lang: str = "en",
) -> np.ndarray:
    """Return how much the score of a class falls when a square of the image is covered.

    Source: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.

    Parameters
    ----------
    model : Sequential
        A built network that ends in one value a class.
    image : ndarray
        (height, width, channels).
    class_index : int, optional
        As in `saliency`.
    size : int
        Edge of the covering square in pixels, odd; it is centred on each pixel in turn.
    stride : int
        Cover only every so many rows and columns; the others take the value of the place before. The network runs
        ``height * width / stride**2`` times.
    value : float
        What it is covered with.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        (height, width): score of the whole image minus score with this place covered.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"occlusion: size must be odd and positive, got {size}")
    if stride < 1:
        raise ValueError(f"occlusion: stride must be positive, got {stride}")
    batch = one("occlusion", model, image)
    scores = class_scores(model, model.predict_on_batch(batch)[0])
    class_index = _class("occlusion", model, scores, class_index)
    height, width = batch.shape[1:3]
    columns = range(0, width, stride)
    result = np.empty((len(range(0, height, stride)), len(columns)), batch.dtype)
    for i, row in enumerate(range(0, height, stride)):
        covered = np.repeat(batch, len(columns), axis=0)
        for picture, column in zip(covered, columns):
            top, left = max(0, row - size // 2), max(0, column - size // 2)
            picture[top : row + size // 2 + 1, left : column + size // 2 + 1] = value
        result[i] = scores[class_index] - class_scores(model, model.predict_on_batch(covered))[:, class_index]
    result = result.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]

    def paint(figure: Figure, words: Words) -> None:
        limit = float(np.abs(result).max()) or 1.0
        title = words["occlusion"].format(name=_name(model, class_index, words))
        _paint_pair(figure, words, batch[0], result, title, cmap="RdBu_r", vmin=-limit, vmax=limit)

    draw("occlusion", paint, path, figure, (8, 4), lang)
    return result


def _class(function: str, model: Sequential, scores: np.ndarray, class_index: int | None) -> int:
    if scores.ndim != 1:
        raise ValueError(f"{function}: model must end in one value a class, its output is {scores.shape}")
    classes = 2 if is_binary(model) else len(scores)
    if class_index is None:
        return int(scores[0] > 0) if len(scores) < classes else int(scores.argmax())
    if not 0 <= class_index < classes:
        raise ValueError(f"{function}: class_index must be from 0 to {classes - 1}, got {class_index}")
    return class_index


def _name(model: Sequential, class_index: int, words: Words) -> str:
    name = class_names(model)[class_index]
    return words["class"].format(name=name) if model.class_names is None else name


def _upwards(model: Sequential, scores: np.ndarray, class_index: int) -> np.ndarray:
    """The gradient of a class's score with respect to `scores`, (1, units)."""
    gradient = np.zeros_like(scores)
    if is_binary(model):
        gradient[:] = 1 if class_index else -1
    else:
        gradient[:, class_index] = 1
    return gradient


def _known(function: str, trace: Trace, name: str) -> str:
    if name not in trace.layers:
        raise ValueError(f"{function}: layer must be one of {', '.join(trace.layers)}, got {name!r}")
    return name


def _last_convolution(trace: Trace) -> str:
    maps = [name for name in trace.layers if trace.outputs[name].ndim == 4]
    if not maps:
        raise ValueError("grad_cam: model has no layer that returns maps")
    convolutions = [name for name in maps if any(len(weight.shape) == 4 for weight in trace.layers[name].weights)]
    last = (convolutions or maps)[-1]
    size = trace.outputs[last].shape
    return [name for name in maps[maps.index(last) :] if trace.outputs[name].shape == size][-1]


def _uphill(trace: Trace, image: np.ndarray, name: str, channel: int) -> np.ndarray:
    """The gradient of a channel's squared answers with respect to the image; where a ReLU silences it, of what it is fed."""
    layer = trace.layers[name]
    layer = getattr(layer, "pointwise", layer)  # the part of a SeparableConv2D that has its activation
    activation = layer.activation
    for tried in (activation, activations.linear):
        if activation is not None:
            layer.activation = tried
        trace.forward(image)
        output = trace.outputs[name]
        if not 0 <= channel < output.shape[-1]:
            raise ValueError(
                f"activation_maximization: channel must be from 0 to {output.shape[-1] - 1}, got {channel}"
            )
        uphill = np.zeros_like(output)
        answers = np.maximum(output[..., channel], 0)
        uphill[..., channel] = answers if answers.any() else 1
        gradient = trace.backward(uphill, name)[0]
        layer.activation = activation
        if activation is None or gradient.any():
            break
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


def _paint_pair(
    figure: Figure, words: Words, image: np.ndarray, heat: np.ndarray, title: str, over: bool = False, **options: Any
) -> None:
    left, right = figure.subplots(1, 2)
    _show_image(left, image, words["image"])
    if over:
        right.imshow(image.mean(-1), cmap="gray")
    drawn = right.imshow(heat, alpha=0.6 if over else None, **options)
    right.set_title(title, fontsize=10)
    right.set_axis_off()
    figure.colorbar(drawn, ax=right, shrink=0.8)


def _show_image(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
