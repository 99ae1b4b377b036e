"""Larger maps: exact where the weights are, the gradient the exact adjoint, and no pixel where it has no weight."""

import re

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
    gamma,
    guarded,
    guarded_empty,
    integers,
    strange_views,
)

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
FACTORS = [1, 2, 3, (1, 2), (4, 1), (3, 5)]
SHAPES = [(2, 3, 4, 5), (1, 1, 1, 1), (2, 1, 6, 17), (1, 5, 1, 33), (3, 2, 2, 16)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_against_the_reference(isa, factor, mode, dtype, rng):
    for shape in SHAPES:
        x = integers(rng, shape, dtype)
        expected = ref.upsample2d(x, factor, mode)
        bound = 0 if mode == "nearest" else 8 * gamma(4, dtype)
        dy = integers(rng, expected.shape, dtype)
        gradient = ref.upsample2d_backward(dy, factor, mode)
        size = 0 if mode == "nearest" else gamma(40, dtype) * ref.upsample2d_backward(np.abs(dy), factor, mode)
        for at in ("start", "end"):
            out = guarded_empty(expected.shape, dtype, at)
            assert ops.upsample2d(guarded(x, at), factor, mode, out=out) is out
            assert_within(out, expected, bound)
            out = guarded_empty(shape, dtype, at)
            assert ops.upsample2d_backward(guarded(dy, at), factor, mode, out=out) is out
            assert_within(out, gradient, size)


@pytest.mark.parametrize("factor", [2, 4, (2, 8)], ids=str)
def test_adjoint_is_exact(isa, factor, rng):
    """Weights that are parts of a power of 2: <up(x), y> = <x, back(y)> to the last bit."""
    x = integers(rng, (2, 5, 4, 3), np.float64)
    y = ops.upsample2d(x, factor, "bilinear")
    dy = integers(rng, y.shape, np.float64)
    assert_exact(y, ref.upsample2d(x, factor, "bilinear"))
    assert (y * dy).sum() == (x * ops.upsample2d_backward(dy, factor, "bilinear")).sum()


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_any_memory_threads_and_batch(mode, layout, threads, rng):
    turn = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    x = rng.standard_normal((6, 9, 8, 20)).astype(np.float32)
    y = ops.upsample2d(x, (2, 3), mode, num_threads=1)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = ops.upsample2d_backward(dy, (2, 3), mode, num_threads=1)
    options = dict(data_format=layout, num_threads=threads)
    for (_, view), (_, gradient) in zip(strange_views(turn(x)), strange_views(turn(dy))):
        assert_same_bits(ops.upsample2d(view, (2, 3), mode, **options), turn(y))
        assert_same_bits(ops.upsample2d_backward(gradient, (2, 3), mode, **options), turn(dx))
    assert_same_bits(ops.upsample2d(x[2:3], (2, 3), mode), y[2:3])
    out = np.empty_like(turn(y))
    assert ops.upsample2d(turn(x), (2, 3), mode, out=out, **options) is out
    assert_same_bits(out, turn(y))


def test_not_finite_stays_where_it_has_weight(isa):
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1] = np.inf
    wild = ~np.isfinite(ops.upsample2d(x, 3, "bilinear"))[0, :, :, 0]
    assert wild[2:7, 2:7].all() and wild.sum() == 25  # not the centers of the neighbours
    dy = np.zeros((1, 9, 9, 1), np.float32)
    dy[0, 4, 4] = np.nan
    assert np.isnan(ops.upsample2d_backward(dy, 3, "bilinear")).sum() == 1


def test_empty():
    for shape in [(0, 2, 3, 4), (2, 3, 4, 0)]:
        x = np.zeros(shape, np.float32)
        y = ops.upsample2d(x, 2)
        assert y.shape == (shape[0], 2 * shape[1], 2 * shape[2], shape[3])
        assert ops.upsample2d_backward(y, 2).shape == shape


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.upsample2d(X, 0), ValueError, "upsample2d: scale_factor must be positive, got 0"),
    (lambda: ops.upsample2d(X, 2.0), TypeError, "upsample2d: scale_factor must be an int or a tuple of 2 ints, got 2.0"),
    (lambda: ops.upsample2d(X, 2**40), ValueError, "upsample2d: scale_factor is too large, got"),
    (lambda: ops.upsample2d(X, (1, 2, 3)), ValueError, "upsample2d: scale_factor must be an int or a tuple of 2 ints"),
    (lambda: ops.upsample2d(X, 2, "cubic"), ValueError, "upsample2d: mode must be 'nearest' or 'bilinear', got 'cubic'"),
    (lambda: ops.upsample2d(X[0], 2), ValueError, "upsample2d: x must be 4-D, got shape (4, 5, 6)"),
    (lambda: ops.upsample2d(X, 2, out=X), ValueError, "upsample2d: out must have shape (2, 8, 10, 6), got (2, 4, 5, 6)"),
    (lambda: ops.upsample2d_backward(X, 3), ValueError, "upsample2d_backward: scale_factor must divide the size of dy, (4, 5)"),
    (lambda: ops.upsample2d(X, 2, data_format="NCHW"), ValueError, "upsample2d: data_format must be 'channels_last' or"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
