"""Dropout: exactly the elements of the reference, on every ISA and thread count, and as many as promised."""

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, guarded, guarded_empty, strange_views

from cnnfast import ops
from cnnfast import reference as ref

SEEDS = [(0, 0), (1, 0), (0, 1), (2**32, 5), (2**64 - 1, 2**64 - 1), (123456789012345, 2**40)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed, step", SEEDS)
def test_the_very_elements_of_the_reference(isa, dtype, seed, step, rng):
    x = rng.integers(1, 9, 3000).astype(dtype)
    for p in (0.0, 0.1, 0.5, 0.999, 2.0**-33, 1 - 2.0**-40):
        y = ops.dropout(x, p, seed=seed, step=step)
        expected = np.where(ref.dropout(x, p, seed=seed, step=step) == 0, 0, x * dtype(1 / (1 - p)))  # scaled in dtype
        assert_exact(y, expected)
        assert_same_bits(ops.dropout_backward(x, p, seed=seed, step=step), y)


def test_philox_known_answer():
    """The words for counter 0, key 0 as published with Random123: element i survives p iff its word >= p * 2**32."""
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    for i, word in enumerate(words):
        x = np.ones(4, np.float64)
        assert ops.dropout(x, word / 2**32, seed=0, step=0)[i] > 0
        assert ops.dropout(x, (word + 1) / 2**32, seed=0, step=0)[i] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_tail_between_guards(isa, dtype, rng):
    whole = rng.standard_normal(300).astype(dtype)
    expected = ops.dropout(whole, 0.4, seed=3, step=4)
    for n in [*range(70), 127, 128, 129, 130, 255, 256, 257]:
        for at in ("start", "end"):
            out = guarded_empty(n, dtype, at)
            ops.dropout(guarded(whole[:n], at), 0.4, seed=3, step=4, out=out)
            assert_same_bits(out, expected[:n])


def test_same_bits_for_any_threads_and_memory(threads, rng):
    x = rng.standard_normal((3, 30000)).astype(np.float32)
    expected = ops.dropout(x, 0.3, seed=5, step=6, num_threads=1)
    assert_same_bits(ops.dropout(x, 0.3, seed=5, step=6, num_threads=threads), expected)
    for _, view in strange_views(x):
        assert_same_bits(ops.dropout(view, 0.3, seed=5, step=6), expected)
    assert ops.dropout(x, 0.3, seed=5, step=6, out=x) is x
    assert_same_bits(x, expected)


def test_as_many_as_promised():
    """Five standard deviations of the binomial distribution; other steps and seeds draw others."""
    x, n = np.ones(400_000, np.float32), 400_000
    for p in (0.05, 0.5, 0.9):
        kept = ops.dropout(x, p, seed=7, step=0) > 0
        assert abs(kept.sum() - n * (1 - p)) < 5 * np.sqrt(n * p * (1 - p))
        for other in (ops.dropout(x, p, seed=8, step=0) > 0, ops.dropout(x, p, seed=7, step=1) > 0):
            both = (1 - p) ** 2
            assert abs((kept & other).sum() - n * both) < 5 * np.sqrt(n * both * (1 - both))


def test_what_is_dropped_is_zero_whatever_it_was():
    x = np.full(1000, np.nan, np.float32)
    x[::2] = np.inf
    y = ops.dropout(x, 0.5, seed=0, step=0)
    kept = ops.dropout(np.ones(1000, np.float32), 0.5, seed=0, step=0) > 0
    assert (y[~kept] == 0).all() and not np.isfinite(y[kept]).any()


X = np.ones(5, np.float32)
ERRORS = [
    *((lambda bad=bad: ops.dropout(X, bad, seed=0, step=0), ValueError, r"dropout: p must be in 0 <= p < 1") for bad in (1, -0.1, np.nan)),
    (lambda: ops.dropout(X, "0.5", seed=0, step=0), TypeError, r"dropout: p must be a number, got '0\.5'"),
    (lambda: ops.dropout(X, 0.5, seed=-1, step=0), ValueError, r"dropout: seed must be in 0 <= seed < 2\*\*64, got -1"),
    (lambda: ops.dropout(X, 0.5, seed=0, step=2**64), ValueError, r"dropout: step must be in 0 <= step < 2\*\*64"),
    (lambda: ops.dropout(X, 0.5, seed=0.5, step=0), TypeError, r"dropout: seed must be an int, got 0\.5"),
    (lambda: ops.dropout_backward(X.astype(int), 0.5, seed=0, step=0), TypeError, r"dropout_backward: dy must be float32"),
    (lambda: ops.dropout(X, 0.5), TypeError, r"seed"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:40] for row in ERRORS])
