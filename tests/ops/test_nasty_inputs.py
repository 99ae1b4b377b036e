"""Nasty inputs and the right answer, row by row: the exception's exact type and words, and a working op afterwards.

Each error names the function, the argument, the rule and the value received, and is raised before anything is written.
"""

import mmap
import re

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, run_python

from cnnfast import ops
from cnnfast import reference as ref

RNG = np.random.default_rng(0)
X = RNG.integers(-3, 4, (2, 5, 6, 4)).astype(np.float32)
W = RNG.integers(-3, 4, (3, 3, 4, 6)).astype(np.float32)
B = RNG.integers(-3, 4, 6).astype(np.float32)
DY = RNG.integers(-3, 4, (2, 3, 4, 6)).astype(np.float32)
A = RNG.integers(-3, 4, (5, 6)).astype(np.float32)
EXPECTED = ref.conv2d(X, W, B)
INPUTS = [X, W, B, DY, A]
COPIES = [a.copy() for a in INPUTS]


class Sparse:  # what scipy.sparse looks like, without needing it
    nnz, shape = 3, (2, 5, 6, 4)

    def toarray(self):
        raise AssertionError("a sparse matrix must not be made dense silently")


def conv(x=X, w=W, b=None, *args, **options):
    return lambda: ops.conv2d(x, w, b, *args, **options)


def backward_input(dy=DY, w=W, shape=X.shape, *args, **options):
    return lambda: ops.conv2d_backward_input(dy, w, shape, *args, **options)


def backward_weight(x=X, dy=DY, shape=W.shape, *args, **options):
    return lambda: ops.conv2d_backward_weight(x, dy, shape, *args, **options)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def readonly(array):
    array.flags.writeable = False
    return array


def self_overlapping(shape, dtype=np.float32):
    strides = [0] * len(shape)
    strides[-1] = np.dtype(dtype).itemsize
    return np.lib.stride_tricks.as_strided(np.zeros(100, dtype), shape, strides)


DTYPE_HINT = r"float32.*float64.*{}.*astype\(np\.float32\)"
REAL_DTYPES = ("int32", "uint8", "int64", "bool", "float16")
NOT_PADDING = ((1,), (1, 1, 1), (1, 2, 3, 4), [], ((1, 2), 3), ((1,), (2, 3)))
NOT_INTEGERS = (1.0, "1", True, None, (1, 1))

