"""Convolution and matmul on matrix tiles, as sums of bfloat16 products: float32's exactness, accuracy, range and bits (csrc/split.inc)."""

import functools
import importlib
import itertools

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
    guarded,
    guarded_empty,
    integers,
    sum_bound,
    ugly_size,
)
from test_conv2d import RATCHET, Case, random_case

import cnnfast
from cnnfast import layers, ops
from cnnfast import reference as ref
from cnnfast.ops import cpu

pytestmark = pytest.mark.skipif("amx" not in cpu.available_isas(), reason="needs a CPU with AMX")
SPLIT = dict(algorithm="split")
_matmul_by = importlib.import_module("cnnfast.ops.matmul")._matmul_by


@pytest.fixture(autouse=True)
def amx():
    if "amx" in cpu.available_isas():
        with cpu.using_isa("amx"):
            yield


CASES = [
    Case((1, 7, 7, 64), (1, 1, 64, 200)),  # few pixels: a thread has some of the columns
    Case((1, 1, 1, 33), (1, 1, 33, 17)),
    Case((5, 14, 14, 96), (1, 1, 96, 40)),  # weights are shared, and few
    Case((40, 9, 9, 300), (1, 1, 300, 330)),  # shared, and many: several frames
    Case((2, 20, 20, 1100), (1, 1, 1100, 70)),  # sums that are taken up again
    Case((1, 5, 5, 1100), (1, 1, 1100, 130)),
    Case((3, 11, 13, 2100), (1, 1, 2100, 70)),  # a frame holds a part of the channels
    Case((1, 9, 9, 140), (3, 3, 140, 50), 1, 1),
    Case((3, 30, 31, 200), (3, 3, 200, 40), 2, 1),  # bands of lines
    Case((11, 5, 6, 40), (3, 3, 40, 33), 2, 1),  # several images in a frame
    Case((9, 4, 4, 70), (1, 1, 70, 64), 2),
    Case((2, 40, 41, 3), (7, 7, 3, 24), 2, 3),
    Case((2, 13, 17, 35), (3, 5, 35, 16), (3, 2), (1, 2), (2, 3)),
    Case((2, 11, 12, 32), (2, 4, 32, 48), 1, ((0, 3), (2, 1)), (2, 1)),
    Case((1, 6, 70, 40), (3, 1, 40, 33), 1, (4, 0)),  # more padding than the kernel reaches
]


def passes(case, data, activation=None):
    """Those that can be split."""
    runs = case.passes(ops, *data, activation)
    stride = case.geometry[0]
    return {name: runs[name] for name in (["forward"] if stride not in (1, (1, 1)) else ["forward", "input"])}


def check_exact(case, rng, num_threads):
    data = case.data(lambda shape: integers(rng, shape))
    for at in ("start", "end"):
        arrays = [guarded(a, at) for a in data]
        for name, run in passes(case, arrays, "relu").items():
            expected = case.passes(ref, *data, "relu")[name]()
            out = guarded_empty(expected.shape, np.dtype(np.float32), at)
            assert run(out=out, num_threads=num_threads, **SPLIT) is out
            assert_exact(out, expected)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_whole_numbers_are_exact(case, threads, rng):
    check_exact(case, rng, threads)


def test_random_shapes_are_exact(threads, rng):
    tried = 0
    while tried < 60:
        case = random_case(rng)
        if case.geometry[3] == 1:
            check_exact(case, rng, threads)
            tried += 1
    for _ in range(10):  # wider
        c, k, size = ugly_size(rng, 1, 200), ugly_size(rng, 1, 200), ugly_size(rng, 1, 20)
        check_exact(Case((int(rng.integers(1, 5)), size, 9, c), (1, 1, c, k)), rng, threads)


def test_layouts_have_the_same_bits(rng):
    x, weight = (rng.normal(size=size).astype(np.float32) for size in ((2, 9, 8, 40), (3, 3, 40, 33)))
    y = ops.conv2d(x, weight, padding=1, **SPLIT)
    first = ops.conv2d(x.transpose(0, 3, 1, 2), weight.transpose(3, 2, 0, 1), padding=1, data_format="channels_first", **SPLIT)
    assert_same_bits(first.transpose(0, 2, 3, 1), y)


