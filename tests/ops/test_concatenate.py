"""Copies between memory of any layout, alone and as concatenation: every comparison is exact."""

import itertools
import re

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, guarded, guarded_empty, integers, strange_views

from cnnfast import ops
from cnnfast import reference as ref
from cnnfast.ops.copy import contiguous
from cnnfast.ops.tape import Tape

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_concatenate_and_back(isa, axis, dtype, rng):
    base = [3, 4, 5, 6]
    for sizes in ([1, 2, 3], [17, 1], [0, 4, 33]):
        arrays = [integers(rng, [n if i == axis % 4 else m for i, m in enumerate(base)], dtype) for n in sizes]
        expected = ref.concatenate(arrays, axis)
        for at in ("start", "end"):
            out = guarded_empty(expected.shape, dtype, at)
            assert ops.concatenate([guarded(a, at) for a in arrays], axis, out=out) is out
            assert_exact(out, expected)
            outs = tuple(guarded_empty(a.shape, dtype, at) for a in arrays)
            parts = ops.concatenate_backward(guarded(expected.astype(dtype), at), sizes, axis, out=outs)
            for part, out, array, e in zip(parts, outs, arrays, ref.concatenate_backward(expected, sizes, axis), strict=True):
                assert part is out
                assert_same_bits(part, array)
                assert_exact(part, e)


def test_the_memory_order_is_that_of_the_first(rng):
    """Maps that are channels first to the caller and last in memory stay so."""
    parts = [np.moveaxis(integers(rng, (2, 3, 4, n)), -1, 1) for n in (2, 5)]
    joined = ops.concatenate(parts, 1)
    assert np.moveaxis(joined, 1, -1).flags.c_contiguous
    for part, again in zip(parts, ops.concatenate_backward(joined, [2, 5], 1)):
        assert_same_bits(again, part)
        assert np.moveaxis(again, 1, -1).flags.c_contiguous


def test_any_memory_threads_and_overlap(threads, rng):
    a, b = (rng.standard_normal((4, 30, 20, n)).astype(np.float32) for n in (24, 40))
    expected = np.concatenate([a, b], -1)
    for _, view in strange_views(a):
        assert_same_bits(ops.concatenate([view, b], num_threads=threads), expected)
        assert_same_bits(ops.concatenate([b, view], num_threads=threads), np.concatenate([b, a], -1))
    for _, view in strange_views(expected):
        for part, whole in zip(ops.concatenate_backward(view, [24, 40], num_threads=threads), (a, b)):
            assert_same_bits(part, whole)
    for kind, out in strange_views(np.zeros_like(expected)):
        if kind != "read-only":
            assert ops.concatenate([a, b], out=out) is out
            assert_exact(out, expected)
    memory = np.zeros((4, 30, 20, 64), np.float32)
    memory[..., 40:] = a
    assert_same_bits(ops.concatenate([memory[..., 40:], b], out=memory), expected)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5), (2, 33, 17), (2, 3, 4, 5), (1, 64, 1, 70), (2, 3, 2, 3, 2)], ids=str)
def test_every_order_of_axes(isa, shape, rng):
    """Every permutation, reversed axes, steps and repeats: contiguous() is NumPy's."""
    for dtype in DTYPES:
        x = rng.standard_normal(shape).astype(dtype)
        for axes in itertools.permutations(range(len(shape))):
            view = guarded(x, "end").transpose(axes)
            for v in (view, view[::-1], view[..., ::2], view[..., ::-1], np.broadcast_to(view[:1], view.shape)):
                assert_same_bits(contiguous(v), np.ascontiguousarray(v))
                out = np.empty(v.shape[::-1], dtype).T
                assert_same_bits(ops.concatenate([v], 0, out=out), np.ascontiguousarray(v))


def test_a_contiguous_array_is_itself(rng):
    x = integers(rng, (3, 4))
    assert contiguous(x) is x and contiguous(np.zeros((), np.float32)) == 0


def test_a_recording_repeats_copies(rng):
    """Of any layout, but not of another byte order."""
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    tape = Tape()
    with tape:
        a = tape.buffer(x)
    a[...] = x
    with tape:
        y = ops.concatenate([a.transpose(0, 2, 1), ops.relu(a.T).T.transpose(0, 2, 1)], 1)
    assert tape.usable
    tape.close()
    a[...] = -x
    tape.run(0, len(tape))
    assert_same_bits(y, np.concatenate([-x, np.maximum(0, -x)], 2).transpose(0, 2, 1))
    tape = Tape()
    with tape:
        ops.concatenate([x, x.astype(">f4")])
    assert not tape.usable


def test_too_many_axes_for_the_kernel(rng):
    x = rng.standard_normal((2,) * 9).astype(np.float32)
    view = x.transpose(0, 2, 1, 4, 3, 6, 5, 8, 7)
    assert_same_bits(contiguous(view), np.ascontiguousarray(view))


X = np.zeros((2, 3, 4), np.float32)
REFUSED = [
    (lambda: ops.concatenate(X), TypeError, "concatenate: arrays must be a list of at least 1 array, got ndarray"),
    (lambda: ops.concatenate([]), TypeError, "concatenate: arrays must be a list of at least 1 array, got list"),
    (lambda: ops.concatenate([X, X[0]]), ValueError, "arrays must have one shape but for axis 2, got (2, 3, 4) and (3, 4)"),
    (lambda: ops.concatenate([X, X[:1]]), ValueError, "got (2, 3, 4) and (1, 3, 4)"),
    (lambda: ops.concatenate([X, X.astype(float)]), TypeError, "arrays must have one dtype, got float32 and float64"),
    (lambda: ops.concatenate([X.astype(int)]), TypeError, "concatenate: arrays must be float32 or float64, got int64"),
    (lambda: ops.concatenate([X, X], 3), ValueError, "concatenate: axis must be in -3...2, got 3"),
    (lambda: ops.concatenate([X, X], 1.0), TypeError, "concatenate: axis must be an int, got 1.0"),
    (lambda: ops.concatenate([X, X], out=X), ValueError, "concatenate: out must have shape (2, 3, 8), got (2, 3, 4)"),
    (lambda: ops.concatenate([X, X], out=[1]), TypeError, "concatenate: out must be a numpy array, got list"),
    (lambda: ops.concatenate_backward(X, [1, 2]), ValueError, "sizes must add up to 4, the size of axis 2 of dy, got [1, 2]"),
    (lambda: ops.concatenate_backward(X, 4), TypeError, "concatenate_backward: sizes must be a list of ints, got 4"),
    (lambda: ops.concatenate_backward(X, [5, -1]), ValueError, "concatenate_backward: sizes must be not negative, got -1"),
    (lambda: ops.concatenate_backward(X, [4], out=X), TypeError, "out must be a tuple of 1 arrays, got ndarray"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:60] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
