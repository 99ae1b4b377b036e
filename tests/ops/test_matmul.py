"""matmul and dense: exact on integers, within the bound on reals, on every ISA, thread count and memory layout."""

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
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
ENDS = ["start", "end"]


def check_exact(a, b, **options):
    """Guarded inputs and output, both ends in turn."""
    expected = ref.matmul(a, b)
    for at in ENDS:
        out = guarded_empty(expected.shape, a.dtype, at)
        assert ops.matmul(guarded(a, at), guarded(b, at), out=out, **options) is out
        assert_exact(out, expected)
    return expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tail(isa, dtype, rng):
    """Each extent through more than two blocks of the largest tile, on every ISA."""
    for extent in range(1, 100):
        m, n, k = (int(i) for i in rng.integers(1, 20, 3))
        check_exact(integers(rng, (m, k), dtype), integers(rng, (k, extent), dtype))
        if extent < 34:
            check_exact(integers(rng, (extent, k), dtype), integers(rng, (k, n), dtype))
            check_exact(integers(rng, (m, extent), dtype), integers(rng, (extent, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_sizes(isa, threads, dtype, rng):
    for _ in range(12):
        m, n, k = ugly_size(rng, 1, 300), ugly_size(rng, 1, 300), ugly_size(rng, 1, 700)
        if m * n * k < 4_000_000:
            check_exact(integers(rng, (m, k), dtype), integers(rng, (k, n), dtype), num_threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k, n", [(1, 64), (203, 2049), (390, 4103), (17, 100)])
def test_few_rows_by_a_wide_matrix(isa, threads, dtype, k, n, rng):
    """They have a kernel of their own: several blocks of columns, cuts of the terms, and the bits of rows among others."""
    a, b = integers(rng, (4, k), dtype), integers(rng, (k, n), dtype)
    bias = integers(rng, n, dtype)
    reals, more = rng.normal(size=(9, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    bits = ops.matmul(reals, more)
    for rows in range(1, 5):
        expected = check_exact(a[:rows], b, num_threads=threads)
        assert_exact(ops.dense(a[:rows], b, bias, activation="relu"), np.maximum(expected + bias, 0))
        assert_same_bits(ops.matmul(reals[:rows], more, num_threads=threads), bits[:rows])


def test_few_rows_by_a_matrix_so_wide_that_results_go_far(isa, rng):
    b = integers(rng, (2, 1_100_001), np.float32)
    for rows in range(1, 5):
        check_exact(integers(rng, (rows, 2), np.float32), b, num_threads=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k, n", [(1, 5), (2049, 10), (192, 16), (257, 100), (390, 513), (16, 33)])
def test_few_rows_by_a_turned_matrix(isa, threads, dtype, k, n, rng):
    """They have a kernel of their own, too: lanes, terms and cuts that are not whole, and the bits of rows among others."""
    a, turned = integers(rng, (4, k), dtype), integers(rng, (n, k), dtype)
    expected = ref.matmul(a, turned.T)
    reals, more = rng.normal(size=(9, k)).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
    bits = ops.matmul(reals, more.T)
    assert_same_bits(bits, ops.matmul(reals, more.T.copy()))
    for rows in (0, slice(0, 1), slice(2), slice(3), slice(4)):
        for at in ENDS:
            out = guarded_empty(expected[rows].shape, dtype, at)
            assert ops.matmul(guarded(a[rows], at), guarded(turned, at).T, out=out, num_threads=threads) is out
            assert_exact(out, expected[rows])
        assert_same_bits(ops.matmul(reals[rows], more.T, num_threads=threads), bits[rows])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_end_within_a_line_and_go_far(isa, threads, dtype, rng):
    """Results are put together first, then written: more than 4 MB, few terms, bias and activation too."""
    a, b, bias = integers(rng, (10507, 6), dtype), integers(rng, (6, 101), dtype), integers(rng, 101, dtype)
    expected = check_exact(a, b, num_threads=threads)
    assert_exact(ops.dense(a, b, bias, activation="relu", num_threads=threads), np.maximum(expected + bias, 0))
    parts = [ops.dense(part, b, bias, activation="sigmoid") for part in np.array_split(a, 7)]
    assert_same_bits(ops.dense(a, b, bias, activation="sigmoid"), np.concatenate(parts))


def test_rows_that_end_within_a_line_past_the_caches(isa, rng):
    check_exact(integers(rng, (126001, 3), np.float32), integers(rng, (3, 101), np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m, k, n", [(1, 1000, 1), (1, 700, 300), (300, 700, 1), (2, 25088, 33), (130, 260, 100)])
def test_real_data(isa, dtype, m, k, n, rng):
    for a, b in [
        (rng.normal(size=(m, k)), rng.normal(size=(k, n))),
        (rng.random((m, k)), rng.random((k, n))),  # no cancellation: the hardest case for a long sum
    ]:
        a, b = a.astype(dtype), b.astype(dtype)
        exact, magnitude = ref.matmul(wide(a), wide(b)), ref.matmul(np.abs(wide(a)), np.abs(wide(b)))
        y = ops.matmul(a, b)
        assert_within(y, exact, sum_bound(magnitude, k, dtype))
        ratchet = 24 * np.finfo(dtype).eps / 2
        assert_within(y, exact, ratchet * magnitude)  # contract 3.1: k is blocked or split


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "a, b",
    [
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (6, 4, 5)),
        ((2, 1, 3, 4), (6, 4, 2)),
        ((7, 1, 33), (7, 33, 17)),
        ((0, 3, 4), (0, 4, 5)),
    ],
)
def test_batched(isa, threads, dtype, a, b, rng):
    check_exact(integers(rng, a, dtype), integers(rng, b, dtype), num_threads=threads)


@pytest.mark.parametrize("m, k, n", [(0, 3, 4), (3, 4, 0), (0, 4, 0), (3, 0, 4), (0, 0, 0)])
def test_empty(isa, m, k, n):
    for dtype in DTYPES:
        check_exact(np.ones((m, k), dtype), np.ones((k, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_thread_count(isa, dtype, rng):
    for m, k, n in [(1, 3000, 500), (500, 300, 1), (257, 129, 65), (64, 4000, 10)]:
        a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        one = ops.matmul(a, b, num_threads=1)
        for count in (2, 3, 5):
            assert_same_bits(ops.matmul(a, b, num_threads=count), one)
        assert_same_bits(ops.matmul(a, b), one)


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_batch_split(isa, dtype, rng):
    x, weight, bias = (rng.normal(size=s).astype(dtype) for s in [(37, 300), (300, 45), (45,)])
    whole = ops.dense(x, weight, bias, activation="relu")
    for i in range(len(x)):
        assert_same_bits(ops.dense(x[i : i + 1], weight, bias, activation="relu"), whole[i : i + 1])
    assert_same_bits(ops.dense(x[5:22], weight, bias, activation="relu"), whole[5:22])
    dx = ops.dense_backward_input(whole, weight)
    assert_same_bits(ops.dense_backward_input(whole[3:4], weight), dx[3:4])


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory(isa, dtype, rng):
    a, b = rng.normal(size=(13, 700)).astype(dtype), rng.normal(size=(700, 19)).astype(dtype)
    y = ops.matmul(a, b)
    for name, view in strange_views(a):
        assert_same_bits(ops.matmul(view, b), y), name
    for name, view in strange_views(b):
        assert_same_bits(ops.matmul(a, view), y), name
    row = np.broadcast_to(a[:1], a.shape)
    assert_same_bits(ops.matmul(row, b), ops.matmul(row.copy(), b))
    square = a[:, :13]
    assert_same_bits(ops.matmul(square, square), ops.matmul(square.copy(), square.copy()))
    assert_same_bits(ops.matmul(square, square.T), ops.matmul(square.copy(), square.T.copy()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(isa, dtype, rng):
    a, b = integers(rng, (12, 12), dtype), integers(rng, (12, 12), dtype)
    expected = ref.matmul(a, b)
    for name, view in strange_views(np.full((12, 12), np.nan, dtype)):
        if name != "read-only":
            assert ops.matmul(a, b, out=view) is view
            assert_exact(view, expected)
    for overlapped in (0, 1):
        pair = [a.copy(), b.copy()]
        ops.matmul(*pair, out=pair[overlapped])
        assert_exact(pair[overlapped], expected)
        pair = [a.copy(), b.copy()]
        ops.matmul(*pair, out=pair[overlapped][::-1].T)
        assert_exact(pair[overlapped][::-1].T, expected)
    block = np.zeros((14, 12), dtype)
    block[:12] = a
    ops.matmul(block[:12], b, out=block[2:])
    assert_exact(block[2:], expected)
    vector = a[0].copy()
    ops.matmul(b, vector, out=vector)
    assert_exact(vector, ref.matmul(b, a[:1].T)[:, 0])
    for wrong in (np.empty((12, 1), dtype), np.empty(13, dtype)):
        with pytest.raises(ValueError, match=r"matmul: out must have shape \(12,\), got"):
            ops.matmul(b, a[0], out=wrong)


def test_non_finite_values_stay_in_their_rows_and_columns(isa, rng):
    for dtype in DTYPES:
        a, b = rng.normal(size=(9, 40)).astype(dtype), rng.normal(size=(40, 35)).astype(dtype)
        finite = ops.matmul(a, b)
        a[4, 7], b[7, 20] = np.nan, 0
        y = ops.matmul(a, b)
        assert np.isnan(y[4]).all()
        rest = np.ones_like(y, bool)
        rest[4], rest[:, 20] = False, False
        assert_exact(y[rest], finite[rest])
        a[4, 7], b[7, 20] = 0, np.inf
        assert np.isnan(ops.matmul(a, b)[4, 20])
        assert np.isinf(np.delete(ops.matmul(a, b)[:, 20], 4)).all()


def test_denormals(isa):
    for dtype in DTYPES:
        tiny = np.finfo(dtype).smallest_subnormal
        y = ops.matmul(np.full((3, 2), tiny, dtype), np.full((2, 20), 3, dtype))
        assert_exact(y, np.full((3, 20), 6 * tiny, dtype))


# --- dense ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_exact(isa, threads, dtype, rng):
    for _ in range(25):
        batch = tuple(int(i) for i in rng.integers(1, 8, rng.integers(0, 3)))
        n_in, n_out = ugly_size(rng, 1, 200), ugly_size(rng, 1, 120)
        x, weight, bias = (
            integers(rng, (*batch, n_in), dtype),
            integers(rng, (n_in, n_out), dtype),
            integers(rng, n_out, dtype),
        )
        dy = integers(rng, (*batch, n_out), dtype)
        bias, activation = [bias, None][rng.integers(2)], [None, "relu"][rng.integers(2)]
        for op, arguments, options in [
            ("dense", (x, weight, bias), dict(activation=activation)),
            ("dense_backward_input", (dy, weight), {}),
            ("dense_backward_weight", (x, dy), {}),
            ("dense_backward_bias", (dy,), {}),
        ]:
            at = ENDS[rng.integers(2)]
            expected = getattr(ref, op)(*arguments, **options)
            arguments = [None if a is None else guarded(a, at) for a in arguments]
            out = guarded_empty(expected.shape, dtype, at)
            assert getattr(ops, op)(*arguments, **options, out=out, num_threads=threads) is out
            assert_exact(out, expected)
            new = getattr(ops, op)(*arguments, **options)
            assert new.dtype == dtype
            assert_same_bits(new, out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_real_data(isa, dtype, rng):
    x, weight, bias, dy = (rng.random(s).astype(dtype) for s in [(3000, 70), (70, 50), (50,), (3000, 50)])
    cases = [
        (ops.dense(x, weight, bias), ref.dense, (x, weight, bias), 70),
        (ops.dense_backward_input(dy, weight), ref.dense_backward_input, (dy, weight), 50),
        (ops.dense_backward_weight(x, dy), ref.dense_backward_weight, (x, dy), 3000),
        (ops.dense_backward_bias(dy), ref.dense_backward_bias, (dy,), 3000),
    ]
    for actual, truth, arguments, n in cases:  # all positive, so the sum is its own magnitude
        exact = truth(*map(wide, arguments))
        assert_within(actual, exact, sum_bound(exact, n, dtype))
        assert_within(actual, exact, 24 * np.finfo(dtype).eps / 2 * exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_sigmoid(isa, dtype, rng):
    x, weight, bias = (rng.normal(size=s).astype(dtype) for s in [(9, 30), (30, 21), (21,)])
    assert_same_bits(ops.dense(x, weight, bias, activation="sigmoid"), ops.sigmoid(ops.dense(x, weight, bias)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_gradients_have_the_same_bits_for_any_thread_count(isa, dtype, rng):
    x, weight, dy = (rng.normal(size=s).astype(dtype) for s in [(777, 130), (130, 90), (777, 90)])
    for op, arguments in [
        (ops.dense, (x, weight)),
        (ops.dense_backward_input, (dy, weight)),
        (ops.dense_backward_weight, (x, dy)),
        (ops.dense_backward_bias, (dy,)),
    ]:
        one = op(*arguments, num_threads=1)
        for count in (2, 3, 5):
            assert_same_bits(op(*arguments, num_threads=count), one)


def test_dense_of_an_empty_batch(isa):
    x, weight, dy = np.ones((0, 3), np.float32), np.ones((3, 5), np.float32), np.ones((0, 5), np.float32)
    assert ops.dense(x, weight).shape == (0, 5)
    assert ops.dense_backward_input(dy, weight).shape == (0, 3)
    assert_exact(ops.dense_backward_weight(x, dy), np.zeros((3, 5)))
    assert_exact(ops.dense_backward_bias(dy), np.zeros(5))
