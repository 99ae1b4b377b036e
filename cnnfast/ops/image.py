"""What is done to whole images before a network sees them, each sample in its own way.

These run in NumPy: next to a convolution they cost little, and where they stand first in a network nothing asks for their
gradient with respect to the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._plain import array, back, choice, deliver, last, number, quiet, same, whole
from .check import any_array

MODES = ("constant", "nearest", "wrap", "reflect")


def _samples(value: Any, n: int, func: str, name: str, kind: str = "f") -> np.ndarray:
    """One number for each of the `n` samples (or one for all)."""
    a = any_array(value, func, name)
    if a.dtype.kind not in {"f": "iuf", "i": "iu", "b": "b"}[kind]:
        raise TypeError(f"{func}: {name} must be {dict(f='numbers', i='ints', b='bools')[kind]}, got {value!r}")
    if a.shape not in ((), (n,)):
        raise ValueError(f"{func}: {name} must be one for each of {n} samples, got shape {a.shape}")
    if kind == "f" and not np.isfinite(a).all():
        raise ValueError(f"{func}: {name} must be finite, got {value!r}")
    return np.broadcast_to(a, (n,))


# --- brightness and contrast ---------------------------------------------------------------------------------------------


def _range(value_range: Any, func: str) -> tuple[float, float]:
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ValueError(f"{func}: value_range must be (lowest, highest), got {value_range!r}")
    low, high = (number(value, func, "value_range") for value in value_range)
    if low > high:
        raise ValueError(f"{func}: value_range must be (lowest, highest), got {value_range!r}")
    return low, high


def _inside(y: np.ndarray, low: float, high: float) -> np.ndarray:
    return (y >= low) & (y <= high)


def _numbers(value: Any, x: np.ndarray, func: str, name: str) -> np.ndarray:
    """Shape (N, 1, 1, 1), dtype of x."""
    return _samples(value, len(x), func, name).astype(x.dtype).reshape(-1, 1, 1, 1)


def adjust_brightness(x: Any, delta: Any, value_range: Sequence[float], *, out: np.ndarray | None = None) -> np.ndarray:
    """``clip(x + delta, *value_range)``.

    Parameters
    ----------
    x : array_like
        float32 or float64, 4-D, samples first.
    delta : float or array_like (N,)
    value_range : (float, float)
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    func = "adjust_brightness"
    x = array(x, func, "x", 4)
    low, high = _range(value_range, func)
    return deliver(np.clip(x + _numbers(delta, x, func, "delta"), low, high), out, func)


def adjust_brightness_backward(dy: Any, x: Any, delta: Any, value_range: Sequence[float]) -> np.ndarray:
    """Gradient of `adjust_brightness` with respect to `x`: `dy` where nothing was clipped. Arguments as there."""
    func = "adjust_brightness_backward"
    x = array(x, func, "x", 4)
    dy = same(dy, x, func, "dy")
    return np.where(_inside(x + _numbers(delta, x, func, "delta"), *_range(value_range, func)), dy, x.dtype.type(0))


def adjust_contrast(
    x: Any, factor: Any, value_range: Sequence[float], *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """``clip((x - mean) * factor + mean, *value_range)``, the mean that of each sample's channel.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    factor : float or array_like (N,)
    value_range : (float, float)
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    func = "adjust_contrast"
    x = np.ascontiguousarray(last(array(x, func, "x", 4), data_format, func))  # the order of a sum is that of memory
    low, high = _range(value_range, func)
    y = _contrast(x, _numbers(factor, x, func, "factor"))
    return deliver(back(np.clip(y, low, high), data_format), out, func)


@quiet
def _contrast(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * factor + mean


def adjust_contrast_backward(
    dy: Any, x: Any, factor: Any, value_range: Sequence[float], *, data_format: str = "channels_last"
) -> np.ndarray:
    """Gradient of `adjust_contrast` with respect to `x`. Arguments as there."""
    func = "adjust_contrast_backward"
    x = array(x, func, "x", 4)
    dy, x = last(same(dy, x, func, "dy"), data_format, func), np.ascontiguousarray(last(x, data_format, func))
    factor = _numbers(factor, x, func, "factor")
    passed = np.where(_inside(_contrast(x, factor), *_range(value_range, func)), dy, x.dtype.type(0))
    return back(passed * factor + passed.mean((1, 2), keepdims=True) * (1 - factor), data_format)


# --- flips and crops -----------------------------------------------------------------------------------------------------


def flip2d(
    x: Any, vertical: Any, horizontal: Any, *, data_format: str = "channels_last", out: np.ndarray | None = None
) -> np.ndarray:
    """Turn samples upside down or left to right. It is its own gradient.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    vertical, horizontal : bool or array_like of bool (N,)
        Which samples to turn upside down, left to right.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`, a new array.
    """
    func = "flip2d"
    x = last(array(x, func, "x", 4), data_format, func)
    y = x.copy()
    for flips, axis in ((vertical, 1), (horizontal, 2)):
        chosen = _samples(flips, len(x), func, "vertical" if axis == 1 else "horizontal", "b")
        y[chosen] = np.flip(y[chosen], axis)
    return deliver(back(y, data_format), out, func)


def _corners(top: Any, left: Any, room: tuple[int, int], n: int, func: str) -> list[tuple[int, int]]:
    corners = [_samples(value, n, func, name, "i") for value, name in ((top, "top"), (left, "left"))]
    for values, most, name in zip(corners, room, ("top", "left")):
        if n and not (values.min() >= 0 and values.max() <= most):
            raise ValueError(f"{func}: {name} must be from 0 to {most}, for the window to fit, got {values.tolist()}")
    return list(zip(*(values.tolist() for values in corners)))


def crop2d(
    x: Any, top: Any, left: Any, height: int, width: int, *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Cut a window out of each sample.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    top, left : int or array_like of int (N,)
        First row and column of the window.
    height, width : int
        Size of the window; it lies inside the image.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape (N, height, width, C), a new array.
    """
    func = "crop2d"
    x = last(array(x, func, "x", 4), data_format, func)
    n, h, w, c = x.shape
    height, width = whole(height, func, "height"), whole(width, func, "width")
    if height > h or width > w:
        raise ValueError(f"{func}: the window must fit into the image of {(h, w)}, got {(height, width)}")
    y = np.empty((n, height, width, c), x.dtype)
    for i, (a, b) in enumerate(_corners(top, left, (h - height, w - width), n, func)):
        y[i] = x[i, a : a + height, b : b + width]
    return deliver(back(y, data_format), out, func)


def crop2d_backward(
    dy: Any, top: Any, left: Any, input_shape: Sequence[int], *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `crop2d` with respect to its input: `dy` in its place, zeros around it.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output.
    top, left, data_format
        As in `crop2d`.
    input_shape : sequence of int
        Shape of its `x`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape `input_shape`.
    """
    func = "crop2d_backward"
    dy = last(array(dy, func, "dy", 4), data_format, func)
    n, height, width, c = dy.shape
    dx = last(np.zeros(tuple(whole(size, func, "input_shape", 0) for size in input_shape), dy.dtype), data_format, func)
    if dx.ndim != 4 or dx.shape[0] != n or dx.shape[3] != c or dx.shape[1] < height or dx.shape[2] < width:
        raise ValueError(f"{func}: input_shape must be that of an image around dy, {dy.shape}, got {tuple(input_shape)}")
    for i, (a, b) in enumerate(_corners(top, left, (dx.shape[1] - height, dx.shape[2] - width), n, func)):
        dx[i, a : a + height, b : b + width] = dy[i]
    return deliver(back(dx, data_format), out, func)


# --- affine maps ---------------------------------------------------------------------------------------------------------


def _outside(index: np.ndarray, size: int, mode: str) -> np.ndarray:
    """The pixel that stands for pixel `index`, which may lie outside of 0…size-1."""
    if mode == "reflect":  # d c b a | a b c d | d c b a
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return index % size if mode == "wrap" else np.clip(index, 0, size - 1)


def _corner_pixels(
    matrix: np.ndarray, shape: tuple[int, ...], mode: str, interpolation: str
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Which pixels make each output pixel: (their flat index, their weight, whether they are inside), each (N, H * W)."""
    h, w = shape[1:3]
    rows, columns = np.divmod(np.arange(h * w), w)
    place = matrix @ np.stack([rows, columns, np.ones(h * w)])  # (N, 2, H * W), in float64
    if interpolation == "nearest":
        place, steps = np.floor(place + 0.5), [(0, 0)]
    else:
        steps = [(0, 0), (0, 1), (1, 0), (1, 1)]
    start = np.floor(place)
    part, start = place - start, start.astype(np.int64)
    corners = []
    for step in steps:
        r, c = (start[:, axis] + step[axis] for axis in (0, 1))
        weight = np.prod([part[:, a] if step[a] else 1 - part[:, a] for a in (0, 1)], axis=0)
        inside = (r >= 0) & (r < h) & (c >= 0) & (c < w) if mode == "constant" else np.ones(r.shape, bool)
        corners.append((_outside(r, h, mode) * w + _outside(c, w, mode), weight, inside))
    return corners


def _matrices(matrix: Any, n: int, func: str) -> np.ndarray:
    a = any_array(matrix, func, "matrix")
    if a.dtype.kind not in "iuf":
        raise TypeError(f"{func}: matrix must be numbers, got {a.dtype}")
    if a.shape not in ((2, 3), (n, 2, 3)):
        raise ValueError(f"{func}: matrix must have shape (2, 3) or {(n, 2, 3)}, got {a.shape}")
    if not (np.abs(a) < 2**31).all():
        raise ValueError(f"{func}: matrix must be finite and less than 2**31")
    return np.broadcast_to(a.astype(np.float64), (n, 2, 3))


def affine2d(
    x: Any, matrix: Any, mode: str = "reflect", interpolation: str = "bilinear", fill_value: float = 0.0, *,
    data_format: str = "channels_last", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Move, turn, stretch each sample: pixel (row, column) of the output is ``matrix @ (row, column, 1)`` of the input.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C), H and W positive.
    matrix : array_like
        (N, 2, 3), or (2, 3) for all: as in `scipy.ndimage.affine_transform`, from the output to the input.
    mode : {"reflect", "constant", "nearest", "wrap"}
        What is outside the image: the image mirrored at its edges, `fill_value`, its edge pixels, the image again.
    interpolation : {"bilinear", "nearest"}
    fill_value : float
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    func = "affine2d"
    x = last(array(x, func, "x", 4), data_format, func)
    flat, corners = _planned(x, matrix, mode, interpolation, func)
    fill, samples = x.dtype.type(number(fill_value, func, "fill_value")), np.arange(len(x))[:, None]
    y = np.zeros(flat.shape, x.dtype)
    for index, weight, inside in corners:
        pixels = flat[samples, index]
        pixels[~inside] = fill
        y += pixels * weight[..., None].astype(x.dtype)
    return deliver(back(y.reshape(x.shape), data_format), out, func)


def affine2d_backward(
    dy: Any, matrix: Any, mode: str = "reflect", interpolation: str = "bilinear", *, data_format: str = "channels_last",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Gradient of `affine2d` with respect to `x`.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: its shape and dtype.
    matrix, mode, interpolation, data_format
        As in `affine2d`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `dy`.
    """
    func = "affine2d_backward"
    dy = last(array(dy, func, "dy", 4), data_format, func)
    flat, corners = _planned(dy, matrix, mode, interpolation, func)
    dx, samples = np.zeros(flat.shape, dy.dtype), np.arange(len(dy))[:, None]
    for index, weight, inside in corners:
        np.add.at(dx, (samples, index), flat * np.where(inside, weight, 0)[..., None].astype(dy.dtype))
    return deliver(back(dx.reshape(dy.shape), data_format), out, func)


def _planned(x: np.ndarray, matrix: Any, mode: str, interpolation: str, func: str) -> tuple[np.ndarray, list[Any]]:
    """(N, H * W, C), and the corners."""
    n, h, w, c = x.shape
    if not h or not w:
        raise ValueError(f"{func}: images must have pixels, got {x.shape}")
    choice(mode, func, "mode", MODES)
    choice(interpolation, func, "interpolation", ("bilinear", "nearest"))
    matrices = _matrices(matrix, n, func)
    return np.ascontiguousarray(x).reshape(n, h * w, c), _corner_pixels(matrices, x.shape, mode, interpolation)


def translation2d(down: Any, right: Any, size: Sequence[int]) -> np.ndarray:
    """Matrices for `affine2d` that shift images of `size` (height, width) by fractions of it, (N,) each."""
    n = any_array(down, "translation2d", "down").size
    matrix = np.tile(np.eye(2, 3), (n, 1, 1))
    for row, shift in enumerate((down, right)):
        matrix[:, row, 2] = -_samples(shift, n, "translation2d", ("down", "right")[row]) * size[row]
    return matrix


def rotation2d(turns: Any, size: Sequence[int]) -> np.ndarray:
    """Matrices for `affine2d` that turn images of `size` (height, width) counter-clockwise about their center.

    Parameters
    ----------
    turns : array_like (N,)
        Angles as fractions of a full turn.
    """
    n = any_array(turns, "rotation2d", "turns").size
    angle = 2 * np.pi * _samples(turns, n, "rotation2d", "turns")
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.empty((n, 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, sin, -sin, cos
    center = (np.asarray(size) - 1) / 2
    matrix[:, :, 2] = center - matrix[:, :, :2] @ center
    return matrix
