"""The reference is proven here: forward against loops and known values, every backward against a numerical derivative."""

import itertools
import math
import pathlib

import numpy as np
import pytest

from cnnfast import reference as ref

LAYOUTS = ["channels_last", "channels_first"]


def vjp(f, x, dy, step=1e-30j):
    """Gradient of ``sum(dy * f(x))`` by complex step, or by central differences if `step` is real."""
    x = np.asarray(x, float)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        h = np.zeros(x.shape, complex if step.imag else float)
        h[index] = step
        change = f(x + h).imag / step.imag if step.imag else (f(x + h) - f(x - h)) / (2 * step)
        gradient[index] = np.sum(dy * change)
    return gradient


def check(gradient, f, x, dy, step=1e-30j):
    tolerance = 1e-12 if step.imag else 1e-8
    expected = vjp(f, x, dy, step)
    np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


def layout(shape, data_format):
    n, h, w, c = shape
    return shape if data_format == "channels_last" else (n, c, h, w)


# --- convolution ---------------------------------------------------------------------------------------------------------

CONVS = [  # (h, w, cin), (kh, kw, cout), stride, padding, dilation, groups
    ((5, 6, 3), (3, 2, 4), 1, 0, 1, 1),
    ((5, 6, 2), (3, 3, 2), 2, 1, 1, 1),
    ((7, 5, 4), (2, 3, 6), (2, 1), ((1, 0), (2, 1)), 1, 2),
    ((6, 7, 3), (3, 3, 6), 1, "same", 1, 3),
    ((6, 7, 2), (3, 2, 2), (3, 2), "same", (1, 2), 1),
    ((6, 7, 2), (2, 4, 2), 2, "same_lower", 1, 1),
    ((7, 8, 2), (2, 3, 2), 1, "valid", (3, 2), 2),
    ((3, 3, 1), (5, 5, 1), 1, (2, 3), 1, 1),
    ((4, 1, 1), (1, 1, 3), 3, 0, 1, 1),
]


