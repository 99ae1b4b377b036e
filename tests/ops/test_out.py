"""`out=` of every op: the same bits as without it, wherever it lies, and overlap as NumPy has it: as if there were none.

The calls are those of the test that walks all kernels; what has no kernel of its own has its calls here.
"""

import inspect

import numpy as np
import pytest
from harness import assert_same_bits, integers, strange_views
from test_kernel_list import calls

from cnnfast import ops


def all_calls(rng, dtype):
    """One call of each op and option that takes `out`, its arrays as copies of their own."""
    x, narrow = integers(rng, (2, 9, 9, 6), dtype), integers(rng, (2, 4, 5, 6), dtype)
    yield from calls(rng, dtype)
    yield "dropout_backward", (x, 0.25), dict(seed=3, step=5)
    yield "dropout2d", (x, 0.25), dict(seed=3, step=5)
    yield "dropout2d_backward", (x, 0.25), dict(seed=3, step=5)
    yield "upsample2d", (x, (2, 3)), {}
    yield "upsample2d_backward", (x, 3), {}
    yield "upsample2d", (x, 2, "bilinear"), {}
    yield "upsample2d_backward", (narrow[:, :, :4], 2, "bilinear"), {}
    yield "rescale", (x, 0.5, 3.0), {}


def cases(dtype):
    for op, arguments, options in all_calls(np.random.default_rng(0), np.dtype(dtype)):
        function = getattr(ops, op)
        if "out" in inspect.signature(function).parameters:
            y = function(*arguments, **options)
            if isinstance(y, np.ndarray) and y.ndim:
                yield op, function, arguments, options, y


def test_every_op_with_out_is_here():
    named = {name for name in ops.__all__ if "out" in inspect.signature(getattr(ops, name)).parameters}
    here = {op for op, *_ in cases("float32")}
    tuples = {"batch_norm_stats", "batch_norm_backward", "softmax_cross_entropy", "binary_cross_entropy", "prelu_backward",
              "layer_norm_backward", "group_norm_backward", "concatenate_backward"}  # fmt: skip
    assert named - here <= tuples, named - here - tuples


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_may_overlap_any_argument(dtype):
    for op, function, arguments, options, expected in cases(dtype):
        for place, array in enumerate(arguments):
            if not isinstance(array, np.ndarray):
                continue
            for shift in (0, 4, -4, 40):  # elements between the start of the argument and that of `out`
                memory = np.full(array.nbytes + expected.nbytes + 1024, 0xFF, np.uint8)
                start = 512
                step = start + shift * expected.itemsize
                view = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
                out = memory[step : step + expected.nbytes].view(expected.dtype).reshape(expected.shape)
                view[...] = array
                y = function(*arguments[:place], view, *arguments[place + 1 :], **options, out=out)
                assert y is out, op
                assert_same_bits(out, expected), op


def test_out_in_any_memory():
    for op, function, arguments, options, expected in cases("float32"):
        for name, out in strange_views(np.full(expected.shape, np.nan, expected.dtype)):
            if name in ("read-only", "big-endian"):
                continue
            assert function(*arguments, **options, out=out) is out, op
            assert_same_bits(out, expected), (op, name)


def test_out_that_is_none():
    """Read-only, of another shape, another dtype, no array: an error, and nothing is written."""
    for op, function, arguments, options, expected in cases("float32"):
        fixed = np.full(expected.shape, 7, expected.dtype)
        fixed.flags.writeable = False
        larger = np.full((expected.shape[0] + 1, *expected.shape[1:]), 7, expected.dtype)
        other = np.full(expected.shape, 7, np.float64)
        for out, error, rule in [(fixed, ValueError, "read-only"), (larger, ValueError, "out must have shape"),
                                 (other, TypeError, "out must have dtype"), ([1.0], TypeError, "out must be")]:  # fmt: skip
            with pytest.raises(error, match=f"{op}: .*{rule}"):
                function(*arguments, **options, out=out)
            assert (np.asarray(out) == (1 if isinstance(out, list) else 7)).all(), op
