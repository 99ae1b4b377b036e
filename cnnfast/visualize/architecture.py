"""What a network is made of: each layer's size and cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .drawing import Path, Words, draw
from .walking import input_shape, is_joint, walk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..layers import Layer
    from ..models import Sequential


class LayerSize(NamedTuple):
    """One layer: what comes out of it for one image, and what that takes.

    `name` as `walk` has it, `kind` (its class's name), output `shape` without the batch, how many `parameters` are its own,
    how many `multiplications` one image takes.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiplications: int


def architecture(
    model: Sequential, *, path: Path | None = None, figure: Figure | None = None, lang: str = "en"
) -> list[LayerSize]:
    """Return the size and the cost of every layer.

    Parameters
    ----------
    model : Sequential
        A built network.
    path : path, optional
        Write a picture here: a box a layer, as high as its maps and as wide as it has channels.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    list of LayerSize
        In the order of `walk`: name, kind, output shape without the batch, parameters, multiplications for one image. Each
        weight is counted once: layers inside of a `Residual` are rows of their own.
    """
    rows = []
    shape = input_shape("architecture", model)
    for name, layer in walk(model):
        size = tuple(n or 0 for n in layer.output_shape[1:])
        own = (0, 0) if is_joint(layer) else (layer.count_params(), cost(layer, size))
        rows.append(LayerSize(name, type(layer).__name__, size, *own))

    def paint(figure: Figure, words: Words) -> None:
        axes = figure.subplots()
        left = 0.0
        boxes = [(words["image"], shape), *((row.name, row.shape) for row in rows)]
        for name, size in boxes:
            height = math.log2(size[0]) + 1 if len(size) == 3 else 1.0
            width = 0.4 * (math.log2(size[-1]) + 1) if len(size) == 3 else 0.4
            axes.bar(left, height, width, bottom=-height / 2, align="edge", color="#9db9e4", edgecolor="#1f3d6e")
            axes.text(left + width / 2, height / 2 + 0.15, " × ".join(map(str, size)), rotation=90, ha="center",
                      va="bottom", fontsize=8)
            axes.text(left + width / 2, -height / 2 - 0.15, name, rotation=90, ha="center", va="top", fontsize=8)
            left += width + 0.5
        tallest = max(math.log2(size[0]) + 1 if len(size) == 3 else 1.0 for _, size in boxes) / 2
        axes.set_xlim(-0.5, left)
        axes.set_ylim(-tallest - 2.5, tallest + 2)
        axes.set_axis_off()

    draw("architecture", paint, path, figure, (2 + 0.7 * len(rows), 5), lang)
    return rows


def cost(layer: Layer, output_shape: tuple[int, ...]) -> int:
    """Return the multiplications of a layer for one image: one for each weight, at each place that its kernel visits."""
    if layer.sublayers:
        return sum(cost(inner, tuple(n or 1 for n in (inner.output_shape or ())[1:])) for inner in layer.sublayers)
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    visited = output_shape
    if "Transpose" in type(layer).__name__:  # from each place of its input it paints into the output
        visited = tuple(n or 1 for n in layer.input_shape[1:])
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return kernel.size * math.prod(visited[:-1] if channels_last else visited[1:])
