"""What all pictures of this package share. Matplotlib is imported when a picture is asked for, never before."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]

Words = dict[str, str]

WORDS: dict[str, Words] = {
    "en": {
        "image": "image",
        "class": "class {name}",
        "filters": "{name}: {count} filters of {size}",
        "first": ", the first {count} channels",
        "epoch": "epoch",
        "val": "val_{name}",
        "true": "true",
        "predicted": "predicted",
        "saliency": "what moves {name}",
        "grad_cam": "where it saw {name}",
        "activation_maximization": "what channel {channel} of {layer} looks for",
        "occlusion": "fall of {name} when covered",
    },
    "es": {
        "image": "imagen",
        "class": "la clase {name}",
        "filters": "{name}: {count} filtros de {size}",
        "first": ", los primeros {count} canales",
        "epoch": "época",
        "loss": "pérdida",
        "accuracy": "aciertos",
        "val": "{name}, validación",
        "true": "clase verdadera",
        "predicted": "clase respondida",
        "saliency": "lo que mueve {name}",
        "grad_cam": "dónde vio {name}",
        "activation_maximization": "lo que busca el canal {channel} de {layer}",
        "occlusion": "cuánto baja {name} al taparlo",
    },
}

_BACKGROUND = (0.75, 0.83, 0.95)


def draw(
    function: str,
    paint: Callable[[Figure, Words], None],
    path: Path | None,
    figure: Figure | None,
    size: tuple[float, float],
    lang: str,
) -> None:
    """Call `paint` if a picture is wanted. The figure is not pyplot's: no window, no global state."""
    if lang not in WORDS:
        raise ValueError(f"{function}: lang must be one of {', '.join(WORDS)}, got {lang!r}")
    if path is None and figure is None:
        return
    if figure is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("a picture needs Matplotlib: pip install 'cnnfast[plot]'") from error
        figure = Figure(figsize=size, layout="constrained")
    paint(figure, WORDS[lang])
    if path is not None:
        figure.savefig(os.fspath(path), dpi=110)


def mosaic(images: np.ndarray, columns: int | None = None, gap: int = 1, fill: float = np.nan) -> np.ndarray:
    """Lay images (N, height, width, channels) out in a grid, with `fill` in the gaps; return (rows, columns, channels)."""
    count, height, width, channels = images.shape
    columns = min(columns or math.ceil(math.sqrt(count * 2)), count)
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), fill, images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def show_grid(axes: Axes, images: np.ndarray, columns: int | None = None) -> None:
    """Draw images (N, height, width, 1 or 3) of values 0 to 1, small ones enlarged, on a colour that none of them has."""
    zoom = math.ceil(32 / max(images.shape[1:3]))
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    grid = mosaic(images.astype(np.float32), columns, gap=3)
    axes.imshow(np.where(np.isnan(grid), np.array(_BACKGROUND, np.float32), grid), interpolation="nearest")
    axes.set_anchor("W")
    axes.set_axis_off()