def pads_by_hand(padding, n, k, stride, dilation, axis):
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        total = next(
            t for t in itertools.count() if (n + t - (k - 1) * dilation - 1) // stride + 1 >= math.ceil(n / stride)
        )
        return (total - total // 2, total // 2) if padding == "same_lower" else (total // 2, total - total // 2)
    padding = padding[axis] if isinstance(padding, tuple) else padding
    return padding if isinstance(padding, tuple) else (padding, padding)


def conv_by_loops(x, weight, stride, padding, dilation, groups):
    stride, dilation = (v if isinstance(v, tuple) else (v, v) for v in (stride, dilation))
    pads = [pads_by_hand(padding, x.shape[1 + a], weight.shape[a], stride[a], dilation[a], a) for a in (0, 1)]
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    kh, kw, cin, cout = weight.shape
    oh, ow = ((x.shape[1 + a] - dilation[a] * (weight.shape[a] - 1) - 1) // stride[a] + 1 for a in (0, 1))
    y = np.zeros((len(x), oh, ow, cout))
    for n, r, c, o, i, j, ci in np.ndindex(*y.shape, kh, kw, cin):
        channel = o // (cout // groups) * cin + ci
        y[n, r, c, o] += (
            x[n, r * stride[0] + i * dilation[0], c * stride[1] + j * dilation[1], channel] * weight[i, j, ci, o]
        )
    return y


def conv_case(case, rng):
    (h, w, cin), (kh, kw, cout), *rest, groups = case
    x, weight = rng.normal(size=(2, h, w, cin)), rng.normal(size=(kh, kw, cin // groups, cout))
    return x, weight, rng.normal(size=cout), (*rest, groups)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_is_the_loops(case):
    x, weight, bias, geometry = conv_case(case, np.random.default_rng(0))
    y = ref.conv2d(x, weight, bias, *geometry)
    np.testing.assert_allclose(y, conv_by_loops(x, weight, *geometry) + bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_layouts_agree(case):
    x, weight, bias, geometry = conv_case(case, np.random.default_rng(1))
    first = dict(data_format="channels_first")
    y = ref.conv2d(x, weight, bias, *geometry, activation="relu")
    xf, wf, yf = x.transpose(0, 3, 1, 2), weight.transpose(3, 2, 0, 1), y.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(ref.conv2d(xf, wf, bias, *geometry, activation="relu", **first), yf)
    dx = ref.conv2d_backward_input(y, weight, x.shape, *geometry)
    np.testing.assert_array_equal(
        ref.conv2d_backward_input(yf, wf, xf.shape, *geometry, **first), dx.transpose(0, 3, 1, 2)
    )
    dw = ref.conv2d_backward_weight(x, y, weight.shape, *geometry)
    np.testing.assert_array_equal(
        ref.conv2d_backward_weight(xf, yf, wf.shape, *geometry, **first), dw.transpose(3, 2, 0, 1)
    )
    np.testing.assert_allclose(ref.conv2d_backward_bias(yf, **first), ref.conv2d_backward_bias(y), rtol=1e-14)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d_backward(case):
    rng = np.random.default_rng(2)
    x, weight, bias, geometry = conv_case(case, rng)
    dy = rng.normal(size=ref.conv2d(x, weight, bias, *geometry).shape)
    dx = ref.conv2d_backward_input(dy, weight, x.shape, *geometry)
    check(dx, lambda v: ref.conv2d(v, weight, bias, *geometry), x, dy)
    dweight = ref.conv2d_backward_weight(x, dy, weight.shape, *geometry)
    check(dweight, lambda v: ref.conv2d(x, v, bias, *geometry), weight, dy)
    check(ref.conv2d_backward_bias(dy), lambda v: ref.conv2d(x, weight, v, *geometry), bias, dy)


def test_conv2d_skips_padding():
    weight = np.full((3, 3, 1, 1), np.inf)
    weight[1, 1] = 1
    assert ref.conv2d(np.full((1, 1, 1, 1), 5.0), weight, padding=1) == 5
    dx = ref.conv2d_backward_input(np.ones((1, 1, 1, 1)), weight, (1, 1, 1, 1), padding=1)
    assert dx == 1


# --- matmul, dense -------------------------------------------------------------------------------------------------------


def test_matmul():
    rng = np.random.default_rng(3)
    for a, b in [((3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 2)), ((3, 0), (0, 2)), ((0, 3), (3, 2))]:
        a, b = rng.integers(-5, 6, a), rng.integers(-5, 6, b)
        np.testing.assert_array_equal(ref.matmul(a, b), a @ b)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3)])
def test_dense(shape):
    rng = np.random.default_rng(4)
    x, weight, bias = rng.normal(size=shape), rng.normal(size=(3, 5)), rng.normal(size=5)
    dy = rng.normal(size=(*shape[:-1], 5))
    np.testing.assert_allclose(ref.dense(x, weight, bias), x @ weight + bias, rtol=1e-13)
    np.testing.assert_array_equal(ref.dense(x, weight, activation="relu"), np.maximum(ref.dense(x, weight), 0))
    check(ref.dense_backward_input(dy, weight), lambda v: ref.dense(v, weight, bias), x, dy)
    check(ref.dense_backward_weight(x, dy), lambda v: ref.dense(x, v, bias), weight, dy)
    check(ref.dense_backward_bias(dy), lambda v: ref.dense(x, weight, v), bias, dy)


# --- pooling, padding ----------------------------------------------------------------------------------------------------

POOLS = [  # (h, w), kernel, stride, padding, dilation, ceil_mode
    ((6, 6), 2, None, 0, 1, False),
    ((7, 5), 3, 2, 1, 1, False),
    ((7, 5), (3, 2), (2, 1), ((0, 1), (1, 0)), 1, True),
    ((7, 7), 2, 2, 0, 1, True),
    ((5, 8), (2, 3), 1, "same", 1, False),
    ((9, 8), 3, 2, "same_lower", 1, False),
    ((4, 4), 2, 3, 1, 1, True),  # the last window would start in the padding: dropped
    ((7, 8), 2, 1, 1, 3, False),
]


def pool_by_loops(x, kernel, stride, padding, dilation, ceil_mode, reduce):
    """`reduce` gets the window's values, which of them lie in the image, and how many in the padded image."""
    stride = kernel if stride is None else stride
    kernel, stride, dilation = (v if isinstance(v, tuple) else (v, v) for v in (kernel, stride, dilation))
    sizes = x.shape[1:3]
    pads = [pads_by_hand(padding, sizes[a], kernel[a], stride[a], dilation[a], a) for a in (0, 1)]
    starts = []
    for n, k, s, d, (before, after) in zip(sizes, kernel, stride, dilation, pads):
        reach = (k - 1) * d
        row = list(range(-before, n + after - reach, s))
        if ceil_mode and row[-1] + reach < n + after - 1 and row[-1] + s < n:
            row.append(row[-1] + s)
        starts.append(row)
    y = np.empty((len(x), len(starts[0]), len(starts[1]), x.shape[-1]), object)
    for n, r, q, c in np.ndindex(y.shape):
        taps = [(starts[0][r] + i * dilation[0], starts[1][q] + j * dilation[1]) for i, j in np.ndindex(kernel)]
        in_image = [0 <= i < sizes[0] and 0 <= j < sizes[1] for i, j in taps]
        padded = sum(i < sizes[0] + pads[0][1] and j < sizes[1] + pads[1][1] for i, j in taps)
        y[n, r, q, c] = reduce([x[n, i, j, c] if ok else None for (i, j), ok in zip(taps, in_image)], padded)
    return y


def first_maximum(values, _):
    real = [(v, -k) for k, v in enumerate(values) if v is not None]
    value, k = max(real, key=lambda p: (math.isnan(p[0]), p[0] if not math.isnan(p[0]) else 0, p[1]))
    return value, -k


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool2d(case, data_format):
    rng = np.random.default_rng(5)
    (h, w), *geometry = case
    x = rng.integers(-4, 5, (2, h, w, 2)).astype(float)  # full of ties
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.1] = -np.inf
    expected = pool_by_loops(x, *geometry, first_maximum)
    to = (lambda a: a) if data_format == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    y, indices = ref.max_pool2d(to(x), *geometry, return_indices=True, data_format=data_format)
    np.testing.assert_array_equal(y, to(np.vectorize(lambda p: p[0], otypes=[float])(expected)))
    np.testing.assert_array_equal(indices, to(np.vectorize(lambda p: p[1])(expected)))
    assert indices.dtype == np.uint8
    x, step = to(rng.permutation(x.size).reshape(x.shape)) / 8.0, 1 / 64
    y, indices = ref.max_pool2d(x, *geometry, return_indices=True, data_format=data_format)
    dy = rng.normal(size=y.shape)
    dx = ref.max_pool2d_backward(dy, indices, x.shape, *geometry, data_format=data_format)
    check(dx, lambda v: ref.max_pool2d(v, *geometry, data_format=data_format), x, dy, step)


def test_max_pool2d_large_window_indices():
    x = np.zeros((1, 17, 17, 1))
    x[0, 16, 16] = 1
    _, indices = ref.max_pool2d(x, 17, return_indices=True)
    assert indices == 288 and indices.dtype == np.int32


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("case", [c for c in POOLS if c[4] == 1], ids=str)
def test_avg_pool2d(case, include, data_format):
    rng = np.random.default_rng(6)
    (h, w), kernel, stride, padding, _, ceil_mode = case

    def mean(values, padded):
        real = [v for v in values if v is not None]
        return sum(real) / (padded if include else len(real))

    x = rng.normal(size=(2, h, w, 2))
    expected = pool_by_loops(x, kernel, stride, padding, 1, ceil_mode, mean).astype(float)
    to = (lambda a: a) if data_format == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    arguments = (kernel, stride, padding, ceil_mode, include)
    y = ref.avg_pool2d(to(x), *arguments, data_format=data_format)
    np.testing.assert_allclose(y, to(expected), rtol=1e-13, atol=1e-13)
    dy = rng.normal(size=y.shape)
    dx = ref.avg_pool2d_backward(dy, to(x).shape, *arguments, data_format=data_format)
    check(dx, lambda v: ref.avg_pool2d(v, *arguments, data_format=data_format), to(x), dy)


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pools(keepdims, data_format):
    rng = np.random.default_rng(7)
    x = rng.permutation(2 * 3 * 4 * 5).reshape(layout((2, 3, 4, 5), data_format)) / 8.0
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    options = dict(keepdims=keepdims, data_format=data_format)
    mean, (top, indices) = ref.global_avg_pool2d(x, **options), ref.global_max_pool2d(x, return_indices=True, **options)
    np.testing.assert_allclose(mean, x.mean(axes, keepdims=keepdims), rtol=1e-14)
    np.testing.assert_array_equal(top, x.max(axes, keepdims=keepdims))
    dy = rng.normal(size=mean.shape)
    dx = ref.global_avg_pool2d_backward(dy, x.shape, data_format=data_format)
    check(dx, lambda v: ref.global_avg_pool2d(v, **options), x, dy)
    dx = ref.global_max_pool2d_backward(dy, indices, x.shape, data_format=data_format)
    check(dx, lambda v: ref.global_max_pool2d(v, **options), x, dy, 1 / 64)


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("padding", [1, (0, 2), ((1, 0), (2, 3))])
def test_pad2d(padding, data_format):
    rng = np.random.default_rng(8)
    x = rng.normal(size=layout((2, 3, 4, 2), data_format))
    y = ref.pad2d(x, padding, 7.0, data_format=data_format)
    assert (y == 7).sum() == y.size - x.size and y.sum() == pytest.approx(x.sum() + 7 * (y.size - x.size))
    dy = rng.normal(size=y.shape)
    check(
        ref.pad2d_backward(dy, padding, data_format=data_format),
        lambda v: ref.pad2d(v, padding, data_format=data_format),
        x,
        dy,
    )


# --- activations ---------------------------------------------------------------------------------------------------------

X = np.array([[-30.0, -4.2, -1.1, -0.3], [0.2, 0.9, 3.7, 30.0]])
ACTIVATIONS = {  # op, backward given (dy, x, y), value at one point, can it be stepped into the complex plane
    "relu": (ref.relu, lambda dy, x, y: ref.relu_backward(dy, x), lambda v: max(v, 0.0), True),
    "relu by output": (ref.relu, lambda dy, x, y: ref.relu_backward(dy, y), lambda v: max(v, 0.0), True),
    "leaky_relu": (
        ref.leaky_relu,
        lambda dy, x, y: ref.leaky_relu_backward(dy, x),
        lambda v: v if v > 0 else v / 100,
        True,
    ),
    "clipped_relu": (
        lambda v: ref.clipped_relu(v, 3.0, 0.25, 0.5),
        lambda dy, x, y: ref.clipped_relu_backward(dy, x, 3.0, 0.25, 0.5),
        lambda v: min(v, 3.0) if v > 0.5 else 0.25 * (v - 0.5),
        True,
    ),
    "elu": (
        lambda v: ref.elu(v, 1.5),
        lambda dy, x, y: ref.elu_backward(dy, x, 1.5),
        lambda v: v if v > 0 else 1.5 * math.expm1(v),
        True,
    ),
    "sigmoid": (ref.sigmoid, lambda dy, x, y: ref.sigmoid_backward(dy, y), lambda v: 1 / (1 + math.exp(-v)), True),
    "tanh": (ref.tanh, lambda dy, x, y: ref.tanh_backward(dy, y), math.tanh, True),
    "silu": (ref.silu, lambda dy, x, y: ref.silu_backward(dy, x), lambda v: v / (1 + math.exp(-v)), True),
    "gelu": (
        ref.gelu,
        lambda dy, x, y: ref.gelu_backward(dy, x),
        lambda v: v * 0.5 * math.erfc(-v / math.sqrt(2)),
        False,
    ),
    "gelu tanh": (
        lambda v: ref.gelu(v, "tanh"),
        lambda dy, x, y: ref.gelu_backward(dy, x, "tanh"),
        lambda v: v / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) if v > -9 else 0.0,
        True,
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    op, backward, value, complex_step = ACTIVATIONS[name]
    y, dy = op(X), np.random.default_rng(9).normal(size=X.shape)
    np.testing.assert_allclose(y, np.vectorize(value)(X), rtol=1e-13, atol=1e-100)
    check(backward(dy, X, y), op, X, dy, 1e-30j if complex_step else 1e-5)


def test_activations_at_the_edges():
    edges = np.array([np.nan, np.inf, -np.inf, -0.0, 1e300, -1e300])
    for op in (ref.relu, ref.leaky_relu, ref.clipped_relu, ref.elu, ref.sigmoid, ref.tanh):
        y = op(edges)
        assert np.isnan(y[0]) and not np.isnan(y[1:]).any()
    assert np.signbit(ref.relu(-0.0))
    np.testing.assert_array_equal(ref.exp(edges), [np.nan, np.inf, 0, 1, np.inf, 0])
    np.testing.assert_array_equal(ref.log([-1.0, 0.0, np.e]), [np.nan, -np.inf, 1])
    np.testing.assert_array_equal(ref.relu_backward(np.ones(3), [np.nan, 0.0, 1.0]), [0, 0, 1])


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax(axis):
    rng = np.random.default_rng(10)
    x = rng.normal(size=(2, 3, 4)) * 5
    y, dy = ref.softmax(x, axis), rng.normal(size=x.shape)
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(axis, keepdims=True), rtol=1e-13)
    check(ref.softmax_backward(dy, y, axis), lambda v: ref.softmax(v, axis), x, dy)


def test_softmax_at_the_edges():
    huge = np.array([[1e308, -1e308, 0.0], [-np.inf, 0.0, 0.0]])
    np.testing.assert_array_equal(ref.softmax(huge), [[1, 0, 0], [0, 0.5, 0.5]])
    for row in ([np.inf, 0, 0], [-np.inf] * 3, [np.nan, 0, 0]):
        assert np.isnan(ref.softmax(row)).all()


def test_concatenate(rng):
    a, b, dy = rng.standard_normal((2, 3, 1)), rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 5))
    np.testing.assert_array_equal(ref.concatenate([a, b])[..., 1:], b)
    da, db = ref.concatenate_backward(dy, [1, 4])
    check(da, lambda v: ref.concatenate([v, b]), a, dy)
    check(db, lambda v: ref.concatenate([a, v]), b, dy)


