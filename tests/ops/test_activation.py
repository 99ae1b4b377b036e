"""Activations and their gradients: accurate in units of the last place, whole at special values, same bits on any path."""

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
    guarded,
    guarded_empty,
    specials,
    strange_views,
    sum_bound,
    ulps,
    wide,
)

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]

# ULP allowed to each forward op. One correctly rounded operation costs 1/2; exp, log, sigmoid and tanh carry the contract's
# promise; gelu multiplies two such functions, and its tanh form takes exp of a rounded argument, hence twice that argument.
FORWARD = {
    "relu": ((), 0),
    "leaky_relu": ((0.3,), 0.5),
    "elu": ((1.0,), 1.5),
    "sigmoid": ((), 2),
    "tanh": ((), 2),
    "exp": ((), 1),
    "log": ((), 1),
    "silu": ((), 2),
    "gelu": (("none",), 8),
    "gelu_tanh": (("tanh",), lambda x: 4 + 2 * np.abs(1.6 * x + 0.0714 * x**3)),
}
# The gradients subtract, so their error is measured against dy times this (the largest slope, about): in roundings.
BACKWARD = {
    "relu": ((), "x", 0),
    "leaky_relu": ((0.3,), "x", 1),
    "elu": ((1.0,), "x", 4),
    "sigmoid": ((), "y", 2),
    "tanh": ((), "y", 4),
    "silu": ((), "x", 8),
    "gelu": (("none",), "x", 12),
    "gelu_tanh": (("tanh",), "x", 24),
}


def call(module, name, *arrays, suffix="", **options):
    arguments = {**FORWARD}[name][0]
    return getattr(module, name.removesuffix("_tanh") + suffix)(*arrays, *arguments, **options)


def rounded(value, dtype):
    """Options as the kernels see them: a slope of 0.3 is that of the dtype."""
    return dtype(value) if isinstance(value, float) else value


def truth(name, *arrays, suffix=""):
    dtype = arrays[0].dtype.type
    arguments = [rounded(a, dtype) for a in FORWARD[name][0]]
    if name in ("exp", "log"):
        with np.errstate(all="ignore"):
            return getattr(np, name)(wide(arrays[0]))
    if name == "gelu" and not suffix:
        with np.errstate(all="ignore"):
            return wide(arrays[0]) * normal_distribution(wide(arrays[0]))
    with np.errstate(all="ignore"):
        return getattr(ref, name.removesuffix("_tanh") + suffix)(*map(wide, arrays), *arguments)


def normal_distribution(x):
    """Phi in the precision of x, relatively precise far to the left, where `math.erfc` of a rounded argument is not.

    Near 0 by its power series, beyond 2 by Laplace's continued fraction for Mills' ratio."""
    with np.errstate(all="ignore"):
        size = np.abs(x)
        bell = np.exp(-size * size / 2) / np.sqrt(2 * np.pi * np.ones_like(x))
        fraction, series, term = size, size, size
        for k in range(300, 0, -1):
            fraction = size + k / fraction
        for k in range(1, 60):
            term = term * size * size / (2 * k + 1)
            series = series + term
        tail = np.where(size > 2, bell / fraction, 0.5 - bell * series)
        return np.where(x > 0, 1 - tail, tail)


def assert_ulps(actual, expected, limit, x=None):
    """Within `limit` ULP of the exact value; exactly the same infinities and NaNs as its rounding.

    Among denormals the ops that multiply by x multiply the ULP of the other factor by it."""
    limit = limit(wide(x)) if callable(limit) else np.full(actual.shape, float(limit))
    with np.errstate(all="ignore"):
        nearest = expected.astype(actual.dtype)
        finite = np.isfinite(nearest)
        edge = ~finite & np.isfinite(expected)  # overflows by a hair: the largest number is as good
    assert_exact(actual[~finite & ~edge], nearest[~finite & ~edge])
    assert (np.abs(actual[edge]) >= np.finfo(actual.dtype).max).all()
    with np.errstate(over="ignore"):
        worst = np.nan_to_num(ulps(actual[finite], expected[finite]), nan=np.inf)  # the largest number has no spacing
        if x is not None:
            limit = limit + np.where(np.abs(expected) < np.abs(x) * np.finfo(actual.dtype).tiny, np.abs(x), 0)
    wrong = np.flatnonzero(~(worst <= limit[finite]))
    if len(wrong):
        i = wrong[worst[wrong].argmax()]
        raise AssertionError(f"{worst[i]:.3f} ULP: {actual[finite][i]!r} instead of {expected[finite][i]!r}")