CONV2D = [  # (call, exception, words that follow "conv2d: ")
    # 1-3: stride, dilation, padding
    (conv(stride=0), ValueError, r"stride must be positive, got 0"),
    (conv(stride=(0, 1)), ValueError, r"stride must be positive, got \(0, 1\)"),
    (conv(stride=-1), ValueError, r"stride must be positive, got -1"),
    (conv(dilation=0), ValueError, r"dilation must be positive, got 0"),
    (conv(dilation=(1, -2)), ValueError, r"dilation must be positive, got \(1, -2\)"),
    (conv(padding=-1), ValueError, r"padding must not be negative, got -1"),
    (conv(padding=(0, -1)), ValueError, r"padding must not be negative, got \(0, -1\)"),
    (conv(padding=((0, 0), (-2, 0))), ValueError, r"padding must not be negative, got .*\(-2, 0\)"),
    # 4-11: shapes
    (conv(w=zeros(7, 7, 4, 6)), ValueError, r"effective kernel \(7, 7\) is larger than the padded input \(5, 6\)"),
    (conv(dilation=3), ValueError, r"effective kernel \(7, 7\) is larger than the padded input \(5, 6\)"),
    (conv(x=zeros(1, 5, 6, 1)), ValueError, r"weight .*4 .*channels.*groups 1.* 1"),
    (conv(groups=2), ValueError, r"weight .*4 .*channels.*groups 2.* 4"),
    (conv(groups=0), ValueError, r"groups must be positive, got 0"),
    (conv(groups=-1), ValueError, r"groups must be positive, got -1"),
    (conv(groups=3), ValueError, r"groups .*channels.*3"),
    (conv(w=zeros(3, 3, 2, 5), groups=2), ValueError, r"groups .*output channels.*2"),
    (conv(w=zeros(0, 3, 4, 6)), ValueError, r"weight .*kernel.*\(0, 3\)|weight .*\(0, 3, 4, 6\)"),
    (conv(w=zeros(3, 0, 4, 6)), ValueError, r"weight .*\(3, 0"),
    (conv(x=zeros(2, 5, 6, 0), w=zeros(3, 3, 0, 6)), ValueError, r"at least 1 .*channel"),
    (conv(w=zeros(3, 3, 4, 0)), ValueError, r"at least 1 .*channel"),
    (conv(x=zeros(2, 0, 6, 4)), ValueError, r"effective kernel \(3, 3\) is larger than the padded input \(0, 6\)"),
    (conv(x=zeros(2, 5, 0, 4)), ValueError, r"effective kernel \(3, 3\) is larger than the padded input \(5, 0\)"),
    (conv(x=zeros(4, 4)), ValueError, r"x must be 4-D \(N, H, W, C\), got shape \(4, 4\)"),
    (conv(x=zeros(4, 4, 4)), ValueError, r"x must be 4-D \(N, H, W, C\), got shape \(4, 4, 4\)"),
    (conv(x=zeros(1, 1, 5, 6, 4)), ValueError, r"x must be 4-D \(N, H, W, C\), got shape \(1, 1, 5, 6, 4\)"),
    (conv(x=np.float32(1)), ValueError, r"x must be 4-D \(N, H, W, C\), got shape \(\)"),
    (conv(x=zeros(4, 4), data_format="channels_first"), ValueError, r"x must be 4-D \(N, C, H, W\), got shape \(4, 4\)"),
    (conv(w=zeros(3, 3)), ValueError, r"weight must be 4-D \(kh, kw, cin/groups, cout\), got shape \(3, 3\)"),
    (
        conv(w=zeros(3, 3), data_format="channels_first"), ValueError,
        r"weight must be 4-D \(cout, cin/groups, kh, kw\), got shape \(3, 3\)",
    ),
    # 12-17: kinds of object
    *((conv(x=X.astype(t)), TypeError, "x must be " + DTYPE_HINT.format(t)) for t in REAL_DTYPES),
    (conv(x=X.astype(np.longdouble)), TypeError, "x must be " + DTYPE_HINT.format(np.dtype(np.longdouble).name)),
    (conv(x=X.astype(complex)), TypeError, r"x must be float32 or float64, got complex128"),
    (conv(x=X.astype(str)), TypeError, r"x must be float32 or float64, got <U"),
    (conv(x=X.astype("datetime64[s]")), TypeError, r"x must be float32 or float64, got datetime64"),
    (conv(x=zeros(2, 5, 6, 4, dtype=[("a", "f4")])), TypeError, r"x must be float32 or float64, got \["),
    (conv(w=W.astype(np.int32)), TypeError, "weight must be " + DTYPE_HINT.format("int32")),
    (conv(b=B.astype(np.int32)), TypeError, "bias must be " + DTYPE_HINT.format("int32")),
    (conv(w=W.astype(np.float64)), TypeError, r"weight must have the dtype .*float32.*float64"),
    (conv(b=B.astype(np.float64)), TypeError, r"bias must have the dtype .*float32.*float64"),
    (conv(x=X.astype(object)), TypeError, r"x must be float32 or float64, got object"),
    (conv(x=None), TypeError, r"x must be an array, got NoneType"),
    (conv(x="image.png"), TypeError, r"x must be an array, got str"),
    (conv(x=b"image"), TypeError, r"x must be an array, got bytes"),
    (conv(x=np.ma.masked_array(X, X > 1)), TypeError, r"x .*masked values would be ignored"),
    (conv(x=np.ma.masked_array(X)), TypeError, r"x .*masked values would be ignored"),
    (conv(x=Sparse()), TypeError, r"x must be a dense array, got Sparse"),
    # 24-27: out (that nothing is written is checked below)
    (conv(out=readonly(zeros(2, 3, 4, 6))), ValueError, r"output array is read-only"),
    (conv(out=zeros(2, 3, 4, 7)), ValueError, r"out must have shape \(2, 3, 4, 6\), got \(2, 3, 4, 7\)"),
    (conv(out=zeros(2, 3, 4, 6, 1)), ValueError, r"out must have shape \(2, 3, 4, 6\), got \(2, 3, 4, 6, 1\)"),
    (conv(out=zeros(1, 3, 4, 6)), ValueError, r"out must have shape"),
    (conv(out=zeros(2, 3, 4, 6, dtype=np.float64)), TypeError, r"out must have dtype float32, got float64"),
    (conv(out=zeros(2, 3, 4, 6, dtype=np.int32)), TypeError, r"out must have dtype float32, got int32"),
    (conv(out=[0]), TypeError, r"out must be a numpy array, got list"),
    (conv(out=np.ma.masked_array(zeros(2, 3, 4, 6))), TypeError, r"out must be a numpy array, got MaskedArray"),
    (conv(out=self_overlapping((2, 3, 4, 6))), ValueError, r"output array has internal overlap"),
    # 29, 30, 32: sizes beyond reason
    (conv(dilation=2**31), ValueError, r"effective kernel \(4294967297, 4294967297\) is larger than the padded input \(5, 6\)"),
    (conv(dilation=2**61), ValueError, r"(effective kernel|dilation is too large)"),
    (conv(padding=2**62 - 1), ValueError, r"(padding is too large|array is too big)"),
    (conv(padding=2**63 - 5), ValueError, r"padding is too large, got 9223372036854775803"),
    (conv(padding=2**63), ValueError, r"padding is too large, got 9223372036854775808"),
    (conv(padding=10**30), ValueError, r"padding is too large"),
    (conv(padding=((0, 0), (0, 2**64))), ValueError, r"padding is too large"),
    (conv(padding=-(2**70)), ValueError, r"padding must not be negative"),
    (conv(stride=2**63), ValueError, r"stride is too large"),
    (conv(dilation=2**63), ValueError, r"dilation is too large"),
    (conv(groups=2**63), ValueError, r"groups (is too large|.*channels)"),
    (conv(padding=2**40 - 1), ValueError, r"array is too big"),
    (conv(padding=((2**61, 2**61), (2**61, 2**61))), ValueError, r"(padding is too large|array is too big)"),
    # 34-37: kinds of geometry
    *(
        (conv(stride=bad), TypeError, r"stride must be an int or a tuple of 2 ints, got " + re.escape(repr(bad)))
        for bad in (1.5, np.float64(2), "2", True, None, (1, 2.0), ("1", "1"), {1, 2}, (1, None), np.array([1.0, 2.0]))
    ),
    *((conv(stride=bad), ValueError, r"stride must be an int or a tuple of 2 ints") for bad in ((1,), (1, 1, 1), [])),
    *((conv(dilation=bad), TypeError, r"dilation must be an int or a tuple of 2 ints") for bad in (1.5, "2", True, None)),
    *((conv(padding=bad), TypeError, r"padding must be an int or a tuple of 2 ints") for bad in (1.5, True, None, (1, 2.0))),
    *((conv(padding=bad), ValueError, r"padding must be ") for bad in NOT_PADDING),
    *((conv(groups=bad), TypeError, r"groups must be an int, got " + re.escape(repr(bad))) for bad in NOT_INTEGERS),
    (conv(padding="foo"), ValueError, r"padding must be .*'valid', 'same' or 'same_lower', got 'foo'"),
    (conv(b=zeros(6, 1)), ValueError, r"bias must have shape \(6,\), got \(6, 1\)"),
    (conv(b=zeros(7)), ValueError, r"bias must have shape \(6,\), got \(7,\)"),
    (conv(b=np.float32(1)), ValueError, r"bias must have shape \(6,\), got \(\)"),
    (conv(data_format="NHWC"), ValueError, r"data_format must be 'channels_last' or 'channels_first', got 'NHWC'"),
    (conv(data_format=None), ValueError, r"data_format must be .*got None"),
    (conv(activation="tanhh"), ValueError, r"activation must be .*relu.*sigmoid.*'tanhh'"),
    (conv(activation=1), (TypeError, ValueError), r"activation must be .*relu.*sigmoid.*1"),
    (conv(algorithm="fft"), ValueError, r"algorithm must be .*auto.*direct.*winograd.*'fft'"),
    (conv(precision="low"), ValueError, r"precision must be .*default.*strict.*'low'"),
    (conv(num_threads=0), ValueError, r"num_threads must be positive, got 0"),
    (conv(num_threads="2"), TypeError, r"num_threads must be an int"),
]  # fmt: skip

