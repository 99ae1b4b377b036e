"""The truth that the kernels are tested against: every op in plain float64 NumPy.

Names, arguments and conventions are those of ``cnnfast.ops``, without ``out`` and ``num_threads``; the shortest form that is
plainly right is the one written here. Nothing calls BLAS, whose own rounding would otherwise hide in the truth, and nothing
checks its arguments. Inputs are computed in float64, or in the wider type they come in: a ``longdouble`` argument gives a
truth for float64 kernels, a ``complex128`` one gives the derivative of a smooth op by complex step
(``f(x + 1e-30j).imag / 1e-30``). Every ``*_backward`` is proven that way, or by finite differences, in
``tests/test_reference.py``.

Padding pixels are *skipped*, never multiplied: an infinite weight over padding adds nothing.
"""

from __future__ import annotations

import math

import numpy as np


def _array(x):
    x = np.asarray(x)
    return x.astype(np.result_type(x, np.float64), copy=False)


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _nhwc(x, data_format):
    """View of `x` (array) with its channels last."""
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def _like(y, data_format):
    """Channels-last `y` in the caller's layout: the inverse of `_nhwc`."""
    return y if data_format == "channels_last" else np.moveaxis(y, -1, 1)


def _nhwc_shape(shape, data_format):
    return tuple(shape) if data_format == "channels_last" else (shape[0], *shape[2:], shape[1])


def _hwio(weight, data_format):
    return weight if data_format == "channels_last" else np.transpose(weight, (2, 3, 1, 0))


# --- windows: the geometry that convolution and pooling share ------------------------------------------------------------


