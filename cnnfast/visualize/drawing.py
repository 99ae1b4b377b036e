"""What all pictures of this package share. Matplotlib is imported when a picture is asked for, never before."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]


def draw(
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