BACKWARD_INPUT = [
    (backward_input(dy=zeros(2, 3, 5, 6)), ValueError, r"dy must have shape \(2, 3, 4, 6\), got \(2, 3, 5, 6\)"),
    (backward_input(dy=zeros(2, 3, 4, 5)), ValueError, r"dy must have shape \(2, 3, 4, 6\), got \(2, 3, 4, 5\)"),
    (backward_input(dy=zeros(3, 4, 6)), ValueError, r"dy must be 4-D"),
    (backward_input(w=W.astype(np.float64)), TypeError, r"weight must have the dtype .*float32.*float64"),
    (backward_input(shape=(2, 5, 6)), ValueError, r"input_shape must be .*\(2, 5, 6\)"),
    (backward_input(shape=(2, 5, 6, 5)), ValueError, r"weight .*4 .*channels.*groups 1.* 5"),
    (backward_input(shape=(2, 5, -6, 4)), ValueError, r"input_shape must .*-6"),
    (backward_input(shape=(2, 5, 6.0, 4)), TypeError, r"input_shape must .*6\.0"),
    (backward_input(shape=None), TypeError, r"input_shape must .*None"),
    (backward_input(shape=(2**62, 2**62, 6, 4)), ValueError, r"(input_shape|dy)"),
    (backward_input(stride=0), ValueError, r"stride must be positive, got 0"),
    (backward_input(padding=2**63), ValueError, r"padding is too large"),
    (backward_input(groups=3), ValueError, r"groups .*channels.*3"),
    (backward_input(out=readonly(zeros(*X.shape))), ValueError, r"output array is read-only"),
    (backward_input(out=zeros(2, 5, 6, 3)), ValueError, r"out must have shape \(2, 5, 6, 4\), got \(2, 5, 6, 3\)"),
]