def _pads(padding, sizes, kernel, stride, dilation):
    """The padding grammar -> ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        pads = []
        for n, k, s, d in zip(sizes, kernel, stride, dilation):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) if padding != "valid" else 0
            less, more = total // 2, total - total // 2
            pads.append((more, less) if padding == "same_lower" else (less, more))
        return tuple(pads)
    return tuple(_pair(p) for p in _pair(padding))


def _windows(shape, kernel, stride, padding, dilation=1, ceil_mode=False, count_include_pad=False):
    """All windows over maps of `shape` (H, W).

    Returns the output (H', W'), the number of pixels in each window (H', W'), and one ``(i, j, target, source)`` per kernel
    tap: over tap (i, j), the output pixels ``y[target]`` meet the input pixels ``x[source]``; pairs that would meet padding
    are left out.
    """
    stride, dilation = _pair(stride), _pair(dilation)
    axes: list[tuple] = []
    for n, k, s, d, (before, after) in zip(
        shape, kernel, stride, dilation, _pads(padding, shape, kernel, stride, dilation)
    ):
        room = n + before + after - ((k - 1) * d + 1)
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= n + before:  # a window that starts beyond the image is dropped, as in torch
            out -= 1
        position = np.arange(k)[:, None] * d + np.arange(out) * s - before
        low, high = (-before, n + after) if count_include_pad else (0, n)
        counts = ((low <= position) & (position < high)).sum(0)
        taps = [(np.flatnonzero((row >= 0) & (row < n)), row) for row in position]
        axes.append((out, counts, [(target, row[target]) for target, row in taps]))
    (h, rows, ytaps), (w, columns, xtaps) = axes
    every = slice(None)
    windows = [
        (i, j, (every, oy[:, None], ox), (every, iy[:, None], ix))
        for i, (oy, iy) in enumerate(ytaps)
        for j, (ox, ix) in enumerate(xtaps)
    ]
    return (h, w), rows[:, None] * columns, windows


# --- matmul, dense -------------------------------------------------------------------------------------------------------


def matmul(a, b):
    return np.einsum("...ij,...jk->...ik", _array(a), _array(b), optimize=False)


def dense(x, weight, bias=None, *, activation=None):
    y = np.einsum("...i,io->...o", _array(x), _array(weight), optimize=False)
    return _activate(y if bias is None else y + bias, activation)


def dense_backward_input(dy, weight):
    return np.einsum("...o,io->...i", _array(dy), _array(weight), optimize=False)


def dense_backward_weight(x, dy):
    x, dy = _array(x), _array(dy)
    return np.einsum("ni,no->io", x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1]), optimize=False)


def dense_backward_bias(dy):
    return _array(dy).sum(tuple(range(np.ndim(dy) - 1)))


# --- conv2d --------------------------------------------------------------------------------------------------------------


def _split(x, groups):
    """(..., C) -> (..., groups, C / groups)."""
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def conv2d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, activation=None, data_format="channels_last"
):
    x, weight = _nhwc(_array(x), data_format), _hwio(_array(weight), data_format)
    size, _, taps = _windows(x.shape[1:3], weight.shape[:2], stride, padding, dilation)
    x, weight = _split(x, groups), _split(weight, groups)
    y = np.zeros((len(x), *size, groups, weight.shape[-1]), np.result_type(x, weight))
    for i, j, target, source in taps:
        y[target] += np.einsum("nhwgc,cgo->nhwgo", x[source], weight[i, j], optimize=False)
    y = y.reshape(*y.shape[:3], groups * y.shape[4])
    return _like(_activate(y if bias is None else y + bias, activation), data_format)


def conv2d_backward_input(
    dy, weight, input_shape, stride=1, padding=0, dilation=1, groups=1, *, data_format="channels_last"
):
    dy, weight = _nhwc(_array(dy), data_format), _hwio(_array(weight), data_format)
    shape = _nhwc_shape(input_shape, data_format)
    _, _, taps = _windows(shape[1:3], weight.shape[:2], stride, padding, dilation)
    dy, weight = _split(dy, groups), _split(weight, groups)
    dx = np.zeros((*shape[:3], groups, weight.shape[2]), np.result_type(dy, weight))
    for i, j, target, source in taps:
        dx[source] += np.einsum("nhwgo,cgo->nhwgc", dy[target], weight[i, j], optimize=False)
    return _like(dx.reshape(shape), data_format)


def conv2d_backward_weight(
    x, dy, weight_shape, stride=1, padding=0, dilation=1, groups=1, *, data_format="channels_last"
):
    x, dy = _nhwc(_array(x), data_format), _nhwc(_array(dy), data_format)
    dweight = _hwio(np.zeros(weight_shape, np.result_type(x, dy)), data_format)
    _, _, taps = _windows(x.shape[1:3], dweight.shape[:2], stride, padding, dilation)
    x, dy = _split(x, groups), _split(dy, groups)
    for i, j, target, source in taps:
        tap = np.einsum("nhwgc,nhwgo->cgo", x[source], dy[target], optimize=False)
        dweight[i, j] = tap.reshape(dweight.shape[2:])
    return dweight if data_format == "channels_last" else np.transpose(dweight, (3, 2, 0, 1))


def conv2d_backward_bias(dy, *, data_format="channels_last"):
    return _nhwc(_array(dy), data_format).sum((0, 1, 2))


# --- padding and pooling -------------------------------------------------------------------------------------------------


def pad2d(x, padding, value=0.0, *, data_format="channels_last"):
    vertical, horizontal = (_pair(p) for p in _pair(padding))
    x = _nhwc(_array(x), data_format)
    return _like(np.pad(x, ((0, 0), vertical, horizontal, (0, 0)), constant_values=value), data_format)


def pad2d_backward(dy, padding, *, data_format="channels_last"):
    (top, bottom), (left, right) = (_pair(p) for p in _pair(padding))
    dy = _nhwc(_array(dy), data_format)
    return _like(dy[:, top : dy.shape[1] - bottom, left : dy.shape[2] - right], data_format)


def max_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    *,
    return_indices=False,
    data_format="channels_last",
):
    """A NaN wins, else the maximum; of equals, the first in row-major order. The index is ``i * kw + j`` in the window."""
    x, kernel = _nhwc(_array(x), data_format), _pair(kernel_size)
    size, _, taps = _windows(x.shape[1:3], kernel, kernel if stride is None else stride, padding, dilation, ceil_mode)
    y = np.full((len(x), *size, x.shape[-1]), -np.inf)
    indices = np.full(y.shape, -1)
    for i, j, target, source in taps:
        best, new = y[target], x[source]
        wins = (indices[target] < 0) | (new > best) | (np.isnan(new) & ~np.isnan(best))
        y[target] = np.where(wins, new, best)
        indices[target] = np.where(wins, i * kernel[1] + j, indices[target])
    indices = np.maximum(indices, 0).astype(np.uint8 if kernel[0] * kernel[1] <= 256 else np.int32)
    y, indices = _like(y, data_format), _like(indices, data_format)
    return (y, indices) if return_indices else y


def max_pool2d_backward(
    dy,
    indices,
    input_shape,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    *,
    data_format="channels_last",
):
    dy, indices, kernel = _nhwc(_array(dy), data_format), _nhwc(np.asarray(indices), data_format), _pair(kernel_size)
    shape = _nhwc_shape(input_shape, data_format)
    _, _, taps = _windows(shape[1:3], kernel, kernel if stride is None else stride, padding, dilation, ceil_mode)
    dx = np.zeros(shape, dy.dtype)
    for i, j, target, source in taps:
        dx[source] += np.where(indices[target] == i * kernel[1] + j, dy[target], 0)
    return _like(dx, data_format)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False, *, data_format="channels_last"
):
    """The divisor counts the window's pixels inside the image, or with `count_include_pad` inside the padded image."""
    x, kernel = _nhwc(_array(x), data_format), _pair(kernel_size)
    stride = kernel if stride is None else stride
    size, counts, taps = _windows(x.shape[1:3], kernel, stride, padding, 1, ceil_mode, count_include_pad)
    y = np.zeros((len(x), *size, x.shape[-1]), x.dtype)
    for _, _, target, source in taps:
        y[target] += x[source]
    return _like(y / counts[:, :, None], data_format)