def test_add():
    np.testing.assert_array_equal(ref.add([1, -3], [1, 1]), [2, -2])
    np.testing.assert_array_equal(ref.add([1, -3], [1, 1], activation="relu"), [2, 0])


# --- batch norm, dropout -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, data_format", [((4, 3), "channels_last"), ((2, 3, 4, 3), "channels_last"), ((2, 3, 2, 4), "channels_first")]
)
def test_batch_norm(shape, data_format):
    rng = np.random.default_rng(11)
    x, weight, bias, dy = rng.normal(3, 2, shape), rng.normal(size=3), rng.normal(size=3), rng.normal(size=shape)
    channels = dict(data_format=data_format)
    mean, var = ref.batch_norm_stats(x, **channels)
    axes = tuple(a for a in range(x.ndim) if a != (x.ndim - 1 if data_format == "channels_last" else 1))
    np.testing.assert_allclose(mean, x.mean(axes), rtol=1e-13)
    np.testing.assert_allclose(var, x.var(axes), rtol=1e-13)
    normal = ref.batch_norm(x, mean, var, eps=1e-12, **channels)
    np.testing.assert_allclose(normal.std(axes), 1, rtol=1e-9)

    def train(x, weight, bias):
        return ref.batch_norm(x, *ref.batch_norm_stats(x, **channels), weight, bias, **channels)

    dx, dweight, dbias = ref.batch_norm_backward(dy, x, mean, var, weight, **channels)
    check(dx, lambda v: train(v, weight, bias), x, dy)
    check(dweight, lambda v: train(x, v, bias), weight, dy)
    check(dbias, lambda v: train(x, weight, v), bias, dy)
    dx, dweight, _ = ref.batch_norm_backward(dy, x, mean, var, weight, training=False, **channels)
    check(dx, lambda v: ref.batch_norm(v, mean, var, weight, bias, **channels), x, dy)
    check(dweight, lambda v: ref.batch_norm(x, mean, var, v, bias, **channels), weight, dy)
    dx, _, _ = ref.batch_norm_backward(dy, x, mean, var, **channels)
    check(dx, lambda v: train(v, None, None), x, dy)