BACKWARD_WEIGHT = [
    (backward_weight(dy=zeros(2, 3, 5, 6)), ValueError, r"dy must have shape \(2, 3, 4, 6\), got \(2, 3, 5, 6\)"),
    (backward_weight(dy=zeros(1, 3, 4, 6)), ValueError, r"dy must have shape \(2, 3, 4, 6\), got \(1, 3, 4, 6\)"),
    (backward_weight(dy=DY.astype(np.float64)), TypeError, r"dy must have the dtype .*float32.*float64"),
    (backward_weight(x=zeros(4, 4)), ValueError, r"x must be 4-D"),
    (backward_weight(shape=(3, 3, 4)), ValueError, r"weight_shape must be .*\(3, 3, 4\)"),
    (backward_weight(shape=(3, 3, 5, 6)), ValueError, r"weight.* 5 .*channels.*groups 1.* 4"),
    (backward_weight(shape=(3, 0, 4, 6)), ValueError, r"weight .*\(3, 0"),
    (backward_weight(shape=(3, 3, 4, "6")), TypeError, r"weight_shape must .*'6'"),
    (backward_weight(dilation=0), ValueError, r"dilation must be positive, got 0"),
    (backward_weight(groups=5), ValueError, r"groups .*channels.*5"),
    (backward_weight(out=zeros(3, 3, 4, 6, dtype=np.float64)), TypeError, r"out must have dtype float32, got float64"),
]