def samples(rng, count, dtype):
    """Of every size, with the specials at both ends and in between."""
    x = rng.standard_normal(count) * np.exp(rng.uniform(-8, 5, count))
    x[::7] = rng.uniform(-1, 1, len(x[::7])) * (110 if dtype == np.float32 else 800)
    x[::5] = np.exp2(rng.uniform(-30, 4, len(x[::5]))) * rng.choice([-1, 1], len(x[::5]))
    return np.concatenate([specials(dtype), x.astype(dtype), specials(dtype)])


@pytest.fixture(scope="module")
def million():
    """A million samples a dtype, and each function's truth on them, computed once for all ISAs."""
    rng, known = np.random.default_rng(1), {}

    def get(name, dtype):
        if (name, dtype) not in known:
            x = known.setdefault(dtype, samples(rng, 1_000_000 if dtype == np.float32 else 300_000, dtype))
            if name == "log":
                x = np.concatenate([np.abs(x), rng.uniform(0.5, 2, 200_000).astype(dtype), [dtype(-1)]])
            known[name, dtype] = x, truth(name, x)
        return known[name, dtype]

    return get


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "tanh"])
def test_a_million_samples(isa, name, dtype, million):
    x, expected = million(name, dtype)
    assert_ulps(call(ops, name, x), expected, FORWARD[name][1])


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "tanh"])
def test_every_float32(name):
    """All 2**32 of them, on the CPU's best instruction set."""
    for start in range(0, 2**32, 2**22):
        x = np.arange(start, start + 2**22, dtype=np.uint32).view(np.float32)
        assert_ulps(call(ops, name, x), truth(name, x), FORWARD[name][1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_forward(isa, name, dtype, rng):
    x = samples(rng, 3000, dtype)
    expected = truth(name, x)
    actual = call(ops, name, x)
    multiplies = name in ("silu", "gelu", "gelu_tanh")
    assert_ulps(actual, expected, FORWARD[name][1], x if multiplies else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BACKWARD)
def test_backward(isa, name, dtype, rng):
    _, saved, roundings = BACKWARD[name]
    x = samples(rng, 3000, dtype)
    x = x[np.isnan(x) | (np.abs(x) < 1e4)]  # beyond, x * 0 decides; infinities are for the forward ops
    if saved == "y":
        x = truth(name, x).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    expected = truth(name, dy, x, suffix="_backward")
    actual = call(ops, name, dy, x, suffix="_backward")
    assert_within(actual, expected, roundings * np.finfo(dtype).eps * (np.abs(dy) + np.abs(expected)))


@pytest.mark.parametrize("name", BACKWARD)
def test_gradient_of_the_kernel_itself(isa, name, rng):
    """Central differences of the float64 forward kernel, away from the kinks at 0."""
    x = rng.uniform(0.1, 3, 100) * rng.choice([-1, 1], 100)
    dy, h = rng.standard_normal(100), 1e-6
    slope = (call(ops, name, x + h) - call(ops, name, x - h)) / (2 * h)
    saved = call(ops, name, x) if BACKWARD[name][1] == "y" else x
    assert_within(call(ops, name, dy, saved, suffix="_backward"), dy * slope, 1e-8)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_add(isa, dtype, activation, rng):
    a = samples(rng, 1000, dtype)
    b = np.where(rng.random(a.shape) < 0.2, rng.permutation(a), rng.standard_normal(a.shape)).astype(dtype)
    with np.errstate(all="ignore"):
        expected = ref._activate((a + b).astype(wide(a).dtype), activation)  # the sum is rounded once, as it must be
        assert_ulps(ops.add(a, b, activation=activation), expected, 2 if activation == "sigmoid" else 0)


# --- every op behind one signature: an array or two of one shape in, one out --------------------------------------------------

ONE = {name: lambda x, name=name, **o: call(ops, name, x, **o) for name in FORWARD}
TWO = {name + "_backward": lambda x, z, name=name, **o: call(ops, name, x, z, suffix="_backward", **o) for name in BACKWARD}
TWO |= {f"add-{a}": lambda x, z, a=a, **o: ops.add(x, z, activation=a, **o) for a in (None, "relu", "sigmoid")}
ELEMENTWISE = {name: (op, 1) for name, op in ONE.items()} | {name: (op, 2) for name, op in TWO.items()}


@pytest.fixture(params=ELEMENTWISE)
def elementwise(request):
    return ELEMENTWISE[request.param]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tail_between_guards(isa, elementwise, dtype, rng):
    """A piece of an array gives that piece of the result, and not a byte around it is touched."""
    op, count = elementwise
    whole = [rng.standard_normal(40).astype(dtype) for _ in range(count)]
    expected = op(*whole)
    for n in range(40):
        at = "start" if n % 2 else "end"
        out = guarded_empty(n, dtype, at)
        assert op(*(guarded(a[:n], at) for a in whole), out=out) is out
        assert_same_bits(out, expected[:n])


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_threads(elementwise, threads, dtype, rng):
    op, count = elementwise
    arrays = [rng.standard_normal(5 * 16384 + 17).astype(dtype) for _ in range(count)]
    assert_same_bits(op(*arrays, num_threads=threads), op(*arrays, num_threads=1))


def test_any_memory(elementwise, rng):
    op, count = elementwise
    x, z = rng.standard_normal((2, 3, 4, 9)).astype(np.float32)
    expected = op(*(x, z)[:count])
    for name, view in strange_views(x):
        assert_same_bits(op(*(view, z)[:count]), expected), name
        if count == 2:
            assert_same_bits(op(x, strange_of(z, name)), op(x, z))
        if name not in ("read-only", "big-endian"):
            target = view.copy(order="K") if name != "misaligned" else view
            op(*(x, z)[:count], out=target)
            assert_same_bits(np.ascontiguousarray(target), expected)


def strange_of(array, name):
    return dict(strange_views(array))[name]


def test_out_may_be_or_overlap_an_input(elementwise, rng):
    op, count = elementwise
    data = [rng.standard_normal(300).astype(np.float32) for _ in range(count)]
    for shift in (0, 1, -1, 16):
        for which in range(count):
            memory = np.zeros(400, np.float32)
            arrays = [a.copy() for a in data]
            arrays[which] = memory[50:350]
            arrays[which][:] = data[which]
            out = memory[50 + shift : 350 + shift]
            assert op(*arrays, out=out) is out
            assert_same_bits(out, op(*data))


def test_shapes(elementwise):
    op, count = elementwise
    for shape in [(), (0,), (1,), (3, 0, 2), (2, 3, 4, 5, 6)]:
        y = op(*[np.ones(shape, np.float32)] * count)
        assert y.shape == shape and y.dtype == np.float32


# --- softmax -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 1), (3, 10), (7, 16), (2, 33), (2, 3, 5, 4), (1, 1000), (3, 19, 17)])
def test_softmax(isa, dtype, shape, rng):
    u = np.finfo(dtype).eps / 2
    for scale in (1, 30):
        x = (rng.standard_normal(shape) * scale).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            expected, n = ref.softmax(wide(x), axis), shape[axis]
            y = ops.softmax(guarded(x), axis)
            smallest = float(np.finfo(dtype).smallest_subnormal)
            assert_within(y, expected, (n + 8) * u * expected + smallest)  # sum: n - 1 roundings
            assert_within(wide(y).sum(axis), np.ones(np.delete(shape, axis)), 4 * u * n)
            dy = rng.standard_normal(shape).astype(dtype)
            expected = ref.softmax_backward(wide(dy), wide(y), axis)
            bound = (n + 4) * u * wide(y) * (np.abs(dy) + np.abs(dy * y).sum(axis, keepdims=True)) + 2 * n * smallest
            out = guarded_empty(shape, dtype, "start")
            ops.softmax_backward(guarded(dy, "start"), guarded(y, "start"), axis, out=out)
            assert_within(out, expected, bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_at_the_limits(isa, dtype, axis):
    inf, nan, big = np.inf, np.nan, np.finfo(dtype).max
    rows = np.array([[1e38, -1e38, 0], [big, big, -big], [-big, -big, -big], [1, -inf, 1], [-inf] * 3, [inf, 0, 1], [0, nan, 0]])
    half, third = 1 / 2, 1 / 3
    expected = np.array([[1, 0, 0], [half, half, 0], [third] * 3, [half, 0, half], [nan] * 3, [nan] * 3, [nan] * 3])
    x, y = (rows.astype(dtype), expected) if axis == 1 else (rows.T.astype(dtype), expected.T)
    assert_within(ops.softmax(x, axis), y, np.finfo(dtype).eps)


@pytest.mark.parametrize("shape, axis", [((700, 33), 1), ((3, 50, 200), 1), ((40000, 2), -1)])
def test_softmax_same_bits(threads, shape, axis, rng):
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    y = ops.softmax(x, axis, num_threads=1)
    assert_same_bits(ops.softmax(x, axis, num_threads=threads), y)
    assert_same_bits(ops.softmax(x[1:2], axis), y[1:2])  # a batch split changes nothing
    assert_same_bits(
        ops.softmax_backward(dy, y, axis, num_threads=threads), ops.softmax_backward(dy, y, axis, num_threads=1)
    )
    for _, view in strange_views(x[:3]):
        assert_same_bits(ops.softmax(view, axis), ops.softmax(x[:3], axis))
    inplace = x.copy()
    assert ops.softmax(inplace, axis, out=inplace) is inplace
    assert_same_bits(inplace, y)
    inplace = dy.copy()
    ops.softmax_backward(inplace, y, axis, out=inplace)
    assert_same_bits(inplace, ops.softmax_backward(dy, y, axis))


# --- errors --------------------------------------------------------------------------------------------------------------------

A, B = np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)
ERRORS = [
    (lambda: ops.relu(A.astype(int)), TypeError, r"relu: x must be float32 or float64, got int64"),
    (lambda: ops.relu(None), TypeError, r"relu: x must be an array, got NoneType"),
    (
        lambda: ops.relu_backward(A, A, return_dbias=True, out=A.copy()),
        TypeError,
        r"relu_backward: out must be a tuple of 2 arrays, got ndarray",
    ),
    (
        lambda: ops.relu_backward(A[0, 0], A[0, 0], return_dbias=True),
        ValueError,
        r"relu_backward: dy must be \(\.\.\., C\) for return_dbias, got shape \(\)",
    ),
    (lambda: ops.relu_backward(A, B), ValueError, r"relu_backward: x must .*shape.*\(2, 3\), got \(3, 2\)"),
    (lambda: ops.tanh_backward(A, A.astype(float)), TypeError, r"tanh_backward: y must have the dtype .*float32.*float64"),
    (lambda: ops.add(A, A[:1]), ValueError, r"add: b must .*shape.*\(2, 3\), got \(1, 3\)"),
    (lambda: ops.add(A, A, activation="gelu"), ValueError, r"add: activation must be None, 'relu' or 'sigmoid', got 'gelu'"),
    (lambda: ops.gelu(A, "erf"), ValueError, r"gelu: approximate must be 'none' or 'tanh', got 'erf'"),
    (lambda: ops.gelu_backward(A, A, None), ValueError, r"gelu_backward: approximate must be 'none' or 'tanh', got None"),
    (lambda: ops.elu(A, "1"), TypeError, r"elu: alpha must be a number, got '1'"),
    (lambda: ops.elu(A, np.inf), ValueError, r"elu: alpha must be finite, got inf"),
    (lambda: ops.leaky_relu(A, np.nan), ValueError, r"leaky_relu: negative_slope must be finite, got nan"),
    (lambda: ops.sigmoid(A, out=np.ones(3, np.float32)), ValueError, r"sigmoid: out must have shape \(2, 3\), got \(3,\)"),
    (lambda: ops.silu(A, num_threads=0), ValueError, r"silu: num_threads must be positive, got 0"),
    (lambda: ops.softmax(A, 2), np.exceptions.AxisError, r"softmax: axis must be in -2...1, got 2"),
    (lambda: ops.softmax(A, 1.0), TypeError, r"softmax: axis must be an int, got 1\.0"),
    (lambda: ops.softmax(np.float32(1)), np.exceptions.AxisError, r"softmax: axis must be in 0\.\.\.-1, got -1"),
    (lambda: ops.softmax(A[:, :0]), ValueError, r"softmax: axis must not have length 0"),
    (lambda: ops.softmax_backward(A, B), ValueError, r"softmax_backward: y must .*shape"),
]


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:40] for row in ERRORS])
def test_error(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 3), (1,), (7, 1), (33, 5), (2, 9, 9, 16), (3, 7, 5, 37), (700, 130), (40, 9, 33, 6)])
def test_relu_backward_with_the_gradient_of_the_bias(isa, dtype, shape, rng):
    """One pass has the bits of relu_backward and conv2d_backward_bias, on any number of threads."""
    dy, x = rng.standard_normal((2, *shape)).astype(dtype)
    if x.size:
        x.flat[rng.integers(0, x.size, 5)] = [0.0, -0.0, np.nan, np.inf, -np.inf]
    dx = ops.relu_backward(dy, x)
    dbias = ops.dense_backward_bias(dx, num_threads=1)
    flat = wide(dx).reshape(-1, shape[-1])
    assert_within(dbias, flat.sum(0), sum_bound(abs(flat).sum(0), len(flat), dtype))
    for num_threads in (1, 2, 5):
        for at in ("start", "end"):
            outs = guarded_empty(shape, dtype, at), guarded_empty(shape[-1:], dtype, at)
            given = dict(return_dbias=True, out=outs, num_threads=num_threads)
            results = ops.relu_backward(guarded(dy, at), guarded(x, at), **given)
            assert results[0] is outs[0] and results[1] is outs[1]
            assert_same_bits(results[0], dx)
            assert_same_bits(results[1], dbias)
    inplace = dy.copy()
    assert ops.relu_backward(inplace, x, return_dbias=True, out=(inplace, None))[0] is inplace
    assert_same_bits(inplace, dx)
