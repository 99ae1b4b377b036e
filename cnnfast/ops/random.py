"""Random numbers that are a function of (seed, step) alone: the same for any number of threads, and again after a resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._plain import number, whole


def _word(value: Any, func: str, name: str) -> int:
    word = whole(value, func, name, 0)
    if word >= 2**64:
        raise ValueError(f"{func}: {name} must be in 0 <= {name} < 2**64, got {value}")
    return word


def random_uniform(
    shape: Sequence[int], low: float = 0.0, high: float = 1.0, *, seed: int, step: int
) -> np.ndarray:  # fmt: skip
    """Numbers from `low` up to `high`, all equally likely.

    The upper 53 bits of the words of Philox4x64-10 (Salmon et al., SC 2011) under the key ``(seed, step)``, whose counter
    begins at 1.

    Parameters
    ----------
    shape : sequence of int
    low, high : float
        ``low <= high``.
    seed, step : int
        64-bit unsigned.

    Returns
    -------
    ndarray
        float64.
    """
    func = "random_uniform"
    size = tuple(whole(n, func, "shape", 0) for n in shape)
    low, high = number(low, func, "low"), number(high, func, "high")
    if low > high:
        raise ValueError(f"{func}: low must be at most high, got {low} and {high}")
    generator = np.random.Philox(key=np.array([_word(seed, func, "seed"), _word(step, func, "step")], np.uint64))
    words = np.asarray(generator.random_raw(math.prod(size)), np.uint64).reshape(size)
    return low + (high - low) * ((words >> np.uint64(11)) * 2.0**-53)
