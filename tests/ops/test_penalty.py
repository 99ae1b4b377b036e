"""Penalties: exact for whole numbers, accurate sums, the same bits for any threads."""

import re

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, guarded_empty, integers, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l1, l2", [(0.5, 0.25), (1, 0), (0, 2), (0, 0)])
def test_exact(isa, l1, l2, dtype, rng):
    for size in (0, 1, 7, 16, 33, 5000, 16384, 40_000):
        x, dy = integers(rng, (size,), dtype), integers(rng, (size,), dtype)
        for at in ("start", "end"):
            value = ops.penalty(guarded(x, at), l1, l2)
            assert value.shape == () and value.dtype == np.float64 and value == ref.penalty(x, l1, l2)
            out = guarded_empty((size,), dtype, at)
            assert ops.penalty_backward(guarded(dy, at), guarded(x, at), l1, l2, out=out) is out
            assert_exact(out, ref.penalty_backward(dy, x, l1, l2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_is_accurate(isa, dtype, rng):
    x = rng.standard_normal(300_000).astype(dtype)
    for factors, exact in (((1, 0), np.abs(wide(x)).sum()), ((0, 1), (wide(x) ** 2).sum())):
        assert_within(ops.penalty(x, *factors), float(exact), 24 * np.finfo(dtype).eps / 2 * float(exact))


def test_same_bits_for_any_threads_and_memory(threads, rng):
    x, dy = rng.standard_normal((2, 60, 20, 30, 4)).astype(np.float32)
    value, gradient = ops.penalty(x, 0.3, 0.2, num_threads=1), ops.penalty_backward(dy, x, 0.3, 0.2, num_threads=1)
    assert_same_bits(ops.penalty(x, 0.3, 0.2, num_threads=threads), value)
    assert_same_bits(ops.penalty_backward(dy, x, 0.3, 0.2, num_threads=threads), gradient)
    for (_, view), (_, other) in zip(strange_views(x), strange_views(dy)):
        assert_same_bits(ops.penalty(view, 0.3, 0.2), value)
        assert_same_bits(ops.penalty_backward(other, view, 0.3, 0.2), gradient)


def test_not_finite(isa):
    x = np.array([np.inf, 1], np.float32)
    assert ops.penalty(x, 1, 0) == np.inf and ops.penalty(x, 0, 0) == 0
    assert np.isnan(ops.penalty(np.array([np.nan]), 1, 1))


X = np.zeros((2, 3), np.float32)
REFUSED = [
    (lambda: ops.penalty(X, -1), ValueError, "penalty: l1 must be not negative, got -1"),
    (lambda: ops.penalty(X, 0, "a"), TypeError, "penalty: l2 must be a number, got 'a'"),
    (lambda: ops.penalty(np.zeros(3, int)), TypeError, "penalty: x must be float32 or float64, got int64"),
    (lambda: ops.penalty_backward(X, X[:1]), ValueError, "penalty_backward: x must have the shape of the other arrays"),
]


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