@pytest.mark.parametrize("fill", ["normal", "uniform"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_error_is_that_of_float32(case, fill, rng):
    data = case.data(lambda shape: getattr(rng, fill)(size=shape).astype(np.float32))
    magnitude = case.passes(ref, *(np.abs(a) for a in data))
    lengths = case.reduction_lengths(data[-1])
    for name, run in passes(case, data).items():
        bound = sum_bound(magnitude[name](), lengths[name], np.float32)
        assert_within(run(**SPLIT), case.passes(ref, *data)[name](), np.minimum(bound, RATCHET[np.float32] * magnitude[name]() + 1e-30))


def test_every_bit_and_exponent_passes_through(rng):
    """Times one, a power of two, sums of one: what three pieces do not hold, or tiles flush to zero, would be missing."""
    bits = rng.integers(0, (127 + 30) << 23, (1, 40, 40, 64), np.uint32) | rng.integers(0, 2, (1, 40, 40, 64), np.uint32) << 31
    x = bits.view(np.float32)
    x[0, 0, 0] = np.finfo(np.float32).smallest_subnormal * np.arange(64)
    eye = np.eye(64, dtype=np.float32)[None, None]
    assert_same_bits(ops.conv2d(x, eye, **SPLIT) + 0, x + 0)
    for exponent in (-140, -100, -20, -1, 3, 29):
        scale = np.float32(2.0**exponent)
        with np.errstate(under="ignore"):
            expected = x * scale
        assert_same_bits(ops.conv2d(x, eye * scale, **SPLIT) + 0, expected + 0)
    assert_same_bits(ops.conv2d(eye.reshape(1, 8, 8, 64), x[0, 0, 0].reshape(1, 1, 64, 1) * np.ones(16, np.float32), **SPLIT)[..., 3] + 0,
                     x[0, 0, 0].reshape(1, 8, 8) + 0)  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -(2.0**30)])
@pytest.mark.parametrize("case", CASES[:1] + CASES[4:9] + CASES[11:], ids=repr)
@pytest.mark.parametrize("where", ["x", "weight"])
def test_values_out_of_range(case, where, value, rng):
    """They have the effect that they have in float32, where they are, and none elsewhere."""
    x, weight, bias, dy = data = case.data(lambda shape: rng.normal(size=shape).astype(np.float32))
    if where == "x":
        x[-1, -1, 0, -1] = dy[-1, -1, 0, -1] = value
    else:
        weight[-1, 0, 0, case.cout // 2] = value
    for name, run in passes(case, data).items():
        y, direct = run(**SPLIT), run(algorithm="direct")
        np.testing.assert_array_equal(np.isnan(y), np.isnan(direct))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(direct))
        for count in (2, 3, 5):
            assert_same_bits(np.nan_to_num(run(num_threads=count, **SPLIT), nan=7), np.nan_to_num(y, nan=7))
        finite = np.isfinite(y)
        magnitude = case.passes(ref, *(np.where(np.isfinite(a), np.abs(a), 0) for a in data))[name]()
        assert_within(y[finite], direct[finite], 2 * sum_bound(magnitude, case.reduction_lengths(dy)[name], np.float32)[finite])
        if where == "x" and len(x) > 1:  # the other images don't know of it
            x_, dy_ = np.array(x), np.array(dy)
            x_[-1, -1, 0, -1] = dy_[-1, -1, 0, -1] = 0
            assert_same_bits(y[:-1], passes(case, (x_, weight, bias, dy_))[name](**SPLIT)[:-1])