def test_moving_average():
    np.testing.assert_allclose(ref.moving_average([1.0, 2.0], [3.0, 4.0], 0.75), [1.5, 2.5], rtol=1e-15)


@pytest.mark.parametrize(
    "counter, key, words",
    [  # the known answers published with Random123 (kat_vectors)
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox(counter, key, words):
    np.testing.assert_array_equal(ref.philox(counter, key), words)


def test_dropout():
    x = np.full((250, 400), 2.0)
    y = ref.dropout(x, 0.25, seed=2**63 + 5, step=7)
    assert set(np.unique(y)) == {0.0, 2 / 0.75}
    assert abs((y == 0).mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / x.size)
    np.testing.assert_array_equal(ref.dropout(x.ravel()[:-3], 0.25, seed=2**63 + 5, step=7), y.ravel()[:-3])
    for seed, step in [(5, 7), (2**63 + 5, 8), (2**63 + 5, 7 + 2**32)]:
        assert (ref.dropout(x, 0.25, seed=seed, step=step) != y).any()
    np.testing.assert_array_equal(ref.dropout(x, 0.0, seed=1, step=1), x)
    first = ref.philox([0, 0, 7, 0], [5, 1 << 31])
    np.testing.assert_array_equal(y.ravel()[:4] != 0, first >= 2**30)
    shared = ref.dropout(x, 0.25, seed=3, step=4, noise_shape=(None, 1))
    np.testing.assert_array_equal(shared, ref.dropout(x[:, :1], 0.25, seed=3, step=4) * np.ones(400))
    dy = np.random.default_rng(12).normal(size=(3, 5))
    check(
        ref.dropout_backward(dy, 0.4, seed=1, step=2),
        lambda v: ref.dropout(v, 0.4, seed=1, step=2),
        np.ones((3, 5)),
        dy,
    )


# --- losses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("labels", ["integers", "probabilities"])
def test_softmax_cross_entropy(labels, smoothing):
    rng = np.random.default_rng(13)
    x, dloss = rng.normal(size=(2, 3, 5)) * 4, rng.normal(size=(2, 3))
    target = rng.integers(0, 5, (2, 3)) if labels == "integers" else rng.random((2, 3, 5))
    losses, p = ref.softmax_cross_entropy(x, target, label_smoothing=smoothing)
    t = np.eye(5)[target] if labels == "integers" else target
    np.testing.assert_allclose(
        losses, -((t * (1 - smoothing) + smoothing / 5) * np.log(ref.softmax(x))).sum(-1), rtol=1e-12
    )
    dx = ref.softmax_cross_entropy_backward(dloss, p, target, label_smoothing=smoothing)
    check(dx, lambda v: ref.softmax_cross_entropy(v, target, label_smoothing=smoothing)[0], x, dloss)
    if smoothing == 0:
        np.testing.assert_allclose(ref.cross_entropy(p, target), losses, rtol=1e-12)
        check(ref.cross_entropy_backward(dloss, p, target), lambda v: ref.cross_entropy(v, target), p, dloss)


def test_softmax_cross_entropy_at_the_edges():
    losses, _ = ref.softmax_cross_entropy([[1e308, -1e308], [-np.inf, 0.0]], [0, 1])
    np.testing.assert_array_equal(losses, [0, 0])
    np.testing.assert_array_equal(ref.cross_entropy([[1.0, 0.0], [1.0, 0.0]], [0, 1]), [0, np.inf])


def test_binary_losses():
    rng = np.random.default_rng(14)
    x, t, dloss = X, rng.random(X.shape), rng.normal(size=X.shape)
    p = ref.sigmoid(x)
    inner = np.abs(x) < 20
    losses = ref.sigmoid_cross_entropy(x, t)
    np.testing.assert_allclose(losses[inner], (-t * np.log(p) - (1 - t) * np.log1p(-p))[inner], rtol=1e-10)
    np.testing.assert_allclose(ref.binary_cross_entropy(p, t)[inner], losses[inner], rtol=1e-10)
    check(ref.sigmoid_cross_entropy_backward(dloss, x, t), lambda v: ref.sigmoid_cross_entropy(v, t), x, dloss)
    p = rng.uniform(0.1, 0.9, p.shape)
    check(ref.binary_cross_entropy_backward(dloss, p, t), lambda v: ref.binary_cross_entropy(v, t), p, dloss)
    np.testing.assert_array_equal(ref.binary_cross_entropy([0.0, 1.0, 0.0], [0.0, 1.0, 1.0]), [0, 0, np.inf])


def test_penalty(rng):
    x, dy = rng.standard_normal((2, 3, 4))
    np.testing.assert_allclose(ref.penalty([3, -4], 0.5, 2), 0.5 * 7 + 2 * 25)
    check(ref.penalty_backward(0, x, 0.3, 0.2), lambda v: ref.penalty(v, 0.3, 0.2), x, 1)
    np.testing.assert_allclose(ref.penalty_backward(dy, x, 0.3, 0.2), dy + ref.penalty_backward(0, x, 0.3, 0.2))


def test_mse_loss():
    rng = np.random.default_rng(15)
    x, t, dloss = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(ref.mse_loss([[1.0, 4.0]], [[3.0, 3.0]]), [2.5])
    check(ref.mse_loss_backward(dloss, x, t), lambda v: ref.mse_loss(v, t), x, dloss)


# --- optimiser steps, worked by hand -------------------------------------------------------------------------------------


def test_sgd_step():
    p, g, v = np.array([1.0]), np.array([2.0]), np.array([0.5])
    ref.sgd_step(p, g, lr=0.1)
    np.testing.assert_allclose(p, 0.8)
    ref.sgd_step(p, g, v, lr=0.1, momentum=0.5)  # v = 0.25 - 0.2
    np.testing.assert_allclose([p[0], v[0]], [0.85, 0.05])
    ref.sgd_step(p, g, v, lr=0.1, momentum=0.5, nesterov=True)  # v = 0.025 - 0.2, p += v / 2 - 0.2
    np.testing.assert_allclose([p[0], v[0]], [0.5625, -0.175])
    ref.sgd_step(p, 0 * g, lr=0.1, weight_decay=0.5)
    np.testing.assert_allclose(p, 0.5625 * 0.95)


def test_adam_step():
    p, g, m, v = np.array([1.0, 1.0]), np.array([4.0, -0.5]), np.zeros(2), np.zeros(2)
    options = dict(lr=0.1, beta_1=0.9, beta_2=0.99, eps=0.0)
    ref.adam_step(p, g, m, v, step=1, **options)  # bias correction makes the first step lr * sign(g)
    np.testing.assert_allclose(p, [0.9, 1.1])
    np.testing.assert_allclose(m, 0.1 * g)
    np.testing.assert_allclose(v, 0.01 * g * g)
    ref.adam_step(p, g, m, v, step=2, **options)  # so does the second, with the same gradient
    np.testing.assert_allclose(p, [0.8, 1.2])
    ref.adam_step(p, g, m, v, step=3, weight_decay=0.5, **options)
    np.testing.assert_allclose(p, [0.8 * 0.95 - 0.1, 1.2 * 0.95 + 0.1])


def test_rmsprop_step():
    p, g, v, velocity = np.array([1.0]), np.array([3.0]), np.array([1.0]), np.array([0.25])
    ref.rmsprop_step(p, g, v, lr=0.1, rho=0.5, eps=4.0)  # v = 0.5 + 4.5; 0.3 / sqrt(9)
    np.testing.assert_allclose([p[0], v[0]], [0.9, 5.0])
    ref.rmsprop_step(p, 0 * g, v, velocity, lr=0.1, rho=0.5, eps=0.0, momentum=0.5, weight_decay=1.0)
    np.testing.assert_allclose([p[0], v[0], velocity[0]], [0.9 * 0.9 - 0.125, 2.5, 0.125])


# --- normalization of each sample, prelu, images ---------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(6,), (4, 6)])
def test_layer_norm(axes, rng):
    x, dy = rng.standard_normal((2, 3, 4, 6)), rng.standard_normal((2, 3, 4, 6))
    weight, bias = rng.standard_normal(axes), rng.standard_normal(axes)
    y = ref.layer_norm(x, axes, eps=1e-12)
    over = tuple(range(-len(axes), 0))
    np.testing.assert_allclose(y.mean(over), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(over), 1)
    dx, dweight, dbias = ref.layer_norm_backward(dy, x, axes, weight)
    check(dx, lambda x: ref.layer_norm(x, axes, weight, bias), x, dy)
    check(dweight, lambda weight: ref.layer_norm(x, axes, weight, bias), weight, dy)
    check(dbias, lambda bias: ref.layer_norm(x, axes, weight, bias), bias, dy)


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_group_norm(data_format, rng):
    shape = layout((2, 3, 4, 6), data_format)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    weight, bias = rng.standard_normal(6), rng.standard_normal(6)
    y = ref.group_norm(x, 2, eps=1e-12, data_format=data_format)
    group = y[..., 3:] if data_format == "channels_last" else y[:, 3:]
    np.testing.assert_allclose(group.mean((1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(group.var((1, 2, 3)), 1)
    f = lambda x, weight, bias: ref.group_norm(x, 2, weight, bias, 0.1, data_format=data_format)  # noqa: E731
    dx, dweight, dbias = ref.group_norm_backward(dy, x, 2, weight, 0.1, data_format=data_format)
    check(dx, lambda x: f(x, weight, bias), x, dy)
    check(dweight, lambda weight: f(x, weight, bias), weight, dy)
    check(dbias, lambda bias: f(x, weight, bias), bias, dy)


@pytest.mark.parametrize("slopes", [(3, 4), (1, 4), (1, 1)])
def test_prelu(slopes, rng):
    x, dy, weight = rng.standard_normal((5, 3, 4)), rng.standard_normal((5, 3, 4)), rng.standard_normal(slopes)
    np.testing.assert_array_equal(ref.prelu([[-2.0, 3.0]], [0.5, 0.5]), [[-1, 3]])
    dx, dweight = ref.prelu_backward(dy, x, weight)
    check(dx, lambda x: ref.prelu(x, weight), x, dy)
    check(dweight, lambda weight: ref.prelu(x, weight), weight, dy)


def test_upsample2d(rng):
    np.testing.assert_array_equal(ref.upsample2d([[[[1], [2]]]], (2, 1))[0, ..., 0], [[1, 2], [1, 2]])
    bilinear = ref.upsample2d([[[[0], [4]]]], (1, 2), "bilinear")
    np.testing.assert_array_equal(bilinear[0, ..., 0], [[0, 1, 3, 4]])
    for mode, data_format in itertools.product(("nearest", "bilinear"), LAYOUTS):
        x = rng.standard_normal(layout((2, 3, 2, 2), data_format))
        f = lambda x: ref.upsample2d(x, (2, 3), mode, data_format=data_format)  # noqa: E731, B023
        dy = rng.standard_normal(f(x).shape)
        check(ref.upsample2d_backward(dy, (2, 3), mode, data_format=data_format), f, x, dy)


def test_brightness_contrast_rescale(rng):
    np.testing.assert_array_equal(ref.rescale([1, 2], [2, 3], 1), [3, 7])
    x, dy = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 3, 4, 2))
    args = [0.5, -0.3], (-1, 1)
    np.testing.assert_array_equal(ref.adjust_brightness([[[[0.9]]]], 0.2, (0, 1)), [[[[1]]]])
    check(ref.adjust_brightness_backward(dy, x, *args), lambda x: ref.adjust_brightness(x, *args), x, dy, 1e-6)
    np.testing.assert_array_equal(ref.adjust_contrast([[[[1], [3]]]], 2, (0, 3.5)), [[[[0], [3.5]]]])
    for data_format in LAYOUTS:
        f = lambda x: ref.adjust_contrast(x, *args, data_format=data_format)  # noqa: E731, B023
        check(ref.adjust_contrast_backward(dy, x, *args, data_format=data_format), f, x, dy, 1e-6)


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_flip_crop(data_format, rng):
    x = rng.standard_normal(layout((2, 4, 5, 3), data_format))
    turned = ref.flip2d(x, [True, False], [False, True], data_format=data_format)
    rows, columns = (1, 2) if data_format == "channels_last" else (2, 3)
    np.testing.assert_array_equal(turned[:1], np.flip(x, rows)[:1])
    np.testing.assert_array_equal(turned[1:], np.flip(x, columns)[1:])
    f = lambda x: ref.crop2d(x, [0, 2], 1, 2, 3, data_format=data_format)  # noqa: E731
    y = f(x)
    np.testing.assert_array_equal(y[1].take(0, rows - 1).take(0, columns - 2), x[1].take(2, rows - 1).take(1, columns - 2))
    dy = rng.standard_normal(y.shape)
    check(ref.crop2d_backward(dy, [0, 2], 1, x.shape, data_format=data_format), f, x, dy, 1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "wrap"])
def test_affine2d(mode, interpolation, rng):
    x, dy = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 3, 4, 2))
    args = np.array([[[1, 0, 0.3], [0, 1, -1.6]], [[0.6, 0.8, -1], [-0.8, 0.6, 2.5]]]), mode, interpolation
    check(ref.affine2d_backward(dy, *args), lambda x: ref.affine2d(x, *args), x, dy, 1e-6)
    shift = np.array([[1, 0, 0], [0, 1, -2]])  # two columns to the right
    row = ref.affine2d(np.reshape([1, 2, 3, 4], (1, 1, 4, 1)), shift, mode, interpolation, 9)[0, 0, :, 0]
    expected = {"reflect": [2, 1, 1, 2], "constant": [9, 9, 1, 2], "nearest": [1, 1, 1, 2], "wrap": [3, 4, 1, 2]}
    np.testing.assert_array_equal(row, expected[mode])