MATMUL = [
    (lambda: ops.matmul(zeros(2, 3), zeros(4, 5)), ValueError, r"\(2, 3\) @ \(4, 5\): 3 != 4"),
    (lambda: ops.matmul(zeros(7, 2, 3), zeros(7, 4, 5)), ValueError, r"\(7, 2, 3\) @ \(7, 4, 5\): 3 != 4"),
    (lambda: ops.matmul(zeros(7, 2, 3), zeros(6, 3, 5)), ValueError, r"\(7, 2, 3\) @ \(6, 3, 5\)"),
    (lambda: ops.matmul(np.float32(2), A), ValueError, r"a must .*0-D"),
    (lambda: ops.matmul(A, np.float32(2)), ValueError, r"b must .*0-D"),
    (lambda: ops.matmul(A, A.T.astype(np.float64)), TypeError, r"b must have the dtype .*float32.*float64"),
    (lambda: ops.matmul(A.astype(int), A.T), TypeError, "a must be " + DTYPE_HINT.format("int64")),
    (lambda: ops.matmul(None, A), TypeError, r"a must be an array, got NoneType"),
    (lambda: ops.matmul(A, A.T, out=zeros(5, 6)), ValueError, r"out must have shape \(5, 5\), got \(5, 6\)"),
    (lambda: ops.matmul(A, A.T, out=readonly(zeros(5, 5))), ValueError, r"output array is read-only"),
    (lambda: ops.matmul(A, A.T, out=self_overlapping((5, 5))), ValueError, r"output array has internal overlap"),
    (
        lambda: ops.matmul(A, A.T, out=zeros(5, 5, dtype=np.float64)),
        TypeError,
        r"out must have dtype float32, got float64",
    ),
]

DENSE = [
    (lambda: ops.dense(A, zeros(5, 3)), ValueError, r"weight expects 5 inputs, x has 6"),
    (lambda: ops.dense(A, zeros(6)), ValueError, r"weight must be 2-D"),
    (lambda: ops.dense(A, zeros(6, 3), zeros(4)), ValueError, r"bias must have shape \(3,\), got \(4,\)"),
    (lambda: ops.dense(np.float32(1), zeros(6, 3)), ValueError, r"x must .*\(\)"),
    (lambda: ops.dense(A, zeros(6, 3), activation="foo"), ValueError, r"activation must be .*relu.*sigmoid.*'foo'"),
]

INDICES, DPOOL = np.zeros((2, 2, 3, 4), np.uint8), zeros(2, 2, 3, 4)


def pool_backward(dy=DPOOL, indices=INDICES, shape=X.shape, kernel=2):
    return lambda: ops.max_pool2d_backward(dy, indices, shape, kernel)


MAX_POOL = [
    (lambda: ops.max_pool2d(X, 3, 2, 2), ValueError, r"pad.* at most half .*kernel"),
    (lambda: ops.max_pool2d(X, 0), ValueError, r"kernel_size must be positive, got 0"),
    (lambda: ops.max_pool2d(X, (2, -1)), ValueError, r"kernel_size must be positive, got \(2, -1\)"),
    (lambda: ops.max_pool2d(X, 7), ValueError, r"kernel \(7, 7\) is larger than the padded input \(5, 6\)"),
    (lambda: ops.max_pool2d(X, 2**31), ValueError, r"kernel .*larger than the padded input"),
    (lambda: ops.max_pool2d(X, 2**63 - 1), ValueError, r"kernel"),
    (lambda: ops.max_pool2d(X, 2, 0), ValueError, r"stride must be positive, got 0"),
    (lambda: ops.max_pool2d(X, 2, 2, -1), ValueError, r"padding must not be negative, got -1"),
    (lambda: ops.max_pool2d(X, 2, 2, 0, 0), ValueError, r"dilation must be positive, got 0"),
    (lambda: ops.max_pool2d(X, 2.0), TypeError, r"kernel_size must be an int or a tuple of 2 ints, got 2\.0"),
    (lambda: ops.max_pool2d(X[0], 2), ValueError, r"x must be 4-D \(N, H, W, C\), got shape \(5, 6, 4\)"),
    (lambda: ops.max_pool2d(X.astype(int), 2), TypeError, "x must be " + DTYPE_HINT.format("int64")),
    (
        lambda: ops.max_pool2d(X, 2, out=zeros(2, 2, 3, 5)),
        ValueError,
        r"out must have shape \(2, 2, 3, 4\), got \(2, 2, 3, 5\)",
    ),
]

