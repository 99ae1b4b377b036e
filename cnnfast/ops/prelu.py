"""A rectifier whose slope for negative values is learned (He et al., ICCV 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._plain import array, deliver, quiet, same
from .matmul import dense_backward_bias


def _slopes(weight: Any, x: np.ndarray, func: str) -> np.ndarray:
    weight = array(weight, func, "weight", like=x)
    if weight.ndim != x.ndim - 1 or any(w not in (1, n) for w, n in zip(weight.shape, x.shape[1:])):
        raise ValueError(f"{func}: weight must have the shape of a sample of x, {x.shape[1:]}, or 1s in it, got {weight.shape}")
    return weight


@quiet
def prelu(x: Any, weight: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """`x`, times `weight` where it is not positive.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, ...).
    weight : array_like
        Shape of a sample; 1 for axes that share a slope. Dtype of `x`.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    x = array(x, "prelu", "x")
    weight = _slopes(weight, x, "prelu")
    return deliver(np.where(x > 0, x, x * weight), out, "prelu")


@quiet
def prelu_backward(dy: Any, x: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `prelu`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, weight
        As given to the forward op.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight : ndarray
        Shape of `weight`.
    """
    func = "prelu_backward"
    x = array(x, func, "x")
    dy, weight = same(dy, x, func, "dy"), _slopes(weight, x, func)
    positive, slopes = x > 0, np.where(x > 0, 0, dy * x)
    total = dense_backward_bias(slopes.reshape(len(x), -1)).reshape(x.shape[1:])
    shared = tuple(axis for axis, n in enumerate(weight.shape) if n == 1)
    return np.where(positive, dy, dy * weight), total.sum(shared, keepdims=True)
