"""Why the network answers as it does: which pixels matter, and what a unit would like to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .drawing import Path, draw
from .walking import one, walk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..models import Sequential


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
            covered[column, top:row + size // 2 + 1, left:column + size // 2 + 1] = value
        result[row] = scores[class_index] - model.predict_on_batch(covered)[:, class_index]

    def paint(figure: Figure) -> None:
        limit = float(np.abs(result).max()) or 1.0
        shown, heat = figure.subplots(1, 2)
        _show_image(shown, batch[0], "image")
        drawn = heat.imshow(result, cmap="RdBu_r", vmin=-limit, vmax=limit)
        heat.set_title(f"fall of class {class_index} when covered", fontsize=10)
        heat.set_axis_off()
        figure.colorbar(drawn, ax=heat, shrink=0.8)

    draw(paint, path, figure, (8, 4))
    return result


def _class(function: str, scores: np.ndarray, class_index: int | None) -> int:
    if scores.ndim != 1:
        raise ValueError(f"{function}: model must end in one value a class, its output is {scores.shape}")
    if class_index is None:
        return int(scores.argmax())
    if not 0 <= class_index < len(scores):
        raise ValueError(f"{function}: class_index must be from 0 to {len(scores) - 1}, got {class_index}")
    return class_index


def _show_image(axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
