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


def concatenate(arrays, axis=-1):
    return np.concatenate([_array(a) for a in arrays], axis)


def concatenate_backward(dy, sizes, axis=-1):
    return tuple(np.split(_array(dy), np.cumsum(sizes[:-1]), axis))


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
    y=None,
    data_format="channels_last",
):
    """With `y`, the pooled output, also back through a ReLU before the pooling."""
    dy = dy if y is None else relu_backward(dy, y)
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


def relu_backward(dy, x, *, return_dbias=False):
    """`x` may be the output too: both have the same sign."""
    dx = np.where(_array(x).real > 0, _array(dy), 0)
    return (dx, dx.sum(tuple(range(dx.ndim - 1)))) if return_dbias else dx


def leaky_relu(x, negative_slope=0.01):
    x = _array(x)
    return np.where(x.real > 0, x, x * negative_slope)


def leaky_relu_backward(dy, x, negative_slope=0.01):
    return np.where(_array(x).real > 0, _array(dy), _array(dy) * negative_slope)


def clipped_relu(x, max_value=None, negative_slope=0.0, threshold=0.0):
    x = _array(x)
    low = negative_slope * (x - threshold) if negative_slope else np.where(np.isnan(x), x, 0)
    high = x if max_value is None else np.where(x.real < max_value, x, max_value)
    return np.where(x.real > threshold, high, low)


def clipped_relu_backward(dy, x, max_value=None, negative_slope=0.0, threshold=0.0):
    dy, x = _array(dy), _array(x)
    slope = np.where(x > threshold, 1, negative_slope)
    return dy * (slope if max_value is None else np.where(x >= max_value, 0, slope))


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


def batch_norm(
    x, mean, var, weight=None, bias=None, eps=1e-5, *, residual=None, activation=None, data_format="channels_last"
):
    y = (_nhwc(_array(x), data_format) - mean) / np.sqrt(_array(var) + eps)
    y = y if weight is None else y * weight
    y = _like(y if bias is None else y + bias, data_format)
    return _activate(y if residual is None else y + _array(residual), activation)


def batch_norm_stats(x, *, data_format="channels_last"):
    """Mean and biased variance of each channel."""
    x = _nhwc(_array(x), data_format)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, ((x - mean) ** 2).mean(axes)


