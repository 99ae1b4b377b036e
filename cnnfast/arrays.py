"""Arrays from whatever a caller hands over."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(x: Any) -> np.ndarray:
    """Return `x` as an array, without a copy if it can be had: `__array__`, `__dlpack__`, sequences of numbers."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    return np.asarray(x)