def test_error(call, error, words):
    with pytest.raises(error, match=words):
        call()


NOISES = [(3, 1, 1, 6), (1, 5, 1, 6), (None, 1, 4, None), (1, 1, 1, 1), (3, 5, 4, 1), (3, 1, 4, 1), None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_noise_shape(isa, noise, dtype, rng):
    """What shares a draw is dropped or kept together: the very elements of the reference."""
    x = rng.integers(1, 9, (3, 5, 4, 6)).astype(dtype)
    for p in (0.4, 0.0):
        key = dict(seed=2, step=3, noise_shape=noise)
        expected = np.where(ref.dropout(x, p, **key) == 0, 0, x * dtype(1 / (1 - p)))
        for at in ("start", "end"):
            assert_exact(ops.dropout(guarded(x, at), p, out=guarded_empty(x.shape, dtype, at), **key), expected)
        assert_same_bits(ops.dropout_backward(x, p, **key), ops.dropout(x, p, **key))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_dropout2d(layout, threads, rng):
    turn = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    x = rng.integers(1, 9, (20, 9, 8, 33)).astype(np.float32)
    y = np.where(ref.dropout2d(x, 0.25, seed=5, step=6) == 0, 0, x * np.float32(1 / 0.75))
    assert 0.1 < (y == 0).mean() < 0.4
    options = dict(seed=5, step=6, data_format=layout)
    for _, view in strange_views(turn(x)):
        assert_exact(ops.dropout2d(view, 0.25, num_threads=threads, **options), turn(y))
    assert_exact(ops.dropout2d_backward(turn(x), 0.25, **options), turn(y))
    mine = turn(x).copy()
    assert ops.dropout2d(mine, 0.25, out=mine, **options) is mine
    assert_exact(mine, turn(y))


def test_infinities_are_dropped_too():
    x = np.full((40, 2, 2, 3), np.inf, np.float32)
    np.testing.assert_array_equal(np.unique(ops.dropout2d(x, 0.5, seed=0, step=0)), [0, np.inf])


@pytest.mark.parametrize(
    "noise, error, words",
    [
        ((2, 3), ValueError, r"noise_shape must have an entry for each axis of \(2, 3, 4\), got \(2, 3\)"),
        ((2, 3, 2), ValueError, r"noise_shape must be \(2, 3, 4\) with 1s or None in it, got \(2, 3, 2\)"),
        ((2, 3, 0), ValueError, r"noise_shape must be positive, got 0"),
        ((2, 3, 1.0), TypeError, r"noise_shape must be an int, got 1\.0"),
        (3, ValueError, r"noise_shape must have an entry"),
    ],
)
def test_noise_shapes_that_do_not_fit(noise, error, words):
    with pytest.raises(error, match="dropout: " + words):
        ops.dropout(np.zeros((2, 3, 4), np.float32), 0.5, seed=0, step=0, noise_shape=noise)
    with pytest.raises(ValueError, match=r"dropout2d: p must be in 0 <= p < 1, got 1\.0"):
        ops.dropout2d(np.zeros((2, 3, 4, 1), np.float32), 1.0, seed=1, step=0)
