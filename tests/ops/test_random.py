"""Drawn numbers: exactly those of the reference and of NumPy's generator, whatever the threads."""

import math
import re

import numpy as np
import pytest
from harness import assert_same_bits

from cnnfast import ops
from cnnfast import reference as ref

KEYS = [(0, 0), (1, 2**64 - 1), (2**63 + 5, 7)]


@pytest.mark.parametrize("seed, step", KEYS)
def test_exact(isa, seed, step):
    key = dict(seed=seed, step=step)
    for shape in ((3, 5), (7,), (2, 1, 3), ()):
        for dtype in ("float64", "float32"):
            drawn = ops.random_uniform(shape, -1, 2, dtype=dtype, **key)
            np.testing.assert_array_equal(drawn, ref.random_uniform(shape, -1, 2, dtype=dtype, **key))
            assert drawn.dtype == dtype and drawn.shape == shape
        drawn = ops.random_integers(shape, -2, 5, **key)
        np.testing.assert_array_equal(drawn, ref.random_integers(shape, -2, 5, **key))
        assert drawn.dtype == np.int64
        drawn = ops.random_bernoulli(shape, 0.3, **key)
        np.testing.assert_array_equal(drawn, ref.random_bernoulli(shape, 0.3, **key))
        assert drawn.dtype == np.bool_
    rows = (3, 4), [0, -1, 5], [1, 1, 9]
    np.testing.assert_array_equal(ops.random_uniform(*rows, **key), ref.random_uniform(*rows, **key))
    np.testing.assert_array_equal(ops.random_integers(*rows, **key), ref.random_integers(*rows, **key))
    drawn = ops.random_bernoulli((3, 4), [0, 1, 0.5], **key)
    assert not drawn[0].any() and drawn[1].all()
    raw = np.random.Philox(key=np.array([seed, step], np.uint64)).random_raw(9)
    np.testing.assert_array_equal(ops.random_uniform((9,), **key), (raw >> np.uint64(11)) * 2.0**-53)


def test_same_bits_for_any_threads(threads):
    expected = ops.random_uniform((20_001,), seed=3, step=1, num_threads=1)
    assert_same_bits(ops.random_uniform((20_001,), seed=3, step=1, num_threads=threads), expected)


def test_equally_likely():
    drawn = ops.random_uniform((20000,), seed=3, step=1)
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 6 * math.sqrt(1 / 12 / 20000)
    assert not np.array_equal(drawn, ops.random_uniform((20000,), seed=3, step=2))
    counts = np.bincount(ops.random_integers((20000,), 0, 4, seed=3, step=1))
    assert len(counts) == 4 and abs(counts - 5000).max() < 6 * math.sqrt(20000 * 3 / 16)
    assert abs(ops.random_bernoulli((20000,), 0.2, seed=3, step=1).mean() - 0.2) < 6 * math.sqrt(0.16 / 20000)


def test_empty():
    assert ops.random_uniform((0, 3), seed=1, step=0).shape == (0, 3)
    assert ops.random_integers((2, 0), 0, [1, 2], seed=1, step=0).shape == (2, 0)


KEY = dict(seed=1, step=0)
REFUSED = [
    (lambda: ops.random_uniform((2,), seed=-1, step=0), ValueError, "random_uniform: seed must be not negative, got -1"),
    (lambda: ops.random_uniform((2,), seed=1, step=2**64), ValueError, "random_uniform: step must be in 0 <= step < 2**64"),
    (lambda: ops.random_uniform((2,), seed=1.0, step=0), TypeError, "random_uniform: seed must be an int, got 1.0"),
    (lambda: ops.random_uniform((2,), 1, 0, **KEY), ValueError, "low must be at most high, got 1.0 and 0.0"),
    (lambda: ops.random_uniform((2, 3), [0, 1, 2], 3, **KEY), ValueError, "low must be a number, or one for each index of the first"),
    (lambda: ops.random_uniform((2,), "a", **KEY), TypeError, "random_uniform: low must be a number, got 'a'"),
    (lambda: ops.random_uniform((2,), dtype="int8", **KEY), ValueError, "dtype must be float32 or float64, got 'int8'"),
    (lambda: ops.random_uniform((-1,), **KEY), ValueError, "random_uniform: shape must be not negative, got -1"),
    (lambda: ops.random_uniform(2, **KEY), TypeError, "random_uniform: shape must be a sequence of ints, got 2"),
    (lambda: ops.random_integers((2,), 3, 3, **KEY), ValueError, "random_integers: low must be below high, got 3 and 3"),
    (lambda: ops.random_integers((2,), 0, 2**60, **KEY), ValueError, "random_integers: high must be at most 2**52"),
    (lambda: ops.random_integers((2,), 0.5, 2, **KEY), TypeError, "random_integers: low must be an int, got 0.5"),
    (lambda: ops.random_bernoulli((2,), 1.5, **KEY), ValueError, "random_bernoulli: p must be in 0 <= p <= 1, got 1.5"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