MAX_POOL_BACKWARD = [
    (pool_backward(indices=INDICES + np.uint8(4)), ValueError, r"indices"),
    (pool_backward(indices=INDICES + np.uint8(255)), ValueError, r"indices"),
    (pool_backward(indices=INDICES.astype(np.float32)), TypeError, r"indices must .*uint8.*float32"),
    (pool_backward(indices=INDICES.astype(np.int32) - 1), (TypeError, ValueError), r"indices"),
    (pool_backward(indices=INDICES.astype(np.int64)), TypeError, r"indices must .*uint8.*int64"),
    (pool_backward(indices=INDICES[:1]), ValueError, r"indices must have shape \(2, 2, 3, 4\), got \(1, 2, 3, 4\)"),
    (pool_backward(dy=zeros(2, 2, 2, 4)), ValueError, r"dy must have shape \(2, 2, 3, 4\), got \(2, 2, 2, 4\)"),
    (pool_backward(shape=(2, 5, 6)), ValueError, r"input_shape must be"),
    (pool_backward(kernel=0), ValueError, r"kernel_size must be positive, got 0"),
]

AVG_POOL = [
    (lambda: ops.avg_pool2d(X, 3, 2, 2), ValueError, r"pad.* at most half .*kernel"),
    (lambda: ops.avg_pool2d(X, 9), ValueError, r"kernel \(9, 9\) is larger than the padded input \(5, 6\)"),
    (lambda: ops.avg_pool2d(X, 2, -1), ValueError, r"stride must be positive, got -1"),
]

LABELS = np.array([0, 3, 2, 1, 0])

SOFTMAX = [
    (lambda: ops.softmax(A, axis=7), np.exceptions.AxisError, r"axis must be in -2\.\.\.1, got 7"),
    (lambda: ops.softmax(zeros(3, 0)), ValueError, r"\(3, 0\)"),
    (lambda: ops.softmax(A.astype(int)), TypeError, DTYPE_HINT.format("int64")),
]

CROSS_ENTROPY = [
    (lambda: ops.softmax_cross_entropy(A[:, :3], LABELS), ValueError, r"label 3 at index 1 is outside 0\.\.\.2"),
    (lambda: ops.softmax_cross_entropy(A[:, :4], LABELS - 1), ValueError, r"label -1 at index 0 is outside 0\.\.\.3"),
    (lambda: ops.softmax_cross_entropy(A, LABELS[:4]), ValueError, r"target .*\(4,\)"),
    (lambda: ops.softmax_cross_entropy(A, LABELS + 0.5), (TypeError, ValueError), r"target"),
    (lambda: ops.softmax_cross_entropy(A, LABELS > 1), TypeError, r"target .*bool"),
    (lambda: ops.softmax_cross_entropy(A, LABELS.astype(str)), TypeError, r"target"),
    (lambda: ops.softmax_cross_entropy(A, A[:, :5]), ValueError, r"target .*\(5, 5\)"),
    (lambda: ops.softmax_cross_entropy(A, LABELS, label_smoothing=-0.1), ValueError, r"label_smoothing .*-0\.1"),
    (lambda: ops.softmax_cross_entropy(A, LABELS, label_smoothing=1.5), ValueError, r"label_smoothing .*1\.5"),
]

DROPOUT = [
    (lambda bad=bad: ops.dropout(A, bad, seed=0, step=0), ValueError, r"p must .*0.*1.*" + re.escape(str(bad)))
    for bad in (1.0, -0.1, np.nan, np.inf)
]

BATCH_NORM = [
    (lambda: ops.batch_norm(X, zeros(4), zeros(4), eps=0.0), ValueError, r"eps must be positive"),
    (lambda: ops.batch_norm(X, zeros(4), zeros(4), eps=-1.0), ValueError, r"eps must be positive, got -1\.0"),
    (lambda: ops.batch_norm(X, zeros(5), zeros(4)), ValueError, r"mean must have shape \(4,\), got \(5,\)"),
    (
        lambda: ops.batch_norm(X, zeros(4), zeros(4), zeros(4, 1)),
        ValueError,
        r"weight must have shape \(4,\), got \(4, 1\)",
    ),
]