def avg_pool2d_backward(
    dy,
    input_shape,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=False,
    *,
    data_format="channels_last",
):
    dy, kernel = _nhwc(_array(dy), data_format), _pair(kernel_size)
    shape, stride = _nhwc_shape(input_shape, data_format), kernel if stride is None else stride
    _, counts, taps = _windows(shape[1:3], kernel, stride, padding, 1, ceil_mode, count_include_pad)
    share, dx = dy / counts[:, :, None], np.zeros(shape, dy.dtype)
    for _, _, target, source in taps:
        dx[source] += share[target]
    return _like(dx, data_format)


def global_avg_pool2d(x, *, keepdims=False, data_format="channels_last"):
    y = _nhwc(_array(x), data_format).mean((1, 2), keepdims=True)
    return _like(y, data_format) if keepdims else y[:, 0, 0]


def global_avg_pool2d_backward(dy, input_shape, *, data_format="channels_last"):
    n, h, w, c = _nhwc_shape(input_shape, data_format)
    return _like(np.broadcast_to(_array(dy).reshape(n, 1, 1, c) / (h * w), (n, h, w, c)), data_format)


def global_max_pool2d(x, *, keepdims=False, return_indices=False, data_format="channels_last"):
    """The index is the winner's row-major position in the map."""
    x = _nhwc(_array(x), data_format)
    flat = x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[3])
    indices = flat.argmax(1, keepdims=True)
    y = np.take_along_axis(flat, indices, 1)
    if keepdims:
        y, indices = (_like(a[:, :, None], data_format) for a in (y, indices))
    else:
        y, indices = y[:, 0], indices[:, 0]
    return (y, indices) if return_indices else y


def global_max_pool2d_backward(dy, indices, input_shape, *, data_format="channels_last"):
    n, h, w, c = _nhwc_shape(input_shape, data_format)
    dx = np.zeros((n, h * w, c), _array(dy).dtype)
    np.put_along_axis(dx, np.reshape(indices, (n, 1, c)), _array(dy).reshape(n, 1, c), 1)
    return _like(dx.reshape(n, h, w, c), data_format)


# --- activations ---------------------------------------------------------------------------------------------------------


def _activate(y, activation):
    return y if activation is None else {"relu": relu, "sigmoid": sigmoid}[activation](y)


def add(a, b, *, activation=None):
    return _activate(_array(a) + _array(b), activation)


def exp(x):
    with np.errstate(over="ignore"):
        return np.exp(_array(x))


def log(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(_array(x))


def relu(x):
    """NaN and -0.0 pass."""
    x = _array(x)
    return np.where(x.real < 0, 0, x)


def relu_backward(dy, x):
    """`x` may be the output too: both have the same sign."""
    return np.where(_array(x).real > 0, _array(dy), 0)


def leaky_relu(x, negative_slope=0.01):
    x = _array(x)
    return np.where(x.real > 0, x, x * negative_slope)


def leaky_relu_backward(dy, x, negative_slope=0.01):
    return np.where(_array(x).real > 0, _array(dy), _array(dy) * negative_slope)


def elu(x, alpha=1.0):
    x = _array(x)
    return np.where(x.real > 0, x, alpha * np.expm1(np.where(x.real > 0, 0, x)))


def elu_backward(dy, x, alpha=1.0):
    x = _array(x)
    return _array(dy) * np.where(x.real > 0, 1, alpha * np.exp(np.where(x.real > 0, 0, x)))


def sigmoid(x):
    x = _array(x)
    e = np.exp(np.where(x.real < 0, x, -x))
    return np.where(x.real < 0, e, 1) / (1 + e)


def sigmoid_backward(dy, y):
    return _array(dy) * _array(y) * (1 - _array(y))


def tanh(x):
    return np.tanh(_array(x))


def tanh_backward(dy, y):
    return _array(dy) * (1 - _array(y)) * (1 + _array(y))


def silu(x):
    return _array(x) * sigmoid(x)


def silu_backward(dy, x):
    s = sigmoid(x)
    return _array(dy) * s * (1 + _array(x) * (1 - s))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])