def test_products_of_large_values_are_those_of_float32(rng):
    """A pixel and a weight that are in range of float32, and whose product is, though tiles would see infinity."""
    x, weight = (rng.normal(size=size).astype(np.float32) for size in ((1, 5, 5, 40), (1, 1, 40, 33)))
    for x_scale, w_scale in ((2.0**60, 2.0**60), (2.0**120, 2.0**-20), (2.0**-20, 2.0**110), (2.0**29, 2.0**26)):
        scaled = x * np.float32(x_scale), weight * np.float32(w_scale)
        magnitude = ref.conv2d(*(np.abs(a) for a in scaled))
        assert_within(ops.conv2d(*scaled, **SPLIT), ref.conv2d(*scaled), sum_bound(magnitude, 40, np.float32))


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_same_bits_for_any_thread_count_and_batch_split(case, rng):
    x, weight, bias, _dy = data = case.data(lambda shape: rng.normal(size=shape).astype(np.float32))
    for run in passes(case, data, "sigmoid").values():
        one = run(num_threads=1, **SPLIT)
        for count in (2, 3, 5):
            assert_same_bits(run(num_threads=count, **SPLIT), one)
    whole = ops.conv2d(x, weight, bias, *case.geometry, **SPLIT)
    for start, stop in [(0, 1), (len(x) - 1, len(x)), (0, len(x) // 2), (len(x) // 2, len(x))]:
        assert_same_bits(ops.conv2d(x[start:stop], weight, bias, *case.geometry, **SPLIT), whole[start:stop])


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[4], CASES[7], CASES[8]], ids=repr)
def test_a_fused_block_has_the_bits_of_its_ops(case, rng):
    finished = importlib.import_module("cnnfast.ops.conv2d")._conv2d_finished
    for value in (1.0, np.inf):
        x, weight, bias, residual = case.data(lambda shape: rng.normal(size=shape).astype(np.float32))
        x[-1, -1, -1, 0] = value
        mean, gain, shift = (rng.normal(size=case.cout).astype(np.float32) for _ in range(3))
        var = rng.uniform(0.5, 2, case.cout).astype(np.float32)
        scale = (1 / np.sqrt(var.astype(np.float64) + 1e-5) * gain).astype(np.float32)
        plain = ops.conv2d(x, weight, bias, *case.geometry, **SPLIT)
        normal = ops.batch_norm(plain, mean, var, gain, shift, eps=1e-5)
        for activation, rest in itertools.product((None, "relu", "sigmoid"), (None, residual)):
            act = {None: lambda a: a, "relu": ops.relu, "sigmoid": ops.sigmoid}[activation]
            expected = act(normal if rest is None else ops.add(normal, rest))
            y = finished(x, weight, bias, (mean, scale, shift), rest, *case.geometry, activation=activation, **SPLIT)
            np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
            assert_same_bits(np.nan_to_num(y, nan=7), np.nan_to_num(expected, nan=7))


