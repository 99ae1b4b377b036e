"""Pooling: exact on integers, within the bound on reals, on every ISA, thread count, layout and memory; NaN, ties, padding."""

import itertools
import re

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_meaningful,
    assert_same_bits,
    assert_within,
    gamma,
    guarded,
    guarded_empty,
    integers,
    strange_views,
    sum_bound,
    ugly_size,
    wide,
)

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
LAYOUTS = ["channels_last", "channels_first"]


class Case:
    """Windows over one input: its shape in channels-last, and the arguments that the four passes share."""

    def __init__(
        self, x, kernel, stride=None, padding=0, dilation=1, ceil=False, include=False, data_format="channels_last"
    ):
        self.nhwc, self.shape = x, x if data_format == "channels_last" else (x[0], x[3], x[1], x[2])
        self.windows, self.dilation, self.ceil, self.include = (kernel, stride, padding), dilation, ceil, include
        self.taps = int(np.prod(np.broadcast_to(kernel, 2)))
        self.format = dict(data_format=data_format)

    def __repr__(self):
        return f"Case{(self.shape, *self.windows, self.dilation, self.ceil, self.include, self.format['data_format'])}"

    def max(self, library, x, **options):
        return library.max_pool2d(x, *self.windows, self.dilation, self.ceil, **self.format, **options)

    def max_backward(self, library, dy, indices, **options):
        return library.max_pool2d_backward(
            dy, indices, self.shape, *self.windows, self.dilation, self.ceil, **self.format, **options
        )

    def avg(self, library, x, **options):
        return library.avg_pool2d(x, *self.windows, self.ceil, self.include, **self.format, **options)

    def avg_backward(self, library, dy, **options):
        return library.avg_pool2d_backward(
            dy, self.shape, *self.windows, self.ceil, self.include, **self.format, **options
        )


