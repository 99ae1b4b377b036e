"""A scale and an offset that broadcast: exact for whole numbers, whatever axes they have."""

import re

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, guarded_empty, integers, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
SHAPE = (3, 5, 4, 6)
OPERANDS = [((), ()), ((6,), ()), ((), (6,)), ((6,), (1,)), ((4, 1), (6,)), ((5, 1, 1), (5, 4, 6)), (SHAPE, ()), ((3, 1, 1, 1), (1, 5, 4, 6))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale, offset", OPERANDS, ids=str)
def test_exact(isa, scale, offset, dtype, rng):
    x, w, b = (integers(rng, shape, dtype) for shape in (SHAPE, scale, offset))
    for at in ("start", "end"):
        out = guarded_empty(SHAPE, dtype, at)
        assert ops.rescale(guarded(x, at), guarded(w, at), guarded(b, at), out=out) is out
        assert_exact(out, ref.rescale(x, w, b))
    assert_exact(ops.rescale(x, w.tolist(), b.tolist()), ref.rescale(x, w, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_length(isa, dtype, rng):
    for n in [*range(40), 127, 128, 129, 300, 40000]:
        x = rng.standard_normal(n).astype(dtype)
        exact = wide(x) * wide(dtype(1 / 255)) - 1
        bound = np.finfo(dtype).eps * (np.abs(exact) + 1)
        for at in ("start", "end"):
            assert_within(ops.rescale(guarded(x, at), 1 / 255, -1, out=guarded_empty(n, dtype, at)), exact, bound)
    assert ops.rescale(np.float32(3), 2, 1) == 7


def test_same_bits_for_any_threads_and_memory(threads, rng):
    x, w = rng.standard_normal((2, 30, 40, 50)).astype(np.float32), rng.standard_normal(50).astype(np.float32)
    expected = ops.rescale(x[0:1], w, 0.1)
    assert_same_bits(ops.rescale(x, w, 0.1, num_threads=threads)[:1], expected)
    for _, view in strange_views(x[:1]):
        assert_same_bits(ops.rescale(view, w, 0.1), expected)
    mine = x[:1].copy()
    assert ops.rescale(mine, w, 0.1, out=mine) is mine
    assert_same_bits(mine, expected)


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.rescale(X, [1, 2]), ValueError, "rescale: scale must broadcast to the shape of x, (2, 4, 5, 6), got (2,)"),
    (lambda: ops.rescale(X, 1, X[None]), ValueError, "rescale: offset must broadcast to the shape of x, (2, 4, 5, 6), got (1, 2,"),
    (lambda: ops.rescale(X, "a"), TypeError, "rescale: scale must be an array, got str"),
    (lambda: ops.rescale(X, True), TypeError, "rescale: scale must be numbers, got True"),
    (lambda: ops.rescale(X.astype(int), 1), TypeError, "rescale: x must be float32 or float64, got int64"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:60] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
