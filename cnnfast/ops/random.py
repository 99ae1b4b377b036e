"""Random numbers that are a function of (seed, step) alone: the same for any number of threads, and again after a resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._plain import array, back, deliver, last, number, whole
from .dropout import dropout


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


def _dropout2d(func: str, x: Any, name: str, p: float, seed: int, step: int, data_format: str, out: Any) -> np.ndarray:
    x = last(array(x, func, name, 4), data_format, func)
    kept = dropout(np.ones((x.shape[0], x.shape[3]), x.dtype), p, seed=seed, step=step)[:, None, None]
    y = np.multiply(x, kept, out=np.zeros(x.shape, x.dtype), where=kept > 0)
    return deliver(back(y, data_format), out, func)


def dropout2d(
    x: Any, p: float, *, seed: int, step: int, data_format: str = "channels_last", out: np.ndarray | None = None
) -> np.ndarray:
    """Set a random fraction `p` of the channels of each sample to 0 and scale the rest by ``1 / (1 - p)``.

    Channel ``c`` of sample ``n`` is kept if `dropout` keeps element ``n * C + c`` (Tompson et al., CVPR 2015).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    p : float
        Fraction to drop, 0 <= p < 1.
    seed, step : int
        64-bit unsigned. Another step draws other channels.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _dropout2d("dropout2d", x, "x", p, seed, step, data_format, out)


def dropout2d_backward(
    dy: Any, p: float, *, seed: int, step: int, data_format: str = "channels_last", out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `dropout2d`: the same channels of `dy` dropped, the rest scaled. Arguments as there."""
    return _dropout2d("dropout2d_backward", dy, "dy", p, seed, step, data_format, out)
