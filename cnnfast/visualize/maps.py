"""What the filters look like, and what each layer makes of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .drawing import Path, Words, draw, show_grid
from .walking import Trace, one

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..layers import Layer
    from ..models import Sequential

_MAPS_SHOWN = 16  # channels of one layer in the picture of feature_maps
_WIDTH = 10.0  # inches of that picture


def filters(layer: Layer, *, path: Path | None = None, figure: Figure | None = None, lang: str = "en") -> np.ndarray:
    """Return the filters of a convolution layer, one after the other.

    Parameters
    ----------
    layer : Conv2D, DepthwiseConv2D, SeparableConv2D or Conv2DTranspose
        A built layer; of a separable one, the filters that slide.
    path : path, optional
        Write a picture here: a square a filter, mid-grey is zero, white the largest weight. Filters on three channels
        are shown in colour; of filters on any other number of channels, the first is shown.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        (filters, height, width, channels), a copy.

    Raises
    ------
    ValueError
        The layer has no filters, or is not built.
    """
    kernels = [weight for weight in layer.get_weights() if weight.ndim == 4]
    if not kernels:
        raise ValueError(f"filters: layer must be a built convolution, got {layer!r}")
    kind = type(layer).__name__
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):  # (height, width, channels, multiplier): one channel each
        height, width, channels, multiplier = kernels[0].shape
        result = kernels[0].reshape(height, width, channels * multiplier).transpose(2, 0, 1)[..., None].copy()
    else:
        output = 2 if kind == "Conv2DTranspose" else 3
        result = np.moveaxis(kernels[0], output, 0).copy()

    def paint(figure: Figure, words: Words) -> None:
        largest = float(np.abs(result).max()) or 1.0
        shown = result if result.shape[-1] == 3 else result[..., :1]
        axes = figure.subplots()
        show_grid(axes, 0.5 + 0.5 * shown / largest)
        size = " × ".join(map(str, result.shape[1:]))
        axes.set_title(words["filters"].format(name=layer.name, count=len(result), size=size))

    draw("filters", paint, path, figure, (8, 4.5), lang)
    return result


def feature_maps(
    model: Sequential, image: np.ndarray, *, path: Path | None = None, figure: Figure | None = None, lang: str = "en"
) -> dict[str, np.ndarray]:
    """Return what every layer of the network makes of one image.

    Parameters
    ----------
    model : Sequential
        A built network.
    image : ndarray
        One image as the network takes it, (height, width, channels); the channel axis may be left out if it is 1.
    path : path, optional
        Write a picture here: a row of maps a layer, at most 16 of them, each from black (its least value) to white.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    dict of str to ndarray
        By layer name, in the network's order as `walk` has it: (height, width, channels), or (units,) after Flatten.
    """
    batch = one("feature_maps", model, image)
    trace = Trace(model)
    trace.forward(batch)
    maps = {name: trace.outputs[name][0] for name in trace.layers}

    shown = [("", batch[0]), *((name, map_) for name, map_ in maps.items() if map_.size > 1)]
    heights = [_row_height(map_) for _, map_ in shown]

    def paint(figure: Figure, words: Words) -> None:
        rows = figure.subplots(len(shown), squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, (name, map_) in zip(rows[:, 0], shown):
            _paint_map(axes, name or words["image"], map_, words)

    draw("feature_maps", paint, path, figure, (_WIDTH, sum(heights) + 0.35 * len(heights)), lang)
    return maps


def _row_height(map_: np.ndarray) -> float:
    """In inches, of the picture alone."""
    if map_.ndim != 3:
        return 0.25
    height, width, channels = map_.shape
    return 1.2 if channels in (1, 3) else min(_WIDTH / min(channels, _MAPS_SHOWN) * height / width, 1.5)


def _paint_map(axes: Axes, name: str, map_: np.ndarray, words: Words) -> None:
    size = " × ".join(map(str, map_.shape))
    if map_.ndim != 3:
        axes.imshow(map_.reshape(1, -1), cmap="gray", aspect="auto", interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        images = map_[None] if map_.shape[-1] == 3 else map_.transpose(2, 0, 1)[:_MAPS_SHOWN, ..., None]
        low = images.min((1, 2, 3), keepdims=True)
        span = images.max((1, 2, 3), keepdims=True) - low
        show_grid(axes, (images - low) / np.where(span > 0, span, 1), columns=_MAPS_SHOWN)
        if map_.shape[-1] > _MAPS_SHOWN:
            size += words["first"].format(count=_MAPS_SHOWN)
    axes.set_title(f"{name}: {size}", loc="left", fontsize=9)