TABLE = [
    (function, *row)
    for function, rows in [
        ("conv2d", CONV2D),
        ("conv2d_backward_input", BACKWARD_INPUT),
        ("conv2d_backward_weight", BACKWARD_WEIGHT),
        ("matmul", MATMUL),
        ("dense", DENSE),
        ("max_pool2d", MAX_POOL),
        ("max_pool2d_backward", MAX_POOL_BACKWARD),
        ("avg_pool2d", AVG_POOL),
        ("softmax", SOFTMAX),
        ("softmax_cross_entropy", CROSS_ENTROPY),
        ("dropout", DROPOUT),
        ("batch_norm", BATCH_NORM),
    ]
    for row in rows
]


@pytest.mark.parametrize("function, call, error, words", TABLE, ids=[f"{row[0]}-{row[3][:50]}" for row in TABLE])
def test_error(function, call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert caught.type in (error if isinstance(error, tuple) else (error,))
    message = str(caught.value)
    start = "" if words == "array is too big" else f"{function}: "  # NumPy's own error
    assert re.search(f"^{start}.*?{words}", message), message
    assert len(message) < 400 and "\n" not in message
    assert_exact(ops.conv2d(X, W, B), EXPECTED)  # a valid call works
    for array, copy in zip(INPUTS, COPIES):
        np.testing.assert_array_equal(array, copy)


def test_unknown_keyword_is_named():
    for op, arguments in [(ops.conv2d, (X, W)), (ops.matmul, (A, A.T)), (ops.conv2d_backward_input, (DY, W, X.shape))]:
        with pytest.raises(TypeError, match="paddding"):
            op(*arguments, paddding=1)


def test_nothing_is_written_when_a_call_fails():
    out = np.full(EXPECTED.shape, np.nan, np.float32)
    for options in [dict(stride=0), dict(padding="foo"), dict(bias=zeros(7)), dict(num_threads=0), dict(groups=3)]:
        with pytest.raises(ValueError):
            ops.conv2d(X, W, **options, out=out)
    assert np.isnan(out).all()


# --- odd inputs that are right -------------------------------------------------------------------------------------------


class Frame:
    """An object that turns into an array when asked, as a pandas frame does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


class Subclass(np.ndarray):
    pass


def test_array_likes():
    assert_exact(ops.conv2d(Frame(X), Frame(W), Frame(B)), EXPECTED)
    assert_exact(ops.conv2d(X.astype(float).tolist(), W.astype(float).tolist(), B.astype(float).tolist()), EXPECTED)
    y = ops.conv2d(X.view(Subclass), W)
    assert type(y) is np.ndarray
    with pytest.raises(ValueError, match="inhomogeneous"):  # NumPy's own words
        ops.conv2d([[[[1.0, 2.0], [3.0]]]], W)


def test_memmap(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    assert_exact(ops.conv2d(np.load(path, mmap_mode="r"), W, B), EXPECTED)


def test_integers_of_any_kind_are_geometry():
    expected = ops.conv2d(X, W, None, (2, 1), (1, 0), 1, 1)
    for integer in (np.int64, np.uint8, np.int16):
        stride, padding = (integer(2), integer(1)), [integer(1), integer(0)]
        assert_same_bits(ops.conv2d(X, W, None, stride, padding, integer(1), integer(1)), expected)
    assert_same_bits(ops.conv2d(X, W, None, np.array([2, 1]), np.array([1, 0])), expected)


def test_padding_names_in_any_case():
    for name in ("same", "valid", "same_lower"):
        for stride in (1, 2):
            assert_same_bits(ops.conv2d(X, W, None, stride, name.upper()), ops.conv2d(X, W, None, stride, name))
    assert ops.conv2d(X, W, None, 2, "same").shape == (2, 3, 3, 6)
    assert_exact(ops.conv2d(X, W, None, 2, "same"), ref.conv2d(X, W, None, 2, "same"))


def test_huge_stride_has_one_output():
    for stride in (2**31, 2**40, 2**62 - 1):
        assert_exact(ops.conv2d(X, W, B, stride), ref.conv2d(X, W, B, 100))
        assert_exact(
            ops.conv2d_backward_input(DY[:, :1, :1], W, X.shape, stride),
            ref.conv2d_backward_input(DY[:, :1, :1], W, X.shape, 100),
        )
        assert_exact(
            ops.conv2d_backward_weight(X, DY[:, :1, :1], W.shape, stride),
            ref.conv2d_backward_weight(X, DY[:, :1, :1], W.shape, 100),
        )
    one = W[:1, :1]
    assert_exact(ops.conv2d(X, one, dilation=2**62 - 1), ref.conv2d(X, one))  # one tap: dilation means nothing


def test_strides_beyond_32_bits():
    """Elements 4 GiB apart (reserved, never touched in between)."""
    step = 2**32
    memory = mmap.mmap(
        -1, 4 * step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    )
    x = np.ndarray((4, 3, 4, 2), np.float32, memory, 0, (step, 4 * 8, 8, 4))
    x[...] = RNG.integers(-3, 4, x.shape)
    w = RNG.integers(-3, 4, (2, 2, 2, 3)).astype(np.float32)
    expected = ref.conv2d(x, w)
    assert_exact(ops.conv2d(x, w), expected)
    out = np.ndarray(expected.shape, np.float32, memory, 1 << 20, (step, 36, 12, 4))
    ops.conv2d(x, w, out=out)
    assert_exact(out, expected)
    assert_exact(ops.matmul(x[:, 0, 0], w[0, 0]), ref.matmul(x[:, 0, 0], w[0, 0]))


@pytest.mark.parametrize(
    "call, size",
    [
        ("ops.conv2d(x, x, padding=2**19)", "4 TiB"),
        ("ops.conv2d_backward_input(np.broadcast_to(x, (2**20, 2**20, 1, 1)), x, (2**20, 2**20, 1, 1))", "4 TiB"),
        ("ops.matmul(np.broadcast_to(x[0, 0], (2**20, 1)), np.broadcast_to(x[0, 0], (1, 2**20)))", "4 TiB"),
        ("ops.conv2d(np.broadcast_to(x, (2**31, 1, 1, 1)), x)", "8 GiB"),
    ],
)
def test_too_large_an_output_is_a_memory_error(call, size):
    code = f"""
import resource, time
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
import numpy as np
from cnnfast import ops
x = np.ones((1, 1, 1, 1), np.float32)
start = time.process_time()
try:
    {call}
except MemoryError as error:
    assert time.process_time() - start < 1
    assert ops.conv2d(x, x) == 1
    print(error)
"""
    child = run_python(code)
    assert child.returncode == 0, child.stderr
    message = child.stdout.replace(".00", "")  # NumPy's own words, where it was NumPy that refused
    assert message.startswith(f"Unable to allocate {size} for an array with shape ("), message


# --- matmul --------------------------------------------------------------------------------------------------------------


def test_matmul_of_nothing():
    assert_exact(ops.matmul(zeros(3, 0), zeros(0, 4)), np.zeros((3, 4)))
    out = np.full((3, 4), np.nan, np.float32)
    assert_exact(ops.matmul(zeros(3, 0), zeros(0, 4), out=out), np.zeros((3, 4)))
    assert ops.matmul(zeros(0, 3), zeros(3, 4)).shape == (0, 4)
    assert ops.matmul(zeros(3, 3), zeros(3, 0)).shape == (3, 0)


def test_matmul_of_one_array_with_itself():
    for a, b in [(A[:5, :5], A[:5, :5]), (A, A.T), (A.T, A), (A[1:], A[:4].T), (A[:, ::2], A[:, 1::2].T)]:
        assert_exact(ops.matmul(a, b), ref.matmul(a, b))


def test_results_stay_valid_after_their_inputs_change():
    """An output is never a view of an input or of a workspace."""
    x, a = X.copy(), A.copy()
    results = [ops.conv2d(x, W[:1, :1]), ops.matmul(a, np.eye(6, dtype=np.float32)), ops.conv2d_backward_bias(x)]
    copies = [r.copy() for r in results]
    x[...], a[...] = 9, 9
    for _ in range(5):
        ops.conv2d(x, W), ops.matmul(a, a.T)
    for result, copy in zip(results, copies):
        assert_within(result, copy, 0)