_TANH_SCALE, _TANH_CUBE = math.sqrt(2 / math.pi), 0.044715


def gelu(x, approximate="none"):
    """``x * Phi(x)``, Phi the normal distribution (Hendrycks & Gimpel, arXiv 1606.08415), or its form with tanh."""
    x = _array(x)
    if approximate == "tanh":  # (1 + tanh(u)) / 2 = sigmoid(2u), which keeps its relative precision for u << 0
        return x * sigmoid(2 * _TANH_SCALE * (x + _TANH_CUBE * x**3))
    return x / 2 * _erfc(x * -math.sqrt(0.5))


def gelu_backward(dy, x, approximate="none"):
    x = _array(x)
    if approximate == "tanh":
        s = sigmoid(2 * _TANH_SCALE * (x + _TANH_CUBE * x**3))
        return _array(dy) * (s + x * s * (1 - s) * 2 * _TANH_SCALE * (1 + 3 * _TANH_CUBE * x**2))
    return _array(dy) * (_erfc(x * -math.sqrt(0.5)) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def _log_softmax(x, axis=-1):
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf: a row with +inf, or of -inf only, is a NaN row
        x = x - x.real.max(axis, keepdims=True)
        return x - np.log(np.exp(x).sum(axis, keepdims=True))


def softmax(x, axis=-1):
    x = _array(x)
    with np.errstate(invalid="ignore", over="ignore"):
        e = np.exp(x - x.real.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_backward(dy, y, axis=-1):
    dy, y = _array(dy), _array(y)
    return y * (dy - (dy * y).sum(axis, keepdims=True))


# --- batch norm, dropout -------------------------------------------------------------------------------------------------


def batch_norm(x, mean, var, weight=None, bias=None, eps=1e-5, *, activation=None, data_format="channels_last"):
    y = (_nhwc(_array(x), data_format) - mean) / np.sqrt(_array(var) + eps)
    y = y if weight is None else y * weight
    return _like(_activate(y if bias is None else y + bias, activation), data_format)


def batch_norm_stats(x, *, data_format="channels_last"):
    """Mean and biased variance of each channel."""
    x = _nhwc(_array(x), data_format)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, ((x - mean) ** 2).mean(axes)


def batch_norm_backward(dy, x, mean, var, weight=None, eps=1e-5, *, training=True, data_format="channels_last"):
    """``(dx, dweight, dbias)``. In training `mean` and `var` are those of `x` and pass their own gradient on."""
    dy, x = _nhwc(_array(dy), data_format), _nhwc(_array(x), data_format)
    axes = tuple(range(x.ndim - 1))
    scale = 1 / np.sqrt(_array(var) + eps)
    normal = (x - mean) * scale
    dweight, dbias = (dy * normal).sum(axes), dy.sum(axes)
    dx = dy - (dbias + normal * dweight) / (x.size // x.shape[-1]) if training else dy
    return _like(dx * (scale if weight is None else scale * weight), data_format), dweight, dbias


def moving_average(average, value, momentum):
    return _array(average) * momentum + _array(value) * (1 - momentum)


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC 2011): four words of counter (4, ...) and two of key (2, ...) -> four random words."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = (np.asarray(k, np.uint64) for k in key)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = p1 >> np.uint64(32) ^ c1 ^ k0, p1 & low, p0 >> np.uint64(32) ^ c3 ^ k1, p0 & low
        k0, k1 = k0 + np.uint64(0x9E3779B9) & low, k1 + np.uint64(0xBB67AE85) & low
    return np.stack([c0, c1, c2, c3])


def dropout(x, p, *, seed, step):
    """Zero a fraction `p` of the elements and scale the rest by ``1 / (1 - p)``; the kernel draws exactly the same ones.

    Element `index` (in C order) is given word ``index % 4`` of ``philox(counter, key)``, where
    ``key = (seed & 0xFFFFFFFF, seed >> 32)`` and, with ``block = index // 4``,
    ``counter = (block & 0xFFFFFFFF, block >> 32, step & 0xFFFFFFFF, step >> 32)``; `seed` and `step` are 64-bit unsigned.
    It is kept if the word is at least ``round(p * 2**32)`` (half to even).
    """
    halves = lambda value: (value & np.uint64(0xFFFFFFFF), value >> np.uint64(32))  # noqa: E731
    x = _array(x)
    block = np.arange(-(-x.size // 4), dtype=np.uint64)
    words = philox(np.broadcast_arrays(*halves(block), *halves(np.uint64(step))), halves(np.uint64(seed)))
    keep = words.T.reshape(-1)[: x.size] >= round(p * 2**32)
    return np.where(keep.reshape(x.shape), x * (1 / (1 - p)), 0)


dropout_backward = dropout


# --- losses --------------------------------------------------------------------------------------------------------------


def _probabilities(target, classes, label_smoothing=0.0):
    """Integer labels (...) or probabilities (..., C) -> smoothed probabilities (..., C)."""
    target = np.asarray(target)
    if target.dtype.kind in "iu":
        target = np.eye(classes)[target]
    return target * (1 - label_smoothing) + label_smoothing / classes


def _times(t, x):
    """``t * x``, where nothing times infinity is nothing: the convention 0 log 0 = 0."""
    return np.where(t == 0, 0, t * np.where(t == 0, 1, x))


def softmax_cross_entropy(logits, target, *, label_smoothing=0.0):
    """``(losses, probabilities)``."""
    logits = _array(logits)
    t = _probabilities(target, logits.shape[-1], label_smoothing)
    return -_times(t, _log_softmax(logits)).sum(-1), softmax(logits)


def softmax_cross_entropy_backward(dloss, probabilities, target, *, label_smoothing=0.0):
    p = _array(probabilities)
    t = _probabilities(target, p.shape[-1], label_smoothing)
    return _array(dloss)[..., None] * (p * t.sum(-1, keepdims=True) - t)


def sigmoid_cross_entropy(logits, target):
    x = _array(logits)
    return np.where(x.real > 0, x, 0) - x * target + np.log1p(np.exp(np.where(x.real > 0, -x, x)))


def sigmoid_cross_entropy_backward(dloss, logits, target):
    return _array(dloss) * (sigmoid(logits) - target)


def mse_loss(x, target):
    """Mean over the last axis."""
    return ((_array(x) - target) ** 2).mean(-1)


def mse_loss_backward(dloss, x, target):
    return _array(dloss)[..., None] * 2 * (_array(x) - target) / np.shape(x)[-1]


def cross_entropy(probabilities, target):
    p = _array(probabilities)
    with np.errstate(divide="ignore"):
        return -_times(_probabilities(target, p.shape[-1]), np.log(p)).sum(-1)


def cross_entropy_backward(dloss, probabilities, target):
    p = _array(probabilities)
    with np.errstate(divide="ignore"):
        return -_array(dloss)[..., None] * _times(_probabilities(target, p.shape[-1]), 1 / p)


def binary_cross_entropy(p, target):
    p, t = _array(p), _array(target)
    with np.errstate(divide="ignore"):
        return -_times(t, np.log(p)) - _times(1 - t, np.log1p(-p))


def binary_cross_entropy_backward(dloss, p, target):
    p, t = _array(p), _array(target)
    with np.errstate(divide="ignore"):
        return _array(dloss) * (_times(1 - t, 1 / (1 - p)) - _times(t, 1 / p))


# --- optimiser steps: in place, Keras 3's formulas; weight decay is decoupled and goes first ------------------------------


def sgd_step(param, grad, velocity=None, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    param -= param * (weight_decay * lr)
    if velocity is None:
        param -= lr * grad
        return
    velocity *= momentum
    velocity -= lr * grad
    param += momentum * velocity - lr * grad if nesterov else velocity


def adam_step(param, grad, m, v, *, lr, beta_1, beta_2, eps, step, weight_decay=0.0):
    """`step` counts from 1."""
    param -= param * (weight_decay * lr)
    m += (grad - m) * (1 - beta_1)
    v += (grad * grad - v) * (1 - beta_2)
    param -= lr * math.sqrt(1 - beta_2**step) / (1 - beta_1**step) * m / (np.sqrt(v) + eps)


def rmsprop_step(param, grad, v, velocity=None, *, lr, rho, eps, momentum=0.0, weight_decay=0.0):
    param -= param * (weight_decay * lr)
    v *= rho
    v += (1 - rho) * grad * grad
    increment = lr * grad / np.sqrt(v + eps)
    if velocity is None:
        param -= increment
        return
    velocity *= momentum
    velocity += increment
    param -= velocity