@pytest.mark.parametrize("value", [1.0, np.nan, 1e36])
def test_a_plan_has_the_bits_of_its_layers(value, rng):
    """Depthwise convolutions that make the strips of what follows, normalisation, a residual, and its place taken."""
    x = rng.normal(size=(3, 14, 14, 512)).astype(np.float32)
    x[1, 3, 4, 5] = value
    block = lambda: [layers.DepthwiseConv2D(3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU(),  # noqa: E731
                     layers.Conv2D(512, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU()]  # fmt: skip
    model = cnnfast.Sequential([layers.Input((14, 14, 512)), *block(), layers.Residual(block()), layers.Conv2D(40, 1)], seed=0)
    planned = [model.predict_on_batch(x) for _ in range(3)][-1]
    for threads in (1, 2, 3):
        with cnnfast.threads(threads):
            assert_same_bits(np.nan_to_num(model.predict_on_batch(x), nan=7), np.nan_to_num(planned, nan=7))
    model.compile(loss="mse", run_eagerly=True)
    eager = model.predict_on_batch(x)
    np.testing.assert_array_equal(np.isnan(planned), np.isnan(eager))
    assert_same_bits(np.nan_to_num(planned, nan=7), np.nan_to_num(eager, nan=7))
    alone = model.predict_on_batch(x[:1])
    assert_same_bits(alone[0], planned[0])


def test_a_residual_that_a_depthwise_convolution_still_reads_is_not_written_over(rng):
    x = rng.normal(size=(3, 14, 14, 512)).astype(np.float32)
    block = layers.Residual([layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(512, 1)])
    model = cnnfast.Sequential([layers.Input((14, 14, 512)), layers.Conv2D(512, 1), block, layers.Conv2D(40, 1)], seed=0)
    planned = [model.predict_on_batch(x) for _ in range(4)]
    model.compile(loss="mse", run_eagerly=True)
    eager = model.predict_on_batch(x)
    for y in planned:
        assert_same_bits(y, eager)


# M, K, N: few rows; columns that end in a vector; many weights; rows of which a frame holds a part of the terms
split_matmul = functools.partial(_matmul_by, algorithm="split")
PRODUCTS = [(1, 1, 1), (5, 70, 200), (300, 130, 65), (130, 200, 700), (200, 1100, 40), (70, 2100, 90)]


@pytest.mark.parametrize("m, k, n", PRODUCTS)
def test_matmul(m, k, n, threads, rng):
    a, b = integers(rng, (m, k)), integers(rng, (k, n))
    expected = ref.matmul(a, b)
    for at in ("start", "end"):
        out = guarded_empty((m, n), np.dtype(np.float32), at)
        assert split_matmul(guarded(a, at), guarded(b, at), out=out, num_threads=threads) is out
        assert_exact(out, expected)
        turned = guarded(np.ascontiguousarray(b.T), at).T
        assert_exact(split_matmul(guarded(a, at), turned, num_threads=threads), expected)


@pytest.mark.parametrize("m, k, n", PRODUCTS)
def test_bits_of_matmul(m, k, n, rng):
    """Those of its rows among others, of any layout and number of threads, also where FMAs take the place of tiles."""
    a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    for value, where in ((1, a), (1e30, a), (-(2.0**40), b)):
        where[0, -1] = value
        y = split_matmul(a, b)
        assert_within(y, ref.matmul(a, b), sum_bound(ref.matmul(np.abs(a), np.abs(b)), k, np.float32))
        for count in (1, 3, 5):
            assert_same_bits(split_matmul(a, np.asfortranarray(b), num_threads=count), y)
        assert_same_bits(split_matmul(np.asfortranarray(a), b[:, ::-1].copy()[:, ::-1]), y)
        assert_same_bits(split_matmul(a[m // 2 :], b), y[m // 2 :])
        assert_same_bits(split_matmul(np.stack([a, a]), b)[1], y)
        assert_same_bits(split_matmul(np.stack([a, a]), np.stack([b, b]))[1], y)
        where[0, -1] = 1


def test_matmul_takes_it_where_it_pays(rng):
    a, b = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    split, direct = split_matmul(a, b), _matmul_by(a, b, "direct")
    assert not np.array_equal(split, direct)
    assert_same_bits(ops.matmul(a, b), split)
    assert_same_bits(ops.matmul(a, b.T.copy().T), split)
    assert_same_bits(ops.matmul(a[:16], b), direct[:16])
    assert_same_bits(ops.matmul(a.reshape(32, 16, 512), b).reshape(512, 512), direct)  # each of 16 rows
    assert_same_bits(ops.matmul(np.stack([a, a]), b), np.stack([split, split]))
    assert_same_bits(ops.dense(a, b), direct)
    with cpu.using_isa("avx512"):
        assert_same_bits(ops.matmul(a, b), direct)


def test_where_matmul_cannot():
    ones = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    with pytest.raises(ValueError, match="matmul: algorithm must be 'direct' or 'split', got 'winograd'"):
        _matmul_by(ones(2, 2), ones(2, 2), "winograd")
    with pytest.raises(ValueError, match="matmul: algorithm 'split' needs float32 and a processor with AMX, in use are float64 and amx"):
        split_matmul(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="matmul: algorithm 'split' needs sums of less than 32768 terms, got 32768"):
        split_matmul(ones(1, 1 << 15), ones(1 << 15, 1))
    assert split_matmul(ones(2, 0), ones(0, 3)).tolist() == [[0.0] * 3] * 2


def test_auto_takes_it_where_it_pays(rng):
    x, weight = (rng.normal(size=size).astype(np.float32) for size in ((1, 14, 14, 512), (1, 1, 512, 512)))
    split, direct = ops.conv2d(x, weight, **SPLIT), ops.conv2d(x, weight, algorithm="direct")
    assert not np.array_equal(split, direct)
    assert_same_bits(ops.conv2d(x, weight), split)
    assert_same_bits(ops.conv2d(x, weight, precision="strict"), direct)
    assert_same_bits(ops.conv2d(x[..., :40], weight[:, :, :40]), ops.conv2d(x[..., :40], weight[:, :, :40], algorithm="direct"))
    with cpu.using_isa("avx512"):
        assert_same_bits(ops.conv2d(x, weight), direct)


def test_where_it_cannot_be():
    ones = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    x, weight = ones(1, 9, 9, 8), ones(3, 3, 8, 8)
    with pytest.raises(ValueError, match="conv2d: algorithm 'split' needs float32 and a processor with AMX, in use are float64 and amx"):
        ops.conv2d(x.astype(np.float64), weight.astype(np.float64), **SPLIT)
    with cpu.using_isa("avx512"), pytest.raises(ValueError, match="in use are float32 and avx512"):
        ops.conv2d(x, weight, **SPLIT)
    with pytest.raises(ValueError, match="got groups 2, a weight"):
        ops.conv2d(x, weight[:, :, :4], groups=2, **SPLIT)
    with pytest.raises(ValueError, match=r"a stride of \(2, 2\)"):
        ops.conv2d_backward_input(ones(1, 4, 4, 8), weight, x.shape, 2, **SPLIT)
    with pytest.raises(ValueError, match="makes no gradient of weights"):
        ops.conv2d_backward_weight(x, ones(1, 7, 7, 8), weight.shape, **SPLIT)
    with pytest.raises(ValueError, match=r"sums of less than 32768 terms"):
        ops.conv2d(ones(1, 1, 1, 1 << 15), ones(1, 1, 1 << 15, 1), **SPLIT)
