"""Padding of maps and its gradient: pure copies, so every comparison is exact."""

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, guarded, guarded_empty, integers, strange_views

from cnnfast import ops
from cnnfast import reference as ref

PADDINGS = [0, 1, 3, (2, 0), (0, 1), ((1, 2), (3, 0)), ((0, 0), (0, 5)), [1, 2]]
LAYOUTS = ["channels_last", "channels_first"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_pad_and_back(padding, data_format, dtype, rng):
    options = dict(data_format=data_format)
    for shape in [(2, 3, 4, 5), (1, 1, 1, 1), (0, 2, 3, 4), (2, 0, 3, 4), (2, 60, 70, 5)]:  # the last: tasks of some lines
        x = integers(rng, shape, dtype)
        for value in (0.0, -1.5, -np.inf, np.nan, 3):
            expected = ref.pad2d(x, padding, value, **options)
            for at in ("start", "end"):
                out = guarded_empty(expected.shape, dtype, at)
                assert ops.pad2d(guarded(x, at), padding, value, out=out, **options) is out
                assert_exact(out, expected)
        assert_same_bits(ops.pad2d_backward(out, padding, **options), x)
        dy = integers(rng, expected.shape, dtype)
        dx = ops.pad2d_backward(dy, padding, **options)
        assert_exact(dx, ref.pad2d_backward(dy, padding, **options))
        assert (ops.pad2d(x, padding, **options) * dy).sum() == (x * dx).sum()


def test_result_is_a_copy(rng):
    x = integers(rng, (1, 3, 3, 2))
    for y in (ops.pad2d(x, 0), ops.pad2d_backward(x, 0)):
        assert_same_bits(y, x)
        assert not np.may_share_memory(x, y)


@pytest.mark.parametrize("data_format", LAYOUTS)
def test_any_memory(data_format, rng):
    x = integers(rng, (2, 4, 5, 3))
    for op in (ops.pad2d, ops.pad2d_backward):
        expected = op(x, 1, data_format=data_format)
        for _, view in strange_views(x):
            assert_same_bits(op(view, 1, data_format=data_format), expected)
        for kind, view in strange_views(np.full(expected.shape, np.nan, np.float32)):
            if kind != "read-only":
                assert op(x, 1, data_format=data_format, out=view) is view
                assert_exact(view, expected)
    memory = np.zeros(2 * 6 * 7 * 3, np.float32)
    inside = memory[7 : 7 + x.size].reshape(x.shape)
    inside[...] = x
    assert_exact(ops.pad2d(inside, 1, out=memory.reshape(2, 6, 7, 3)), ref.pad2d(x, 1))


X = np.zeros((1, 3, 4, 2), np.float32)
ERRORS = [
    (lambda: ops.pad2d(X, -1), ValueError, r"^pad2d: padding must not be negative, got -1"),
    (lambda: ops.pad2d(X, ((0, -1), (0, 0))), ValueError, r"padding must not be negative, got"),
    (lambda: ops.pad2d(X, "same"), ValueError, r"padding must be an int, .* got 'same'"),
    (lambda: ops.pad2d(X, (1, 2, 3)), ValueError, r"padding must be an int or a tuple of 2 ints"),
    (lambda: ops.pad2d(X, 1.5), TypeError, r"padding must be an int or a tuple of 2 ints, got 1\.5"),
    (lambda: ops.pad2d(X, 2**63), ValueError, r"padding is too large"),
    (lambda: ops.pad2d(X, 2**62 - 1), ValueError, r"padding is too large"),
    (lambda: ops.pad2d(X, 2**40), ValueError, r"too (big|large)"),
    (lambda: ops.pad2d(X, 1, "a"), TypeError, r"pad2d: value must be a number, got 'a'"),
    (lambda: ops.pad2d(X, 1, None), TypeError, r"pad2d: value must be a number, got None"),
    (lambda: ops.pad2d(X[0], 1), ValueError, r"pad2d: x must be 4-D"),
    (lambda: ops.pad2d(X.astype(int), 1), TypeError, r"pad2d: x must be float32 or float64, got int64"),
    (lambda: ops.pad2d(X, 1, out=X), ValueError, r"pad2d: out must have shape \(1, 5, 6, 2\), got \(1, 3, 4, 2\)"),
    (lambda: ops.pad2d(X, 1, data_format="HWC"), ValueError, r"pad2d: data_format must be"),
    (lambda: ops.pad2d(X, 1, num_threads=0), ValueError, r"pad2d: num_threads must be positive"),
    (lambda: ops.pad2d_backward(X, 2), ValueError, r"pad2d_backward: padding must fit into dy of shape \(1, 3, 4, 2\), got 2"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:50] for row in ERRORS])
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
