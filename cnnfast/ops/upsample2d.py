"""Maps made larger by whole factors.

An output pixel of phase ``r`` (its position modulo the factor) lies at the same place between the same two neighbours
everywhere, so each phase is one weighted sum of two shifted views, and the gradient is the same sums the other way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._plain import array, back, choice, deliver, last, whole


def _factors(scale_factor: Any, func: str) -> tuple[int, int]:
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != 2:
            raise ValueError(f"{func}: scale_factor must be an int or a tuple of 2 ints, got {scale_factor!r}")
        return whole(scale_factor[0], func, "scale_factor"), whole(scale_factor[1], func, "scale_factor")
    return (whole(scale_factor, func, "scale_factor"),) * 2


def _phases(factor: int) -> list[tuple[int, float]]:
    """By phase: the first neighbour's distance (-1 or 0), and the second one's weight."""
    positions = [(r + 0.5) / factor - 0.5 for r in range(factor)]
    return [(math.floor(p), p - math.floor(p)) for p in positions]


def _stretch(x: np.ndarray, factor: int) -> np.ndarray:
    """Linear interpolation along axis 1; beyond the edges the edge pixels go on."""
    if factor == 1:
        return x
    n, size = x.shape[0], x.shape[1]
    y = np.empty((n, size, factor, *x.shape[2:]), x.dtype)
    wide = np.concatenate([x[:, :1], x, x[:, -1:]], 1)
    for r, (first, weight) in enumerate(_phases(factor)):
        a, b = wide[:, 1 + first : 1 + first + size], wide[:, 2 + first : 2 + first + size]
        y[:, :, r] = a * x.dtype.type(1 - weight) + b * x.dtype.type(weight)
    return y.reshape(n, size * factor, *x.shape[2:])


def _shrink(dy: np.ndarray, factor: int) -> np.ndarray:
    """The gradient of `_stretch`."""
    if factor == 1:
        return dy
    n, size = dy.shape[0], dy.shape[1] // factor
    dy = dy.reshape(n, size, factor, *dy.shape[2:])
    wide = np.zeros((n, size + 2, *dy.shape[3:]), dy.dtype)
    for r, (first, weight) in enumerate(_phases(factor)):
        wide[:, 1 + first : 1 + first + size] += dy[:, :, r] * dy.dtype.type(1 - weight)
        wide[:, 2 + first : 2 + first + size] += dy[:, :, r] * dy.dtype.type(weight)
    dx = wide[:, 1:-1]
    dx[:, :1] += wide[:, :1]
    dx[:, -1:] += wide[:, -1:]
    return dx


def upsample2d(
    x: Any, scale_factor: int | Sequence[int], mode: str = "nearest", *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Make each map larger: `torch.nn.functional.interpolate` by whole factors, with pixels as areas (align_corners=False).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    scale_factor : int or (int, int)
        Vertical, horizontal.
    mode : {"nearest", "bilinear"}
        Each pixel repeated, or linear between the pixels' centers.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape (N, H * vertical, W * horizontal, C).

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    func = "upsample2d"
    x, (fh, fw) = last(array(x, func, "x", 4), data_format, func), _factors(scale_factor, func)
    if choice(mode, func, "mode", ("nearest", "bilinear")) == "nearest":
        n, h, w, c = x.shape
        y = np.broadcast_to(x[:, :, None, :, None], (n, h, fh, w, fw, c)).reshape(n, h * fh, w * fw, c)
    else:
        y = _stretch(_stretch(x, fh).swapaxes(1, 2), fw).swapaxes(1, 2)
    return deliver(back(y, data_format), out, func)


def upsample2d_backward(
    dy: Any, scale_factor: int | Sequence[int], mode: str = "nearest", *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `upsample2d` with respect to its input.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: float32 or float64, 4-D.
    scale_factor, mode, data_format
        As in `upsample2d`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape (N, H, W, C), a new array.
    """
    func = "upsample2d_backward"
    dy, (fh, fw) = last(array(dy, func, "dy", 4), data_format, func), _factors(scale_factor, func)
    n, h, w, c = dy.shape
    if h % fh or w % fw:
        raise ValueError(f"{func}: scale_factor must divide the size of dy, {(h, w)}, got {(fh, fw)}")
    if choice(mode, func, "mode", ("nearest", "bilinear")) == "nearest":
        dx = np.zeros((n, h // fh, w // fw, c), dy.dtype)
        for i, j in np.ndindex(fh, fw):
            dx += dy[:, i::fh, j::fw]
    else:
        dx = _shrink(_shrink(dy.swapaxes(1, 2), fw).swapaxes(1, 2), fh)
    return deliver(back(dx, data_format).copy() if dx.base is dy else back(dx, data_format), out, func)
