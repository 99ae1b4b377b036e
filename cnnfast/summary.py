"""The table that `Sequential.summary` prints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .layers import Layer
from .parameters import Parameter

if TYPE_CHECKING:
    from .models import Sequential


def summary(model: Sequential, line_length: int | None, expand_nested: bool, show_trainable: bool) -> str:
    """Return the table as text."""
    header = ["Layer (type)", "Output Shape", "Param #", *(["Trainable"] if show_trainable else [])]
    rows = [row[: len(header)] for layer in model.layers for row in _rows(layer, expand_nested, 0)]
    widths = [max(len(row[i]) for row in [header, *rows]) + 2 for i in range(len(header))]
    if line_length is not None:
        widths[0] += max(0, line_length - sum(widths))
    lines = [_line(header, widths), *(_line(row, widths) for row in rows)]
    rule = "─" * sum(widths)
    itemsize = 4 if model.dtype is None else model.dtype.itemsize
    totals = [
        f"{title} params: {sum(p.size for p in weights):,} ({_memory(weights, itemsize)})"
        for title, weights in (
            ("Total", model.weights), ("Trainable", model.trainable_weights), ("Non-trainable", model.non_trainable_weights)
        )
    ]  # fmt: skip
    return "\n".join([f'Model: "{model.name}"', rule, lines[0], rule, *lines[1:], rule, *totals])


def _rows(layer: Layer, expand_nested: bool, depth: int) -> Iterator[list[str]]:
    prefix = "   " * depth + "└ " if depth else ""
    parameters = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    trainable = "-" if not layer.weights else "Y" if layer.trainable else "N"
    shape = str(layer.output_shape) if layer.built else "?"
    yield [f"{prefix}{layer.name} ({type(layer).__name__})", shape, parameters, trainable]
    if expand_nested:
        for inner in layer.sublayers:
            yield from _rows(inner, True, depth + 1)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [c.rjust(w) if i == 2 else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))]
    return "".join(padded).rstrip()


def _memory(weights: list[Parameter], itemsize: int) -> str:
    size = float(sum(math.prod(p.shape) for p in weights) * itemsize)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.2f} {unit}"
        size /= 1024
    raise AssertionError
