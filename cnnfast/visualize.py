"""Seeing inside a network: what its filters look like, what each layer makes of an image, how training went.

Every function returns arrays, and needs NumPy only. With `path="picture.png"` it also writes a picture, and with
`figure=` it draws into a Matplotlib figure (`pip install cnnfast[plot]`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .layers import Layer
    from .models import Sequential

Path = str | os.PathLike[str]

_MAPS_SHOWN = 16  # channels of one layer in the picture of feature_maps


def filters(layer: Layer, *, path: Path | None = None, figure: Figure | None = None) -> np.ndarray:
    """Return the filters of a convolution layer, one after the other.

    Parameters
    ----------
    layer : Conv2D or DepthwiseConv2D
        A built layer.
    path : path, optional
        Write a picture here: a square a filter, mid-grey is zero, white the largest weight. Filters on three channels
        are shown in colour; of filters on any other number of channels, the first is shown.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

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
    if type(layer).__name__.startswith("Depthwise"):  # (height, width, channels, multiplier): one channel each
        height, width, channels, multiplier = kernels[0].shape
        result = kernels[0].reshape(height, width, channels * multiplier).transpose(2, 0, 1)[..., None].copy()
    else:
        result = kernels[0].transpose(3, 0, 1, 2).copy()

    def paint(figure: Figure) -> None:
        largest = float(np.abs(result).max()) or 1.0
        shown = result if result.shape[-1] == 3 else result[..., :1]
        axes = figure.subplots()
        axes.imshow(mosaic(0.5 + 0.5 * shown / largest), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{layer.name}: {len(result)} filters of {' × '.join(map(str, result.shape[1:]))}")
        axes.set_axis_off()

    _draw(paint, path, figure, (8, 4.5))
    return result


def feature_maps(
    model: Sequential, image: np.ndarray, *, path: Path | None = None, figure: Figure | None = None
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

    Returns
    -------
    dict of str to ndarray
        By layer name, in the network's order: (height, width, channels), or (units,) after Flatten.
    """
    batch = _one(model, image, "feature_maps")
    maps = {name: output[0] for name, output in _outputs(model, batch)}

    def paint(figure: Figure) -> None:
        shown = {"image": batch[0], **{name: map_ for name, map_ in maps.items() if map_.ndim == 3 or map_.size > 1}}
        rows = figure.subplots(len(shown), gridspec_kw={"height_ratios": [_row_height(map_) for map_ in shown.values()]})
        for axes, (name, map_) in zip(rows, shown.items()):
            _paint_map(axes, name, map_)

    _draw(paint, path, figure, (10, 12))
    return maps


def training_curves(
    history: Any, *, path: Path | None = None, figure: Figure | None = None
) -> dict[str, np.ndarray]:
    """Return the losses and metrics of a training, epoch by epoch.

    Parameters
    ----------
    history : History or mapping
        What `fit` returned, or its `history` dictionary.
    path : path, optional
        Write a picture here: the loss on the left, the metrics on the right.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.

    Returns
    -------
    dict of str to ndarray
        By name ("loss", "val_loss", "accuracy", ...): (epochs,).
    """
    record: Mapping[str, Any] = history if isinstance(history, Mapping) else history.history
    curves = {name: np.asarray(values, np.float64) for name, values in record.items()}
    if not curves:
        raise ValueError("training_curves: history is empty")

    def paint(figure: Figure) -> None:
        groups = [[name for name in curves if ("loss" in name) == wanted] for wanted in (True, False)]
        groups = [group for group in groups if group]
        for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups):
            for name in group:
                epochs = np.arange(1, len(curves[name]) + 1)
                style = dict(linestyle="--", marker="o") if name.startswith("val_") else dict(marker="o")
                axes.plot(epochs, curves[name], label=name, **style)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()

    _draw(paint, path, figure, (9, 3.5))
    return curves


def mosaic(images: np.ndarray, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """Lay images (N, height, width, 1 or 3) out in a grid, with NaN in the gaps; return (rows, columns, 1 or 3)."""
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count * 2))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.nan)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top:top + height, left:left + width] = image
    return np.nan_to_num(canvas, nan=1.0) if channels == 3 else canvas


# ---- Walking the network ---------------------------------------------------------------------------------------------


def _one(model: Sequential, image: np.ndarray, function: str) -> np.ndarray:
    """`image` as a batch of one."""
    image = np.asarray(image)
    shape = tuple(model.input_shape[1:])
    if image.ndim == len(shape) - 1 and shape[-1] == 1:
        image = image[..., None]
    if image.shape != shape:
        raise ValueError(f"{function}: image must have shape {shape}, got {image.shape}")
    return image[None].astype(model.dtype)


def _outputs(model: Sequential, batch: np.ndarray, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Name and output of each layer, in order; those of a nested Sequential are named "outer/inner"."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            for name, output in _outputs(layer, batch, f"{prefix}{layer.name}/"):
                yield name, output
            batch = output
        else:
            batch = layer(batch)
            yield prefix + layer.name, batch


# ---- Drawing ---------------------------------------------------------------------------------------------------------


def _draw(
    paint: Callable[[Figure], None], path: Path | None, figure: Figure | None, size: tuple[float, float]
) -> None:
    """Call `paint` if a picture is wanted. The figure is not pyplot's: no window, no global state."""
    if path is None and figure is None:
        return
    if figure is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("a picture needs Matplotlib: pip install 'cnnfast[plot]'") from error
        figure = Figure(figsize=size, layout="constrained")
    paint(figure)
    if path is not None:
        figure.savefig(os.fspath(path), dpi=110)


def _row_height(map_: np.ndarray) -> float:
    return 1.0 if map_.ndim == 3 else 0.35


def _paint_map(axes: Axes, name: str, map_: np.ndarray) -> None:
    axes.set_axis_off()
    size = " × ".join(map(str, map_.shape))
    if map_.ndim != 3:
        axes.imshow(map_.reshape(1, -1), cmap="gray", aspect="auto")
    elif map_.shape[-1] == 3:
        axes.imshow(map_)
    else:
        channels = map_.transpose(2, 0, 1)[:_MAPS_SHOWN, ..., None]
        low = channels.min((1, 2), keepdims=True)
        span = channels.max((1, 2), keepdims=True) - low
        axes.imshow(mosaic((channels - low) / np.where(span > 0, span, 1), columns=_MAPS_SHOWN), cmap="gray")
        if map_.shape[-1] > _MAPS_SHOWN:
            size += f", the first {_MAPS_SHOWN} channels"
    axes.set_title(f"{name}: {size}", loc="left", fontsize=9)
