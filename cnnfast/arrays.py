"""Arrays from whatever a caller hands over."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np


def is_array_like(x: Any) -> bool:
    """Whether `x` is numbers in memory rather than something to walk through."""
    names = ("__array__", "__dlpack__", "__array_interface__", "__array_struct__")
    return isinstance(x, (memoryview, array)) or any(hasattr(x, name) for name in names)


def as_array(x: Any) -> np.ndarray:
    """Return `x` as an array, without a copy if it can be had: `__array__`, `__dlpack__`, sequences of numbers."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    return np.asarray(x)
