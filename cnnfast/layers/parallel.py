from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, choice
from .base import Layer


class Parallel(Layer):
    """Several branches of one input, joined again: what Inception, U-Net and DenseNet blocks are built of.

    Parameters
    ----------
    branches : list of Layer or list of list of Layer
        An empty list is the input itself, a list of layers is a `Sequential`.
    mode : "concatenate" or "add"
        Along `axis`, or element by element.
    axis : int
        Of the concatenation.
    """

    def __init__(self, branches: Sequence[Any], mode: str = "concatenate", axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        from .residual import branch

        if not isinstance(branches, (list, tuple)) or len(branches) < 2:
            raise ValueError(f"Parallel: branches must be a list of at least 2, got {branches!r}")
        self._branches = [None if isinstance(b, list) and not b else branch(b, "Parallel: branch") for b in branches]
        self.mode = choice(self, "mode", mode, ("concatenate", "add"))
        self.axis = axis
        if len({id(b) for b in self.sublayers}) < len(self.sublayers):
            raise ValueError("Parallel: the same layer is in two branches")
        if not self._trainable:
            self.trainable = False

    @property
    def branches(self) -> list[Any]:
        """The branches as they were given."""
        return [[] if b is None else b for b in self._branches]

    @property
    def sublayers(self) -> Sequence[Layer]:
        return [b for b in self._branches if b is not None]

    def named_sublayers(self) -> list[tuple[str, Layer]]:
        return [(f"branch_{i}", b) for i, b in enumerate(self._branches) if b is not None]

    def _connect(self, input_shape: Shape, dtype: np.dtype) -> Shape:
        for layer in self.sublayers:
            layer._connect(input_shape, dtype)
        return super()._connect(input_shape, dtype)

    def check_input(self, shape: Shape) -> None:
        for layer in self.sublayers:
            layer.check_input(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shapes = [input_shape if b is None else b.compute_output_shape(input_shape) for b in self._branches]
        first, axis = list(shapes[0]), self.axis if self.axis >= 0 else len(shapes[0]) + self.axis
        if self.mode == "concatenate":
            sizes = [shape[axis] if len(shape) == len(first) else None for shape in shapes]
            first[axis] = None if None in sizes else sum(n for n in sizes if n is not None)
        for shape in shapes:
            same = [a == b or (self.mode == "concatenate" and i == axis) for i, (a, b) in enumerate(zip(shape, first))]
            if len(shape) != len(first) or not all(same):
                raise ValueError(f'layer "{self.name}": the branches make {", ".join(map(str, shapes))} of {input_shape}')
        return tuple(first)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        parts = [x if b is None else b.forward(x, training) for b in self._branches]
        if training:
            self._saved = [part.shape[self.axis] for part in parts]
        if self.mode == "add":
            return _sum(parts)
        return ops.concatenate(parts, self.axis)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        sizes = self._take()
        parts = [dy] * len(sizes) if self.mode == "add" else ops.concatenate_backward(dy, sizes, self.axis)
        gradients = []
        for layer, part in zip(self._branches, parts):
            if layer is not None:
                layer.needs_input_gradient = self.needs_input_gradient
            gradients.append(part if layer is None else layer.backward(part))
        return _sum(gradients) if self.needs_input_gradient else None


def _sum(arrays: list[Any]) -> np.ndarray:
    total = arrays[0]
    for array in arrays[1:]:
        total = ops.add(total, array)
    return total