def random_case(rng, data_format="channels_last"):
    """Any window, stride, padding and dilation; channel counts around the vectors' edges."""
    kernel, stride, dilation = rng.integers(1, 6, 2), rng.integers(1, 5, 2), np.ones(2, int)
    if rng.random() < 0.3:  # dilation, without padding that could fill a window
        dilation = rng.integers(1, 4, 2)
    if rng.random() < 0.4:
        kernel = stride = rng.integers(1, 4, 2)
    reach = (kernel - 1) * dilation + 1
    pads = rng.integers(0, kernel[:, None] // 2 + 1, (2, 2)) * (dilation[:, None] == 1)
    kind = rng.choice(["zero", "pair", "four", "same", "same_lower"]) if (dilation == 1).all() else "zero"
    pads = {"pair": pads[:, :1].repeat(2, 1), "four": pads}.get(kind, np.zeros((2, 2), int))
    padding = {"zero": 0, "pair": tuple(pads[:, 0].tolist()), "four": tuple(map(tuple, pads.tolist()))}.get(
        kind, str(kind)
    )
    low = np.ones(2) if kind.startswith("same") else np.maximum(1, reach - pads.sum(1))
    size = [int(n) + ugly_size(rng, 1, 40) - 1 for n in low]
    shape = (int(rng.integers(1, 4)), *size, ugly_size(rng, 1, 40))
    ceil, include = (bool(b) for b in rng.integers(0, 2, 2))
    pair = lambda v: tuple(v.tolist())  # noqa: E731
    return Case(shape, pair(kernel), pair(stride), padding, pair(dilation), ceil, include, data_format)


def checked(case, name, expected, run, dtype, at, bound=0.0):
    """`run(out=)` into guarded memory full of NaN."""
    out = guarded_empty(expected.shape, dtype, at)
    try:
        answer = run(out=out)
        assert (answer[0] if isinstance(answer, tuple) else answer) is out
        assert_within(out, expected, bound)
    except Exception as error:
        raise AssertionError(f"{name} of {case}: {error}") from error
    return answer


def check_exact(case, rng, dtype, num_threads=None, magnitude=4):
    """All passes on integers: inputs read-only and guarded at one end and then the other, output guarded and full of NaN."""
    x = integers(rng, case.shape, dtype, magnitude)
    y, indices = case.max(ref, x, return_indices=True)
    dy = integers(rng, y.shape, dtype)
    for at in ("start", "end"):
        check_guarded(case, at, dtype, dict(num_threads=num_threads), x, y, indices, dy)
    return y


def check_guarded(case, at, dtype, threads, x, y, indices, dy):
    gx, gdy, gi = guarded(x, at), guarded(dy, at), guarded(indices, at)

    def check(name, expected, run, bound=0.0):
        return checked(case, name, expected, run, dtype, at, bound)

    check("max", y, lambda out: case.max(ops, gx, out=out, **threads))
    _, i = check("argmax", y, lambda out: case.max(ops, gx, return_indices=True, out=out, **threads))
    assert i.dtype == indices.dtype, case
    np.testing.assert_array_equal(i, indices, repr(case))
    dx = case.max_backward(ref, dy, indices)
    check("max_backward", dx, lambda out: case.max_backward(ops, gdy, gi, out=out, **threads))
    if case.dilation not in (1, (1, 1)):
        return
    mean = case.avg(ref, x).astype(dtype)  # a mean of integers is a correctly rounded quotient of exact numbers
    check("avg", mean, lambda out: case.avg(ops, gx, out=out, **threads))
    dx, size = case.avg_backward(ref, dy), case.avg_backward(ref, np.abs(dy))
    bound = gamma(case.taps + 2, dtype) * size
    check("avg_backward", dx, lambda out: case.avg_backward(ops, gdy, out=out, **threads), bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", LAYOUTS)
def test_random_shapes(isa, threads, data_format, dtype, rng):
    for _ in range(15):
        check_exact(random_case(rng, data_format), rng, dtype, threads)


SHAPES = [
    Case((1, 1, 1, 1), 1),
    Case((2, 5, 7, 3), (5, 7)),  # one window, all of the map
    Case((2, 7, 7, 3), 2, 2),  # a row and a column that no window sees
    Case((2, 9, 9, 2), 2, 5),  # most pixels unseen
    Case((1, 1, 30, 4), (1, 3), (1, 2), "same"),
    Case((1, 30, 1, 4), (3, 1), (2, 1), "same"),
    Case((2, 5, 5, 3), 3, 2, 1, ceil=True),
    Case((1, 4, 4, 1), 3, 3, 1, ceil=True),  # a last window that begins in the padding is dropped
    Case((1, 5, 6, 2), 2, 3, 1, ceil=True, include=True),
    Case((1, 3, 3, 2), 2, 2, ((0, 1), (1, 0)), ceil=True),
    Case((1, 11, 12, 5), 3, 2, 2, 2),
    Case((1, 40, 41, 3), 17, 3, 8),  # more than 256 taps: int32 indices
    Case((1, 40, 41, 20), 17, 1, "same"),
    Case((1, 16, 16, 2), 16),  # 256 taps: bytes still
    Case((2, 28, 28, 6), 2),
    Case((1, 33, 31, 16), 3, 2, 1),
    Case((1, 12, 12, 64), 3, 1, 1),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=repr)
def test_named_shapes(isa, case, dtype, rng):
    assert_meaningful(check_exact(case, rng, dtype, num_threads=2, magnitude=1000))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("windows", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1)])