def test_matrices():
    np.testing.assert_array_equal(ref.translation2d(0.5, [-0.25], (4, 8)), [[[1, 0, -2], [0, 1, 2]]])
    turned = ref.affine2d(np.reshape([[1, 2], [3, 4]], (1, 2, 2, 1)), ref.rotation2d(0.25, (2, 2)), "constant", "nearest")
    np.testing.assert_array_equal(turned[0, :, :, 0], [[2, 4], [1, 3]])  # counter-clockwise


def test_random_numbers_and_dropout2d(rng):
    generator = np.random.Philox(key=np.array([5, 2**64 - 3], np.uint64))
    words = generator.random_raw(7).astype(object)
    expected = [int(word) // 2**11 / 2**53 for word in words]
    key = dict(seed=5, step=2**64 - 3)
    np.testing.assert_array_equal(ref.random_uniform((7,), **key), expected)
    single = [int(word) // 2**40 / 2**24 for word in words]
    np.testing.assert_array_equal(ref.random_uniform((7,), dtype="float32", **key), np.array(single, np.float32))
    np.testing.assert_array_equal(ref.random_integers((7,), -1, 5, **key), [math.floor(6 * part) - 1 for part in expected])
    np.testing.assert_array_equal(ref.random_bernoulli((7,), 0.3, **key), [part < 0.3 for part in expected])
    x, dy = rng.random((6, 2, 3, 4)) + 1, rng.standard_normal((6, 2, 3, 4))
    key = dict(seed=1, step=2)
    y = ref.dropout2d(x, 0.5, **key)
    kept = ref.dropout(np.ones((6, 4)), 0.5, **key) > 0
    assert 0 < kept.sum() < 24
    np.testing.assert_array_equal(y, np.where(kept[:, None, None], 2 * x, 0))
    check(ref.dropout2d_backward(dy, 0.5, **key), lambda x: ref.dropout2d(x.real, 0.5, **key), x, dy, 1e-6)



# --- completeness --------------------------------------------------------------------------------------------------------


def test_every_reference_function_is_tested_here():
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    public = [
        name
        for name, f in vars(ref).items()
        if callable(f) and not name.startswith("_") and f.__module__ == ref.__name__
    ]
    assert len(public) > 50
    missing = [
        name
        for name in public
        if f"ref.{name}(" not in text and f"(ref.{name}," not in text and f" ref.{name}," not in text
    ]
    assert not missing
