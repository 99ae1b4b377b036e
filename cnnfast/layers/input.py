from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arguments import whole
from .base import Layer


class Input(Layer):
    """States the shape of a network's input, so that it is built at once.

    Parameters
    ----------
    shape : sequence of int or None
        Without the batch; None for a size that varies.
    batch_size : int, optional
        Fixes the size of the batch; it is only shown.
    dtype, name
        As for every layer.
    """

    def __init__(
        self, shape: Sequence[int | None], batch_size: int | None = None, dtype: Any = None, name: str | None = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if isinstance(shape, (int, str)) or not hasattr(shape, "__iter__"):
            raise TypeError(f"Input: shape must be a tuple of ints, got {shape!r}")
        self.shape = tuple(None if n is None else whole(self, "shape", n) for n in shape)
        self.batch_size = None if batch_size is None else whole(self, "batch_size", batch_size)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy
