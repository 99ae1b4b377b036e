"""Normalization of each sample by itself: over its last axes, or over groups of channels.

Both come down to rows: what shares a mean lies in one contiguous row, which NumPy sums pairwise, a row never looking at
another. So a sample's bits don't depend on the batch around it, as the kernels' sums over a batch would make them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._plain import array, back, deliver, last, number, quiet, same, shaped, whole
from .matmul import dense_backward_bias

Affine = Any  # array_like or None


@quiet
def _normal(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Each row with mean 0 and variance 1, and what it was multiplied with."""
    normal = rows - rows.mean(-1, keepdims=True)
    normal -= normal.mean(-1, keepdims=True)  # what rounding left of a large mean
    scale = 1 / np.sqrt(np.square(normal).mean(-1, keepdims=True) + normal.dtype.type(eps))
    normal *= scale
    return normal, scale


@quiet
def _normal_backward(dnormal: np.ndarray, normal: np.ndarray, scale: np.ndarray) -> np.ndarray:
    dx = dnormal - dnormal.mean(-1, keepdims=True)
    dx -= normal * (dnormal * normal).mean(-1, keepdims=True)
    dx *= scale
    return dx


def _eps(eps: Any, func: str) -> float:
    value = number(eps, func, "eps")
    if value <= 0:
        raise ValueError(f"{func}: eps must be positive, got {eps!r}")
    return value


def _affine(value: Affine, x: np.ndarray, shape: tuple[int, ...], func: str, name: str) -> np.ndarray | None:
    return None if value is None else shaped(array(value, func, name, like=x), shape, func, name)


def _scaled(y: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y


def _sums(dy: np.ndarray, normal: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(dweight, dbias): over all axes but those of `shape`."""
    size = math.prod(shape)
    return tuple(dense_backward_bias(a.reshape(-1, size)).reshape(shape) for a in (dy * normal, dy))


def _last_axes(x: np.ndarray, normalized_shape: Any, func: str) -> tuple[int, ...]:
    if isinstance(normalized_shape, (list, tuple)):
        shape = tuple(whole(n, func, "normalized_shape") for n in normalized_shape)
    else:
        shape = (whole(normalized_shape, func, "normalized_shape"),)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"{func}: normalized_shape must be the last axes of x, {x.shape}, got {shape}")
    return shape


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Affine = None, bias: Affine = None, eps: float = 1e-5, *,
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance over the last axes (Ba et al., arXiv 1607.06450).

    Parameters
    ----------
    x : array_like
        float32 or float64, ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        Sizes of the axes that share a mean.
    weight, bias : array_like, optional
        Shape `normalized_shape`, dtype of `x`; 1 and 0 by default.
    eps : float
        Positive.
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
    func = "layer_norm"
    x = array(x, func, "x")
    shape = _last_axes(x, normalized_shape, func)
    weight, bias = _affine(weight, x, shape, func, "weight"), _affine(bias, x, shape, func, "bias")
    y, _ = _normal(np.ascontiguousarray(x).reshape(-1, math.prod(shape)), _eps(eps, func))
    return deliver(_scaled(y.reshape(x.shape), weight, bias), out, func)


def layer_norm_backward(
    dy: Any, x: Any, normalized_shape: int | Sequence[int], weight: Affine = None, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `layer_norm`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, normalized_shape, weight, eps
        As given to the forward op.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight, dbias : ndarray
        Shape `normalized_shape`.
    """
    func = "layer_norm_backward"
    x = array(x, func, "x")
    dy, shape = same(dy, x, func, "dy"), _last_axes(x, normalized_shape, func)
    weight, rows = _affine(weight, x, shape, func, "weight"), (-1, math.prod(shape))
    normal, scale = _normal(np.ascontiguousarray(x).reshape(rows), _eps(eps, func))
    dnormal = dy if weight is None else dy * weight
    dx = _normal_backward(np.ascontiguousarray(dnormal).reshape(rows), normal, scale)
    return dx.reshape(x.shape), *_sums(dy, normal.reshape(x.shape), shape)


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, ..., C) -> (N * groups, ... * C / groups), a copy."""
    n, c = x.shape[0], x.shape[-1]
    return np.ascontiguousarray(x.reshape(n, -1, groups, c // groups).swapaxes(1, 2)).reshape(n * groups, -1)


def _ungrouped(rows: np.ndarray, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """The inverse."""
    n, c = shape[0], shape[-1]
    return np.ascontiguousarray(rows.reshape(n, groups, -1, c // groups).swapaxes(1, 2)).reshape(shape)


def _groups(x: np.ndarray, num_groups: Any, func: str) -> int:
    groups = whole(num_groups, func, "num_groups")
    if x.shape[-1] % groups:
        raise ValueError(f"{func}: num_groups must divide the {x.shape[-1]} channels of x, got {groups}")
    return groups


def group_norm(
    x: Any, num_groups: int, weight: Affine = None, bias: Affine = None, eps: float = 1e-5, *,
    data_format: str = "channels_last", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance of a sample's group of channels.

    As many groups as channels are instance normalization (Wu & He, ECCV 2018).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, ..., C), more than 1-D.
    num_groups : int
        Divides C.
    weight, bias : array_like, optional
        Shape (C,), dtype of `x`; 1 and 0 by default.
    eps : float
        Positive.
    data_format : {"channels_last", "channels_first"}
        channels_first: `x` is (N, C, ...).
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
    func = "group_norm"
    x = last(_samples(x, func), data_format, func)
    groups, c = _groups(x, num_groups, func), x.shape[-1:]
    weight, bias = _affine(weight, x, c, func, "weight"), _affine(bias, x, c, func, "bias")
    y, _ = _normal(_grouped(x, groups), _eps(eps, func))
    return deliver(back(_scaled(_ungrouped(y, x.shape, groups), weight, bias), data_format), out, func)


def group_norm_backward(
    dy: Any, x: Any, num_groups: int, weight: Affine = None, eps: float = 1e-5, *, data_format: str = "channels_last"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `group_norm`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, num_groups, weight, eps, data_format
        As given to the forward op.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight, dbias : ndarray
        Shape (C,).
    """
    func = "group_norm_backward"
    x = _samples(x, func)
    dy, x = last(same(dy, x, func, "dy"), data_format, func), last(x, data_format, func)
    groups, c = _groups(x, num_groups, func), x.shape[-1:]
    weight = _affine(weight, x, c, func, "weight")
    normal, scale = _normal(_grouped(x, groups), _eps(eps, func))
    dx = _normal_backward(_grouped(dy if weight is None else dy * weight, groups), normal, scale)
    sums = _sums(dy, _ungrouped(normal, x.shape, groups), c)
    return back(_ungrouped(dx, x.shape, groups), data_format), *sums


def _samples(x: Any, func: str) -> np.ndarray:
    x = array(x, func, "x")
    if x.ndim < 2 or not x.size:
        raise ValueError(f"{func}: x must have a batch and channels, none of them empty, got shape {x.shape}")
    return x
