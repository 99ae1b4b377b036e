"""PReLU: exact for whole numbers, whatever axes share a slope; and ReLU with limits, which learns nothing."""

import re

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
    guarded,
    guarded_empty,
    integers,
    specials,
    strange_views,
    wide,
)

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
# shape of x, shape of the slopes
CASES = [
    ((5, 7), (7,)),
    ((5, 7), (1,)),
    ((5,), ()),
    ((3, 5, 4, 6), (1, 1, 6)),
    ((3, 5, 4, 6), (5, 4, 6)),
    ((3, 5, 4, 6), (1, 1, 1)),
    ((3, 5, 4, 6), (5, 1, 6)),
    ((3, 5, 4, 6), (5, 4, 1)),
    ((3, 5, 4, 6), (5, 1, 1)),
    ((3, 5, 4, 6), (1, 4, 1)),
    ((700, 3), (3,)),
    ((40, 9, 9, 33), (1, 1, 33)),
    ((2, 3, 400), (1, 400)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, slopes", CASES)
def test_exact(isa, shape, slopes, dtype, rng):
    x, dy, weight = (integers(rng, s, dtype) for s in (shape, shape, slopes))
    expected = ref.prelu(x, weight)
    gradients = ref.prelu_backward(dy, x, weight)
    for at in ("start", "end"):
        out = guarded_empty(shape, dtype, at)
        assert ops.prelu(guarded(x, at), guarded(weight, at), out=out) is out
        assert_exact(out, expected)
        outs = guarded_empty(shape, dtype, at), guarded_empty(slopes, dtype, at)
        results = ops.prelu_backward(guarded(dy, at), guarded(x, at), guarded(weight, at), out=outs)
        for actual, mine, e in zip(results, outs, gradients, strict=True):
            assert actual is mine
            assert_exact(actual, e)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_is_accurate(isa, dtype, rng):
    x, dy = rng.uniform(-1, 0, (2, 40_000, 3)).astype(dtype)
    exact = -(wide(dy) * -wide(x)).sum(0)  # all of one sign, so that the sum is the size of its terms
    assert_within(ops.prelu_backward(dy, x, np.ones(3, dtype))[1], exact, 24 * np.finfo(dtype).eps / 2 * np.abs(exact))


@pytest.mark.parametrize("shape, slopes", [((2000, 30), (30,)), ((60, 20, 30, 4), (1, 30, 1))])
def test_same_bits_for_any_threads_and_memory(shape, slopes, threads, rng):
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    weight = rng.standard_normal(slopes).astype(np.float32)
    y, gradients = ops.prelu(x, weight, num_threads=1), ops.prelu_backward(dy, x, weight, num_threads=1)
    assert_same_bits(ops.prelu(x, weight, num_threads=threads), y)
    for a, b in zip(ops.prelu_backward(dy, x, weight, num_threads=threads), gradients):
        assert_same_bits(a, b)
    for kind, view in strange_views(x):
        assert_same_bits(ops.prelu(view, weight), y)
        for a, b in zip(ops.prelu_backward(dict(strange_views(dy))[kind], view, weight), gradients):
            assert_same_bits(a, b)
    assert ops.prelu(x.copy(), weight, out=x) is x
    assert_same_bits(x, y)


def test_special_values(isa):
    x = np.array([[np.inf, -np.inf, np.nan, 1]], np.float32)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(ops.prelu(x, np.zeros(4, np.float32)), [[np.inf, np.nan, np.nan, 1]])


def test_no_samples():
    x, weight = np.zeros((0, 4, 6), np.float32), np.ones((1, 6), np.float32)
    dx, dweight = ops.prelu_backward(x, x, weight)
    assert ops.prelu(x, weight).shape == dx.shape == x.shape
    assert_exact(dweight, np.zeros((1, 6)))


LIMITS = [(6.0, 0.0, 0.0), (None, 0.25, 1.0), (2.0, 0.5, 1.0), (None, 0.0, 2.0), (1.0, 0.0, 1.0)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limits", LIMITS)
def test_clipped_relu(isa, limits, dtype, rng):
    x, dy = np.append(integers(rng, 300, dtype, 8), specials(dtype)), integers(rng, 300 + len(specials(dtype)), dtype)
    with np.errstate(all="ignore"):
        expected = ref.clipped_relu(x, *limits).astype(dtype)
        gradient = ref.clipped_relu_backward(dy, x, *limits).astype(dtype)
    for at in ("start", "end"):
        out = guarded_empty(x.shape, dtype, at)
        assert_exact(ops.clipped_relu(guarded(x, at), *limits, out=out), expected)
        assert_exact(ops.clipped_relu_backward(guarded(dy, at), guarded(x, at), *limits, out=out), gradient)


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.prelu(X, np.ones((4, 5), np.float32)), ValueError, "prelu: weight must have the shape of a sample of x, (4, 5, 6), or 1s"),
    (lambda: ops.prelu(X, np.ones((4, 2, 6), np.float32)), ValueError, "or 1s in it, got (4, 2, 6)"),
    (lambda: ops.prelu(X, np.ones((4, 5, 6))), TypeError, "prelu: weight must have the dtype of the other arrays, float32, got float64"),
    (lambda: ops.prelu(np.float32(1), np.float32(1)), ValueError, "prelu: weight must have the shape of a sample of x"),
    (lambda: ops.prelu(X, X[0], out=X[:1]), ValueError, "prelu: out must have shape (2, 4, 5, 6), got (1, 4, 5, 6)"),
    (lambda: ops.prelu_backward(X[:1], X, X[0]), ValueError, "prelu_backward: dy must have the shape of the other arrays"),
    (lambda: ops.clipped_relu(X, 1.0, 0.0, 2.0), ValueError, "clipped_relu: max_value must be at least the threshold, 2.0, got 1.0"),
    (lambda: ops.clipped_relu(X, "6"), TypeError, "clipped_relu: max_value must be a number, got '6'"),
    (lambda: ops.clipped_relu(X, 1, np.nan), ValueError, "clipped_relu: negative_slope must be finite, got nan"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