def test_every_channel_count_and_width(isa, windows, dtype, rng):
    """Through more than two vectors, in both extents that lanes run along."""
    for extent in range(1, 36):
        check_exact(Case((1, 4, 5, extent), *windows), rng, dtype)
        check_exact(Case((1, 3, extent + 2, 1), *windows), rng, dtype)
        check_exact(Case((1, 3, extent + 2, 3), *windows), rng, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel, stride", list(itertools.product([1, 2, 3, 5], [1, 2, 3])))
def test_padding_grammar(isa, kernel, stride, dtype, rng):
    half = kernel // 2
    for padding in ["valid", "same", "SAME_lower", half, (half, 0), ((half, 0), (0, half))]:
        case = Case((1, 11, 10, 3), kernel, stride, padding)
        y = ops.max_pool2d(np.zeros(case.shape, dtype), *case.windows)
        if str(padding).lower().startswith("same"):
            assert y.shape == (1, -(-11 // stride), -(-10 // stride), 3)
            padding = padding.lower()
        check_exact(Case((1, 11, 10, 3), kernel, stride, padding), rng, dtype)


def test_stride_is_the_kernel_by_default(rng):
    x = integers(rng, (1, 7, 9, 2))
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        assert_same_bits(pool(x, (2, 3)), pool(x, (2, 3), (2, 3)))


# --- maximum: padding, NaN, ties ---------------------------------------------------------------------------------------


def windows_of(x, case, oy, ox):
    """{index in the window: value} of the pixels of a window that lie in the map (one image, one channel)."""
    (kh, kw), (sh, sw), (pt, pl) = ([v] * 2 if isinstance(v, int) else v for v in case.windows)
    dh, dw = case.dilation if isinstance(case.dilation, tuple) else (case.dilation,) * 2
    taps = {}
    for i, j in itertools.product(range(kh), range(kw)):
        iy, ix = oy * sh - pt + i * dh, ox * sw - pl + j * dw
        if 0 <= iy < x.shape[0] and 0 <= ix < x.shape[1]:
            taps[i * kw + j] = x[iy, ix]
    return taps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("windows", [(2, 2, 0), (2, 2, 1), (3, 2, 1), (3, 1, 1), ((4, 2), (1, 3), (2, 0))])
def test_special_values(isa, windows, channels, dtype, rng):
    """First NaN, else first maximum; the oracle is Python's, window by window, and compares bits."""
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, np.finfo(dtype).smallest_subnormal]
    case = Case((1, 9, 12, channels), *windows)
    for weights in [None, [0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0, 0], [0.05, 0, 0.9, 0.05, 0, 0, 0]]:
        x = rng.choice(np.array(values, dtype), case.shape, p=weights)
        y, indices = case.max(ops, x, return_indices=True)
        assert_same_bits(case.max(ops, x), y)
        for at in np.ndindex(y.shape):
            taps = windows_of(x[0, :, :, at[3]], case, at[1], at[2])
            nans = [t for t, v in taps.items() if np.isnan(v)]
            winner = nans[0] if nans else max(taps, key=taps.get)  # max keeps the first of equals, and -0.0 == 0.0
            assert indices[at] == winner, (at, taps)
            assert_same_bits(y[at], taps[winner])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_local(isa, dtype, rng):
    x = rng.normal(size=(2, 13, 14, 3)).astype(dtype)
    for case in [Case(x.shape, 2), Case(x.shape, 3, 2, 1), Case(x.shape, 3, 1, "same")]:
        for value in (np.nan, np.inf, -np.inf):
            bad, at = x.copy(), tuple(rng.integers(0, x.shape))
            bad[at] = value
            probe = np.zeros_like(x)
            probe[at] = 1
            touched = case.avg(ref, probe) != 0
            clean = case.avg(ops, x)
            assert_same_bits(case.avg(ops, bad)[~touched], clean[~touched])
            assert not np.isfinite(case.avg(ops, bad)[touched]).any()
            assert_same_bits(case.max(ops, bad)[~touched], case.max(ops, x)[~touched])
            if value != -np.inf:
                assert_exact(case.max(ops, bad)[touched], np.full(touched.sum(), value))


def test_padding_never_wins(isa):
    x = np.full((1, 5, 5, 3), -np.inf, np.float32)
    y, indices = ops.max_pool2d(x, 3, 1, 1, return_indices=True)
    assert_exact(y, np.full(x.shape, -np.inf))
    assert (
        indices[0, 0, 0, 0] == 4 and indices[0, 0, 4, 0] == 3 and indices[0, 4, 0, 0] == 1 and indices[0, 2, 2, 0] == 0
    )
    assert_exact(ops.max_pool2d_backward(y, indices, x.shape, 3, 1, 1).sum(), -np.inf)
    assert_exact(ops.max_pool2d(np.full_like(x, -5), 3, 1, 1), np.full(x.shape, -5))


def test_index_is_that_of_the_first_maximum():
    assert_exact(ops.max_pool2d(np.zeros((1, 4, 4, 1), np.float32), 2, return_indices=True)[1], np.zeros((1, 2, 2, 1)))


# --- averages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", SHAPES, ids=repr)
def test_real_averages(isa, case, dtype, rng):
    if case.dilation != 1:
        return
    for fill in (rng.normal, lambda size: rng.random(size)):
        x = fill(size=case.shape).astype(dtype)
        y, size = case.avg(ops, x), case.avg(ref, np.abs(wide(x)))
        assert_within(y, case.avg(ref, wide(x)), sum_bound(size, case.taps, dtype))
        dy = fill(size=y.shape).astype(dtype)
        size = case.avg_backward(ref, np.abs(wide(dy)))
        assert_within(case.avg_backward(ops, dy), case.avg_backward(ref, wide(dy)), sum_bound(size, case.taps, dtype))


def test_divisors():
    """Windows of 2 x 2 over a map of ones, padded by one: a corner window holds one pixel."""
    ones = np.ones((1, 3, 3, 1), np.float32)
    assert_exact(ops.avg_pool2d(ones, 2, 2, 1), np.ones((1, 2, 2, 1)))
    include = ops.avg_pool2d(ones, 2, 2, 1, count_include_pad=True)[0, :, :, 0]
    assert_exact(include, [[0.25, 0.5], [0.5, 1]])
    # in ceil mode a window also leaves the padded map: what lies beyond it is never counted
    assert_exact(ops.avg_pool2d(ones, 2, 2, 0, True, True), np.ones((1, 2, 2, 1)))
    assert_exact(ops.avg_pool2d(ones, 2, 2, 0, True, False), np.ones((1, 2, 2, 1)))


# --- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", LAYOUTS)
def test_adjoint_is_exact(isa, data_format, dtype, rng):
    """<pool x, dy> = <x, pool' dy> to the last bit; averages over data that every divisor divides."""
    for _ in range(30):
        case = random_case(rng, data_format)
        x = integers(rng, case.shape, dtype)
        y, indices = case.max(ops, x, return_indices=True)
        dy = integers(rng, y.shape, dtype)
        dx = case.max_backward(ops, dy, indices)
        assert wide(y * dy).sum() == wide(x * dx).sum(), case
        if case.dilation != (1, 1):
            continue
        x, dy = x * 3600, dy * 3600  # divisible by all products of two counts up to 5
        assert wide(case.avg(ops, x) * dy).sum() == wide(x * case.avg_backward(ops, dy)).sum(), case
        assert_exact(case.avg_backward(ops, dy), case.avg_backward(ref, dy))
        assert_exact(case.avg(ops, x), case.avg(ref, x))


def test_gradient_of_overlapping_windows_adds_up(isa):
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1] = 1
    y, indices = ops.max_pool2d(x, 2, 1, return_indices=True)
    dx = ops.max_pool2d_backward(np.full_like(y, 2), indices, x.shape, 2, 1)
    assert dx[0, 1, 1, 0] == 8 and dx.sum() == 8


# --- the same bits, whatever is only about how it is run ---------------------------------------------------------------

BITS = [
    Case((5, 20, 20, 24), 2),
    Case((3, 31, 29, 3), 3, 2, 1),
    Case((3, 31, 29, 1), 3, 1, "same", include=True),
    Case((4, 14, 14, 65), 5, 3, 2, ceil=True, data_format="channels_first"),
]


def all_passes(case, x, dy, indices):
    return {
        "max": lambda **o: case.max(ops, x, **o),
        "avg": lambda **o: case.avg(ops, x, **o),
        "max_backward": lambda **o: case.max_backward(ops, dy, indices, **o),
        "avg_backward": lambda **o: case.avg_backward(ops, dy, **o),
        "global_avg": lambda **o: ops.global_avg_pool2d(x, **case.format, **o),
        "global_max": lambda **o: ops.global_max_pool2d(x, **case.format, **o),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", BITS, ids=repr)
def test_same_bits_for_any_thread_count_and_batch_split(isa, case, dtype, rng):
    x = rng.normal(size=case.shape).astype(dtype)
    y, indices = case.max(ops, x, return_indices=True)
    dy = rng.normal(size=y.shape).astype(dtype)
    for name, run in all_passes(case, x, dy, indices).items():
        one = run(num_threads=1)
        for count in (2, 3, 5, None):
            assert_same_bits(run(num_threads=count), one)
        for image in (0, len(x) - 1):
            part = Case((1, *case.nhwc[1:]), *case.windows, case.dilation, case.ceil, case.include, **case.format)
            single = all_passes(part, *(a[image : image + 1] for a in (x, dy, indices)))[name]()
            assert_same_bits(single, one[image : image + 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", BITS, ids=repr)
def test_back_through_relu_is_bit_for_bit_the_separate_ops(isa, case, dtype, rng):
    """Zeros of both signs, NaN and infinities included; the maxima may be given before or after the ReLU."""
    x = rng.standard_normal(case.shape).astype(dtype)
    x.flat[rng.integers(0, x.size, 12)] = [0.0, -0.0, np.nan, np.inf, -np.inf, -0.0] * 2
    x[0] = -abs(x[0])
    active = ops.relu(x)
    y, indices = case.max(ops, active, return_indices=True)
    dy = rng.standard_normal(y.shape).astype(dtype)
    expected = ops.relu_backward(case.max_backward(ops, dy, indices, num_threads=1), active)
    assert_meaningful(expected)
    for at, num_threads in itertools.product(("start", "end"), (1, 2, 5)):
        out = guarded_empty(x.shape, dtype, at)
        given = dict(y=guarded(y, at), out=out, num_threads=num_threads)
        case.max_backward(ops, guarded(dy, at), guarded(indices, at), **given)
        assert_same_bits(out, expected)


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_any_memory(isa, data_format, rng):
    case = Case((2, 7, 6, 5), (3, 2), (2, 1), (1, 0), data_format=data_format)
    x = rng.normal(size=case.shape).astype(np.float32)
    y, indices = case.max(ops, x, return_indices=True)
    dy = rng.normal(size=y.shape).astype(np.float32)
    expected = {name: run() for name, run in all_passes(case, x, dy, indices).items()}
    for position, array in enumerate((x, dy, indices)):
        for _, view in strange_views(array):
            arguments = [x, dy, indices]
            arguments[position] = view
            for name, run in all_passes(case, *arguments).items():
                assert_same_bits(run(), expected[name])
            assert_exact(view, array)
    for name, run in all_passes(case, x, dy, indices).items():
        for kind, view in strange_views(np.full(expected[name].shape, np.nan, np.float32)):
            if kind != "read-only":
                assert run(out=view) is view
                assert_exact(view, expected[name])


def test_layouts_have_the_same_bits(isa, rng):
    x = rng.normal(size=(2, 9, 8, 6)).astype(np.float32)
    first, options = x.transpose(0, 3, 1, 2), dict(data_format="channels_first")
    for pool, arguments in [(ops.max_pool2d, (3, 2, 1)), (ops.avg_pool2d, (3, 2, 1))]:
        y = pool(first, *arguments, **options)
        assert y.flags.c_contiguous
        assert_same_bits(y, pool(x, *arguments).transpose(0, 3, 1, 2))
    for pool in (ops.global_avg_pool2d, ops.global_max_pool2d):
        assert_same_bits(pool(first, **options), pool(x))


def test_out_overlapping_an_input(isa, rng):
    x = integers(rng, (1, 6, 6, 8))
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        expected = pool(x, 3, 1, 1)
        same = x.copy()
        assert_exact(pool(same, 3, 1, 1, out=same), expected)
        memory = np.zeros(x.size + 5, np.float32)
        view = memory[: x.size].reshape(x.shape)
        view[...] = x
        assert_exact(pool(view, 3, 1, 1, out=memory[5:].reshape(x.shape)), expected)


# --- whole maps --------------------------------------------------------------------------------------------------------

MAPS = [
    (1, 1, 1, 1),
    (2, 1, 1, 70),
    (2, 3, 5, 1),
    (3, 7, 7, 3),
    (2, 13, 29, 17),
    (1, 40, 41, 64),
    (2, 7, 7, 129),
    (1, 150, 2, 5),
]


def in_layout(shape, data_format):
    return shape if data_format == "channels_last" else (shape[0], shape[3], shape[1], shape[2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("shape", MAPS)
def test_global(isa, shape, data_format, dtype, rng):
    shape, options = in_layout(shape, data_format), dict(data_format=data_format)
    x = integers(rng, shape, dtype)
    for keepdims, at in [(False, "start"), (True, "end")]:
        keep, guard = dict(keepdims=keepdims, **options), guarded(x, at)
        mean, (y, indices) = ref.global_avg_pool2d(x, **keep), ref.global_max_pool2d(x, return_indices=True, **keep)
        out = guarded_empty(mean.shape, dtype, at)
        assert_exact(ops.global_avg_pool2d(guard, out=out, **keep), mean.astype(dtype))
        out = guarded_empty(mean.shape, dtype, at)
        value, index = ops.global_max_pool2d(guard, return_indices=True, out=out, **keep)
        assert value is out and index.dtype == np.int64
        assert_exact(value, y)
        np.testing.assert_array_equal(index, indices)
        assert_exact(ops.global_max_pool2d(guard, **keep), y)
        dy = guarded(integers(rng, y.shape, dtype), at)
        for name, arguments in [("global_avg_pool2d_backward", ()), ("global_max_pool2d_backward", (index,))]:
            expected = getattr(ref, name)(dy, *arguments, shape, **options).astype(dtype)
            out = guarded_empty(shape, dtype, at)
            assert getattr(ops, name)(dy, *arguments, shape, out=out, **options) is out
            assert_exact(out, expected)


def test_global_every_channel_count(isa, rng):
    for channels in range(1, 140):
        x = integers(rng, (2, 3, 7, channels))
        assert_exact(ops.global_avg_pool2d(guarded(x)), ref.global_avg_pool2d(x).astype(np.float32))
        assert_exact(ops.global_max_pool2d(guarded(x)), ref.global_max_pool2d(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_real_average(isa, dtype, rng):
    """Long sums are split: 24 roundings at any length, as in contract 3.1."""
    for shape in [(1, 300, 310, 1), (1, 300, 310, 3), (1, 224, 224, 16), (1, 50, 50, 66)]:
        x = rng.random(shape).astype(dtype)
        exact = ref.global_avg_pool2d(wide(x))
        assert_within(ops.global_avg_pool2d(x), exact, 24 * np.finfo(dtype).eps / 2 * exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_global_special_values(isa, dtype, rng):
    """NumPy's argmax has the same rule: first NaN, else first maximum."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
    for weights in [None, [0, 0, 1, 0, 0, 0], [0.01, 0, 0.98, 0.01, 0, 0], [0, 0, 0, 0.5, 0.5, 0]]:
        for shape in [(3, 5, 7, 3), (2, 20, 21, 1), (1, 30, 31, 20)]:
            x = rng.choice(values, shape, p=weights)
            y, indices = ops.global_max_pool2d(x, return_indices=True)
            expected = x.reshape(shape[0], -1, shape[3]).argmax(1)
            np.testing.assert_array_equal(indices, expected)
            flat = np.take_along_axis(x.reshape(shape[0], -1, shape[3]), expected[:, None], 1)[:, 0]
            assert_same_bits(y, flat)


# --- sizes beyond reason, and errors -----------------------------------------------------------------------------------


def test_no_images():
    x = np.zeros((0, 4, 4, 3), np.float32)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (0, 2, 2, 3)
    assert ops.max_pool2d_backward(y, indices, x.shape, 2).shape == x.shape
    assert ops.avg_pool2d_backward(ops.avg_pool2d(x, 2), x.shape, 2).shape == x.shape
    assert ops.global_avg_pool2d(x).shape == ops.global_max_pool2d(x).shape == (0, 3)
    assert ops.global_avg_pool2d_backward(np.zeros((0, 3)), x.shape).shape == x.shape


@pytest.mark.parametrize("huge", [2**31, 2**40, 2**61])
def test_huge_but_legal(isa, huge, rng):
    x = integers(rng, (1, 5, 6, 3))
    assert_exact(ops.max_pool2d(x, 2, huge), ref.max_pool2d(x, 2, 100))
    dy = np.ones((1, 1, 1, 3))
    assert_exact(ops.avg_pool2d_backward(dy, x.shape, 2, huge), ref.avg_pool2d_backward(dy, x.shape, 2, 100))
    y = ops.max_pool2d(x, huge, 1, huge // 2)  # each window holds the whole map
    assert_exact(y, np.broadcast_to(x.max((1, 2), keepdims=True), (1, 6, 7, 3)))
    dx = ops.avg_pool2d_backward(np.ones(y.shape), x.shape, huge, 1, huge // 2)
    assert_within(dx, np.full(x.shape, 42 / 30), gamma(42, np.float64) * 42 / 30)
    assert_exact(ops.max_pool2d(x, 3, 1, huge // 2, huge // 2), x)  # only the middle tap meets the map


X = np.arange(2 * 5 * 6 * 4, dtype=np.float32).reshape(2, 5, 6, 4)
Y, INDICES = ops.max_pool2d(X, 3, 2, 1, return_indices=True)
G, GI = ops.global_max_pool2d(X, return_indices=True)


def changed(indices, at, value):
    indices = indices.copy()
    indices[at] = value
    return indices


def backward(dy=Y, indices=INDICES, shape=X.shape, **options):
    return lambda: ops.max_pool2d_backward(dy, indices, shape, 3, 2, 1, **options)


ERRORS = [
    (
        backward(y=Y[:, :1]),
        ValueError,
        r"max_pool2d_backward: y must have shape \(.*\), got \(",
    ),
    (
        lambda: ops.max_pool2d(X, 3, padding=2),
        ValueError,
        r"max_pool2d: padding must be at most half of the effective kernel \(3, 3\), got 2",
    ),
    (
        lambda: ops.max_pool2d(X, 3, padding=((0, 0), (0, 2))),
        ValueError,
        r"padding must be at most half .*\(\(0, 0\), \(0, 2\)\)",
    ),
    (lambda: ops.avg_pool2d(X, 2, padding=2), ValueError, r"avg_pool2d: padding must be at most half"),
    (lambda: ops.max_pool2d(X, 2**62, dilation=2), ValueError, r"kernel_size.* too large, got 4611686018427387904"),
    (
        lambda: ops.max_pool2d(X, 2**61, dilation=2**61),
        ValueError,
        r"kernel_size or dilation is too large, got 2305843009213693952",
    ),
    (lambda: ops.max_pool2d(X, 2**63), ValueError, r"kernel_size is too large"),
    (lambda: ops.max_pool2d(X, 2**61, padding=2**62), ValueError, r"padding must be at most half|padding is too large"),
    (lambda: ops.max_pool2d(X, 2, padding=2**64), ValueError, r"padding is too large"),
    (
        lambda: ops.max_pool2d(X[:, :2, :2], 2, 1, 1, 3),
        ValueError,
        r"max_pool2d: padding must leave an input pixel to every window, got 1",
    ),
    (
        lambda: ops.max_pool2d(X[:, :0], 2),
        ValueError,
        r"effective kernel \(2, 2\) is larger than the padded input \(0, 6\)",
    ),
    (
        lambda: ops.max_pool2d(X[:, :0], 2, padding=1),
        ValueError,
        r"max_pool2d: the input must have at least 1 pixel, got 0 rows and 6 columns",
    ),
    (lambda: ops.avg_pool2d(X[..., :0], 2), ValueError, r"avg_pool2d: the input must have at least 1 channel, got 0"),
    (
        lambda: ops.max_pool2d(X, 2**31, 1, 2**30, return_indices=True),
        ValueError,
        r"kernel_size is too large for indices",
    ),
    (lambda: ops.max_pool2d(X, (2, 2, 2)), ValueError, r"kernel_size must be an int or a tuple of 2 ints"),
    (lambda: ops.max_pool2d(X, None), TypeError, r"kernel_size must be an int or a tuple of 2 ints, got None"),
    (lambda: ops.max_pool2d(X, 2, padding="foo"), ValueError, r"padding must be .* got 'foo'"),
    (lambda: ops.max_pool2d(X, 2, data_format="NHWC"), ValueError, r"max_pool2d: data_format must be"),
    (lambda: ops.max_pool2d(X, 2, num_threads=0), ValueError, r"max_pool2d: num_threads must be positive, got 0"),
    (
        lambda: ops.avg_pool2d(X, 2, out=X[:, :2, :3].astype(np.float64)),
        TypeError,
        r"avg_pool2d: out must have dtype float32",
    ),
    (
        lambda: ops.max_pool2d(X, 2, out=np.zeros((2, 2, 3, 4), np.float32), data_format="channels_first"),
        ValueError,
        r"out must have shape \(2, 5, 3, 2\), got \(2, 2, 3, 4\)",
    ),
    (backward(indices=INDICES.astype(np.int32)), TypeError, r"max_pool2d_backward: indices must be uint8 .*got int32"),
    (backward(indices=INDICES.tolist()), TypeError, r"indices must be uint8 .*got int64"),
    (backward(indices=None), TypeError, r"indices must be an array, got NoneType"),
    (
        backward(indices=changed(INDICES, (1, 1, 1, 2), 9)),
        ValueError,
        r"indices must .*3 x 3 .*got 9 for output \(1, 1, 1, 2\)",
    ),
    (backward(indices=changed(INDICES, (0, 2, 0, 0), 255)), ValueError, r"indices .*got 255 for output \(0, 2, 0, 0\)"),
    (
        backward(indices=changed(INDICES, (0, 0, 1, 0), 1)),
        ValueError,
        r"inside the input; got 1 for output \(0, 0, 1, 0\)",
    ),  # row -1
    (
        backward(indices=changed(INDICES, (0, 1, 0, 3), 3)),
        ValueError,
        r"inside the input; got 3 for output \(0, 1, 0, 3\)",
    ),  # column -1
    (
        backward(indices=changed(INDICES, (0, 2, 1, 3), 7)),
        ValueError,
        r"inside the input; got 7 for output \(0, 2, 1, 3\)",
    ),  # row 5
    (backward(dy=Y[:1]), ValueError, r"dy must have shape \(2, 3, 3, 4\), got \(1, 3, 3, 4\)"),
    (backward(dy=Y.astype(int)), TypeError, r"dy must be float32 or float64"),
    (backward(shape=(2, 5, 6)), ValueError, r"input_shape must be a tuple of 4 ints, got \(2, 5, 6\)"),
    (backward(shape=(2, 5, 6, 4.0)), TypeError, r"input_shape must .*4\.0"),
    (backward(shape=(2, 5, -6, 4)), ValueError, r"input_shape must .*-6"),
    (backward(shape=(2, 9, 6, 4)), ValueError, r"dy must have shape \(2, 5, 3, 4\), got \(2, 3, 3, 4\)"),
    (lambda: ops.avg_pool2d_backward(Y, (2, 9, 6, 4), 3, 2, 1), ValueError, r"avg_pool2d_backward: dy must have shape"),
    (lambda: ops.avg_pool2d_backward(Y, 7, 3), ValueError, r"input_shape must be a tuple of 4 ints, got 7"),
    (
        lambda: ops.global_avg_pool2d(X[0]),
        ValueError,
        r"global_avg_pool2d: x must be 4-D \(N, H, W, C\), got shape \(5, 6, 4\)",
    ),
    (
        lambda: ops.global_max_pool2d(X[:, :, :0]),
        ValueError,
        r"global_max_pool2d: the input must have at least 1 pixel, got 5 rows and 0 columns",
    ),
    (
        lambda: ops.global_avg_pool2d_backward(G[:1], X.shape),
        ValueError,
        r"dy must have shape \(2, 4\) or \(2, 1, 1, 4\), got \(1, 4\)",
    ),
    (
        lambda: ops.global_max_pool2d_backward(G, GI.astype(np.int32), X.shape),
        TypeError,
        r"indices must be int64 .*got int32",
    ),
    (
        lambda: ops.global_max_pool2d_backward(G, changed(GI, (1, 2), 30), X.shape),
        ValueError,
        r"indices must be in 0 \.\.\. 29, got 30",
    ),
    (
        lambda: ops.global_max_pool2d_backward(G, changed(GI, (1, 2), -1), X.shape),
        ValueError,
        r"indices must be in 0 \.\.\. 29, got -1",
    ),
    (
        lambda: ops.global_max_pool2d_backward(G, GI[:1], X.shape),
        ValueError,
        r"indices must have shape \(2, 4\), got \(1, 4\)",
    ),
]


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:60] for row in ERRORS])
def test_errors(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    assert re.search(words, str(caught.value)), str(caught.value)
    assert_exact(ops.max_pool2d(X, 3, 2, 1), Y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("windows", [(3, 2, 1), (2, 2, 0), ((2, 3), (1, 2), (1, 0)), (17, 7, 8)])
def test_exactly_the_indices_outside_the_map_are_refused(isa, windows, dtype):
    """Byte and int32 indices: every value that a window of the small kernels can be given, around the limits of the large."""
    case = Case((1, 5, 6, 1) if windows[0] != 17 else (1, 20, 21, 1), *windows)
    x = np.zeros(case.shape, dtype)
    y, indices = case.max(ops, x, return_indices=True)
    assert indices.dtype == (np.int32 if case.taps > 256 else np.uint8)
    values = range(256) if case.taps <= 256 else [-(2**31), -1, *range(0, 300, 8), 288, 289, 2**31 - 1]
    for at in np.ndindex(y.shape):
        valid = windows_of(x[0, :, :, 0], case, at[1], at[2])
        for value in values:
            wrong = changed(indices, at, value)
            if value in valid:
                case.max_backward(ops, y, wrong)
            else:
                with pytest.raises(ValueError, match=f"indices .*got {value} for output"):
                    case.max_backward(ops, y, wrong)


def test_a_refused_index_writes_nothing(isa):
    out = np.full(X.shape, 7, np.float32)
    for at in np.ndindex(INDICES.shape):
        with pytest.raises(ValueError, match="indices"):
            ops.max_pool2d_backward(Y, changed(INDICES, at, 9), X.shape, 3, 2, 1, out=out)
    assert (out == 7).all()