def batch_norm_backward(
    dy,
    x,
    mean,
    var,
    weight=None,
    eps=1e-5,
    *,
    bias=None,
    activation=None,
    y=None,
    return_dresidual=False,
    training=True,
    data_format="channels_last",
):
    """``(dx, dweight, dbias)``. In training `mean` and `var` are those of `x` and pass their own gradient on."""
    if activation == "relu":
        dy = relu_backward(
            dy, batch_norm(x, mean, var, weight, bias, eps, data_format=data_format) if y is None else y
        )
    dresidual = _array(dy)
    dy, x = _nhwc(dresidual, data_format), _nhwc(_array(x), data_format)
    axes = tuple(range(x.ndim - 1))
    scale = 1 / np.sqrt(_array(var) + eps)
    normal = (x - mean) * scale
    dweight, dbias = (dy * normal).sum(axes), dy.sum(axes)
    dx = dy - (dbias + normal * dweight) / (x.size // x.shape[-1]) if training else dy
    grads = _like(dx * (scale if weight is None else scale * weight), data_format), dweight, dbias
    return (*grads, dresidual) if return_dresidual else grads


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


def dropout(x, p, *, seed, step, noise_shape=None):
    """Zero a fraction `p` of the elements and scale the rest by ``1 / (1 - p)``; the kernel draws exactly the same ones.

    Element `index` (in C order) is given word ``index % 4`` of ``philox(counter, key)``, where
    ``key = (seed & 0xFFFFFFFF, seed >> 32)`` and, with ``block = index // 4``,
    ``counter = (block & 0xFFFFFFFF, block >> 32, step & 0xFFFFFFFF, step >> 32)``; `seed` and `step` are 64-bit unsigned.
    It is kept if the word is at least ``round(p * 2**32)`` (half to even). With `noise_shape` the elements of an array of that
    shape are drawn, and those of x that it broadcasts to share their fate.
    """
    if noise_shape is not None:
        noise = [n if m is None else m for m, n in zip(noise_shape, np.shape(x))]
        return np.where(dropout(np.ones(noise), p, seed=seed, step=step) > 0, _array(x) * (1 / (1 - p)), 0)
    halves = lambda value: (value & np.uint64(0xFFFFFFFF), value >> np.uint64(32))  # noqa: E731
    x = _array(x)
    block = np.arange(-(-x.size // 4), dtype=np.uint64)
    words = philox(np.broadcast_arrays(*halves(block), *halves(np.uint64(step))), halves(np.uint64(seed)))
    keep = words.T.reshape(-1)[: x.size] >= round(p * 2**32)
    return np.where(keep.reshape(x.shape), x * (1 / (1 - p)), 0)


dropout_backward = dropout


def dropout2d(x, p, *, seed, step, data_format="channels_last"):
    x = _nhwc(_array(x), data_format)
    return _like(dropout(x, p, seed=seed, step=step, noise_shape=(None, 1, 1, None)), data_format)


dropout2d_backward = dropout2d


def _random_words(shape, seed, step):
    """Philox4x64-10 in Python's integers: four words a block, the counter from 1, the key ``(seed, step)``."""
    low64 = 2**64 - 1
    words: list[int] = []
    for block in range(1, -(-math.prod(shape) // 4) + 1):
        c, k = (block, 0, 0, 0), (seed, step)
        for _ in range(10):
            p0, p1 = c[0] * 0xD2E7470EE14C6C93, c[2] * 0xCA5A826395121157
            c = (p1 >> 64) ^ c[1] ^ k[0], p1 & low64, (p0 >> 64) ^ c[3] ^ k[1], p0 & low64
            k = (k[0] + 0x9E3779B97F4A7C15) & low64, (k[1] + 0xBB67AE8584CAA73B) & low64
        words += c
    return words[: math.prod(shape)]


def _by_rows(bound, shape):
    """A bound for each index of the first axis, beside arrays of `shape`."""
    return np.reshape(bound, (-1, *(1,) * (len(shape) - 1))) if isinstance(bound, (list, tuple)) else bound


def random_uniform(shape, low=0.0, high=1.0, *, seed, step, dtype="float64"):
    bits = 24 if dtype == "float32" else 53
    low, high = (np.asarray(_by_rows(bound, shape), dtype) for bound in (low, high))
    parts = [(word >> 64 - bits) / 2**bits for word in _random_words(shape, seed, step)]
    return low + (high - low) * np.array(parts, dtype).reshape(shape)


def random_integers(shape, low, high, *, seed, step):
    low, high = (np.asarray(_by_rows(bound, shape)) for bound in (low, high))
    return low + ((high - low) * random_uniform(shape, seed=seed, step=step)).astype(np.int64)


def random_bernoulli(shape, p=0.5, *, seed, step):
    return random_uniform(shape, seed=seed, step=step) < _by_rows(p, shape)


# --- normalization of each sample, prelu -----------------------------------------------------------------------------------


def _normalize(x, axes, eps):
    centred = x - x.mean(axes, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)
    return centred * scale, scale


def _normalize_backward(dnormal, normal, scale, axes):
    mean = lambda a: a.mean(axes, keepdims=True)  # noqa: E731
    return scale * (dnormal - mean(dnormal) - normal * mean(dnormal * normal))


def _last_axes(normalized_shape):
    return tuple(range(-len(normalized_shape), 0)) if isinstance(normalized_shape, (tuple, list)) else (-1,)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    y, _ = _normalize(_array(x), _last_axes(normalized_shape), eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def layer_norm_backward(dy, x, normalized_shape, weight=None, eps=1e-5):
    dy, axes = _array(dy), _last_axes(normalized_shape)
    normal, scale = _normalize(_array(x), axes, eps)
    others = tuple(range(dy.ndim - len(axes)))
    dx = _normalize_backward(dy * (1 if weight is None else weight), normal, scale, axes)
    return dx, (dy * normal).sum(others), dy.sum(others)


def _in_groups(x, groups):
    return x.reshape(len(x), -1, groups, x.shape[-1] // groups)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, *, data_format="channels_last"):
    x = _nhwc(_array(x), data_format)
    y = _normalize(_in_groups(x, num_groups), (1, 3), eps)[0].reshape(x.shape)
    return _like(y * (1 if weight is None else weight) + (0 if bias is None else bias), data_format)


def group_norm_backward(dy, x, num_groups, weight=None, eps=1e-5, *, data_format="channels_last"):
    dy, x = _nhwc(_array(dy), data_format), _nhwc(_array(x), data_format)
    normal, scale = _normalize(_in_groups(x, num_groups), (1, 3), eps)
    dnormal = _in_groups(dy * (1 if weight is None else weight), num_groups)
    dx = _normalize_backward(dnormal, normal, scale, (1, 3)).reshape(x.shape)
    axes = tuple(range(x.ndim - 1))
    return _like(dx, data_format), (dy * normal.reshape(x.shape)).sum(axes), dy.sum(axes)


def prelu(x, weight):
    x = _array(x)
    return np.where(x.real > 0, x, x * weight)


def prelu_backward(dy, x, weight):
    dy, x = _array(dy), _array(x)
    dweight = np.where(x > 0, 0, dy * x).sum(0)
    shared = tuple(axis for axis, n in enumerate(np.shape(weight)) if n == 1)
    return np.where(x > 0, dy, dy * weight), dweight.sum(shared, keepdims=True)


# --- images ----------------------------------------------------------------------------------------------------------------


def _interpolation(size, factor, mode):
    """(size * factor, size): how much of each pixel goes into each pixel of the larger axis."""
    matrix = np.zeros((size * factor, size))
    for i in range(size * factor):
        place = i // factor if mode == "nearest" else (i + 0.5) / factor - 0.5
        first = math.floor(place)
        for j, weight in ((first, first + 1 - place), (first + 1, place - first)):
            matrix[i, min(max(j, 0), size - 1)] += weight
    return matrix


def upsample2d(x, scale_factor, mode="nearest", *, data_format="channels_last"):
    x, (fh, fw) = _nhwc(_array(x), data_format), _pair(scale_factor)
    rows, columns = _interpolation(x.shape[1], fh, mode), _interpolation(x.shape[2], fw, mode)
    return _like(np.einsum("ah,bw,nhwc->nabc", rows, columns, x, optimize=False), data_format)


def upsample2d_backward(dy, scale_factor, mode="nearest", *, data_format="channels_last"):
    dy, (fh, fw) = _nhwc(_array(dy), data_format), _pair(scale_factor)
    rows, columns = _interpolation(dy.shape[1] // fh, fh, mode), _interpolation(dy.shape[2] // fw, fw, mode)
    return _like(np.einsum("ah,bw,nabc->nhwc", rows, columns, dy, optimize=False), data_format)


def rescale(x, scale, offset=0.0):
    return _array(x) * np.asarray(scale) + np.asarray(offset)


def _by_sample(value):
    return np.reshape(value, (-1, 1, 1, 1))


def adjust_brightness(x, delta, value_range):
    return np.clip(_array(x) + _by_sample(delta), *value_range)


def adjust_brightness_backward(dy, x, delta, value_range):
    y = _array(x) + _by_sample(delta)
    return np.where((value_range[0] <= y) & (y <= value_range[1]), _array(dy), 0)


def _contrast(x, factor):
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) * factor + mean


def adjust_contrast(x, factor, value_range, *, data_format="channels_last"):
    return _like(np.clip(_contrast(_nhwc(_array(x), data_format), _by_sample(factor)), *value_range), data_format)


def adjust_contrast_backward(dy, x, factor, value_range, *, data_format="channels_last"):
    dy, factor = _nhwc(_array(dy), data_format), _by_sample(factor)
    y = _contrast(_nhwc(_array(x), data_format), factor)
    dy = np.where((value_range[0] <= y) & (y <= value_range[1]), dy, 0)
    return _like(dy * factor + dy.mean((1, 2), keepdims=True) * (1 - factor), data_format)


def flip2d(x, vertical, horizontal, *, data_format="channels_last"):
    x = _nhwc(_array(x), data_format)
    pairs = zip(x, np.broadcast_to(vertical, len(x)), np.broadcast_to(horizontal, len(x)))
    return _like(np.stack([a[:: -1 if v else 1, :: -1 if h else 1] for a, v, h in pairs]), data_format)


def crop2d(x, top, left, height, width, *, data_format="channels_last"):
    x = _nhwc(_array(x), data_format)
    corners = zip(x, np.broadcast_to(top, len(x)), np.broadcast_to(left, len(x)))
    return _like(np.stack([a[t : t + height, l : l + width] for a, t, l in corners]), data_format)  # noqa: E741


def crop2d_backward(dy, top, left, input_shape, *, data_format="channels_last"):
    dy, dx = _nhwc(_array(dy), data_format), np.zeros(_nhwc_shape(input_shape, data_format))
    for a, d, t, l in zip(dx, dy, np.broadcast_to(top, len(dy)), np.broadcast_to(left, len(dy))):  # noqa: E741
        a[t : t + d.shape[0], l : l + d.shape[1]] = d
    return _like(dx, data_format)


def _sources(matrix, size, mode, interpolation):
    """For each output pixel of an image: ``(row, column, [(row, column, weight), ...])``, None for rows and columns outside."""

    def fold(i, n):
        if mode == "constant":
            return i if 0 <= i < n else None
        return {"nearest": min(max(i, 0), n - 1), "wrap": i % n, "reflect": (*range(n), *range(n - 1, -1, -1))[i % (2 * n)]}[mode]

    for i, j in np.ndindex(*size):
        r, c = np.asarray(matrix, np.float64) @ (i, j, 1)
        if interpolation == "nearest":
            r, c = math.floor(r + 0.5), math.floor(c + 0.5)
        r0, c0 = math.floor(r), math.floor(c)
        corners = [(a, b, (1 - abs(r - a)) * (1 - abs(c - b))) for a in (r0, r0 + 1) for b in (c0, c0 + 1)]
        yield i, j, [(fold(a, size[0]), fold(b, size[1]), weight) for a, b, weight in corners]


def translation2d(down, right, size):
    return np.array([[[1, 0, -d * size[0]], [0, 1, -r * size[1]]] for d, r in zip(np.atleast_1d(down), np.atleast_1d(right))])


def rotation2d(turns, size):
    center, matrices = (np.asarray(size) - 1) / 2, []
    for angle in 2 * np.pi * np.atleast_1d(np.asarray(turns, np.float64)):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        matrices.append(np.column_stack([turn, center - turn @ center]))
    return np.array(matrices)


def affine2d(x, matrix, mode="reflect", interpolation="bilinear", fill_value=0.0, *, data_format="channels_last"):
    x = _nhwc(_array(x), data_format)
    y = np.zeros(x.shape)
    for n, m in enumerate(np.broadcast_to(matrix, (len(x), 2, 3))):
        for i, j, corners in _sources(m, x.shape[1:3], mode, interpolation):
            y[n, i, j] = sum(w * (fill_value if None in (a, b) else x[n, a, b]) for a, b, w in corners)
    return _like(y, data_format)


def affine2d_backward(dy, matrix, mode="reflect", interpolation="bilinear", *, data_format="channels_last"):
    dy = _nhwc(_array(dy), data_format)
    dx = np.zeros(dy.shape)
    for n, m in enumerate(np.broadcast_to(matrix, (len(dy), 2, 3))):
        for i, j, corners in _sources(m, dy.shape[1:3], mode, interpolation):
            for a, b, weight in corners:
                if None not in (a, b):
                    dx[n, a, b] += weight * dy[n, i, j]
    return _like(dx, data_format)


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


def penalty(x, l1=0.0, l2=0.0):
    x = _array(x)
    return l1 * np.sqrt(x**2).sum() + l2 * (x**2).sum()  # the complex step goes through this |x|


def penalty_backward(dy, x, l1=0.0, l2=0.0):
    return dy + l1 * np.sign(x) + 2 * l2 * _array(x)


# --- optimiser steps: in place, Keras 3's formulas; weight decay is decoupled and goes first ------------------------------


def sgd_step(param, grad, velocity=None, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    param -= param * (weight_decay * lr)
    if velocity is None:
        param -= lr * grad
        return
    velocity *= momentum
    velocity -= lr * grad
    param += momentum * velocity - lr * grad if nesterov else velocity


def adam_step(param, grad, m, v, *, lr, beta_1, beta_2, eps, step, weight_decay=0.0, largest=None):
    """`step` counts from 1."""
    param -= param * (weight_decay * lr)
    m += (grad - m) * (1 - beta_1)
    v += (grad * grad - v) * (1 - beta_2)
    if largest is not None:
        v = np.maximum(largest, v, out=largest)
    param -= lr * math.sqrt(1 - beta_2**step) / (1 - beta_1**step) * m / (np.sqrt(v) + eps)


def rmsprop_step(param, grad, v, velocity=None, *, lr, rho, eps, momentum=0.0, weight_decay=0.0, mean=None):
    param -= param * (weight_decay * lr)
    v *= rho
    v += (1 - rho) * grad * grad
    if mean is not None:
        mean *= rho
        mean += (1 - rho) * grad
    increment = lr * grad / np.sqrt((v if mean is None else np.maximum(v - mean * mean, 0)) + eps)
    if velocity is None:
        param -= increment
        return
    velocity *= momentum
    velocity += increment
    param -= velocity
