"""Activations and their gradients, over arrays of any shape.

A ``*_backward`` takes the gradient `dy` of the output and what the forward op saw (`x`) or gave (`y`), all of one shape and
dtype, and returns the gradient of the input."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, as_same, deliver, number, result
from cnnfast.ops.columns cimport column_sums
from cnnfast.ops.conv2d cimport activation_code
from cnnfast.ops.cpu cimport cnf_kernel, cnf_rows, kernels
from cnnfast.ops.elementwise cimport elementwise
from cnnfast.ops.rows cimport rows_along, map_rows

cnp.import_array()


def exp(x, *, out=None, num_threads=None):
    """e**x, within 1 ULP.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "exp", "x")
    return elementwise("exp", kernels(cnp.PyArray_TYPE(xa)).exp, 0.5, xa, None, None, 0, 0, 0, out, num_threads)


def log(x, *, out=None, num_threads=None):
    """Natural logarithm, within 1 ULP; -inf at 0, NaN below.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "log", "x")
    return elementwise("log", kernels(cnp.PyArray_TYPE(xa)).log, 0.8, xa, None, None, 0, 0, 0, out, num_threads)


def relu(x, *, out=None, num_threads=None):
    """max(0, x); NaN stays NaN.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "relu", "x")
    return elementwise("relu", kernels(cnp.PyArray_TYPE(xa)).relu, 0.3, xa, None, None, 0, 0, 0, out, num_threads)


def relu_backward(dy, x, *, return_dbias=False, out=None, num_threads=None):
    """Gradient of `relu`: `dy` where ``x > 0``, else 0 (at 0 and at NaN too).

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op, or its output; shape and dtype of `dy`.
    return_dbias : bool
        Also return the result's sum over all axes but the last, in the same pass: the gradient of the bias before the ReLU,
        with the bits of `conv2d_backward_bias`.
    out : ndarray, optional
        Where to write the result; may be `dy`. With `return_dbias` a tuple of two arrays, None for one to be made.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    dx : ndarray
        Gradient of the input; shape and dtype of `dy`.
    dbias : ndarray
        Shape (C,), C the last extent of `dy`; only with `return_dbias`.
    """
    cdef cnp.ndarray dya = as_array(dy, "relu_backward", "dy"), xa = as_same(x, dya, "relu_backward", "x"), dx
    if return_dbias:
        if cnp.PyArray_NDIM(dya) < 1:
            raise ValueError("relu_backward: dy must be (..., C) for return_dbias, got shape ()")
        outs = (None, None) if out is None else out
        if not isinstance(outs, tuple) or len(outs) != 2:
            raise TypeError(f"relu_backward: out must be a tuple of 2 arrays, got {type(out).__name__}")
        dx = result(outs[0], "relu_backward", cnp.PyArray_NDIM(dya), cnp.PyArray_DIMS(dya), cnp.PyArray_TYPE(dya), (dya, xa), dya)
        dbias = column_sums("relu_backward", dya, xa, dx, outs[1], num_threads)
        return deliver(dx, outs[0]), dbias
    return elementwise("relu_backward", kernels(cnp.PyArray_TYPE(dya)).relu_backward, 0.4, dya, xa, None, 0,
                       0, 0, out, num_threads)


def leaky_relu(x, negative_slope=0.01, *, out=None, num_threads=None):
    """x where ``x > 0``, else ``negative_slope * x``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    negative_slope : float
        Slope left of 0.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "leaky_relu", "x")
    cdef double a = number(negative_slope, "leaky_relu", "negative_slope")
    return elementwise("leaky_relu", kernels(cnp.PyArray_TYPE(xa)).leaky_relu, 0.3, xa, None, None, a, 0, 0, out, num_threads)


def leaky_relu_backward(dy, x, negative_slope=0.01, *, out=None, num_threads=None):
    """Gradient of `leaky_relu`; at 0 it is ``negative_slope * dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op; shape and dtype of `dy`.
    negative_slope : float
        Slope left of 0.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "leaky_relu_backward", "dy"), xa = as_same(x, dya, "leaky_relu_backward", "x")
    cdef double a = number(negative_slope, "leaky_relu_backward", "negative_slope")
    return elementwise("leaky_relu_backward", kernels(cnp.PyArray_TYPE(dya)).leaky_relu_backward, 0.4, dya,
                       xa, None, a, 0, 0, out, num_threads)


cdef int _limits(double *limits, object max_value, object negative_slope, object threshold, str func) except -1:
    """negative_slope, threshold, max_value (NaN: none)"""
    limits[0] = number(negative_slope, func, "negative_slope")
    limits[1] = number(threshold, func, "threshold")
    limits[2] = np.nan if max_value is None else number(max_value, func, "max_value")
    if limits[2] < limits[1]:
        raise ValueError(f"{func}: max_value must be at least the threshold, {threshold!r}, got {max_value!r}")
    return 0


def clipped_relu(x, max_value=None, negative_slope=0.0, threshold=0.0, *, out=None, num_threads=None):
    """x where ``x > threshold``, at most `max_value`; else ``negative_slope * (x - threshold)``. NaN stays NaN.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    max_value : float, optional
        Not below `threshold`; by default there is none. 6 is ReLU6.
    negative_slope, threshold : float
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "clipped_relu", "x")
    cdef double limits[3]
    _limits(limits, max_value, negative_slope, threshold, "clipped_relu")
    return elementwise("clipped_relu", kernels(cnp.PyArray_TYPE(xa)).clipped_relu, 0.3, xa, None, None, limits[0], limits[1], 0,
                       out, num_threads, limits[2])


def clipped_relu_backward(dy, x, max_value=None, negative_slope=0.0, threshold=0.0, *, out=None, num_threads=None):
    """Gradient of `clipped_relu`: 0 from `max_value` on, `negative_slope` times `dy` up to the threshold, else `dy`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op; shape and dtype of `dy`.
    max_value, negative_slope, threshold
        As given to the forward op.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef str func = "clipped_relu_backward"
    cdef cnp.ndarray dya = as_array(dy, func, "dy"), xa = as_same(x, dya, func, "x")
    cdef double limits[3]
    _limits(limits, max_value, negative_slope, threshold, func)
    return elementwise(func, kernels(cnp.PyArray_TYPE(dya)).clipped_relu_backward, 0.4, dya, xa, None, limits[0], limits[1], 0,
                       out, num_threads, limits[2])


def elu(x, alpha=1.0, *, out=None, num_threads=None):
    """x where ``x > 0``, else ``alpha * (e**x - 1)`` (Clevert et al., arXiv 1511.07289).

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    alpha : float
        The limit at -inf is ``-alpha``.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "elu", "x")
    cdef double a = number(alpha, "elu", "alpha")
    return elementwise("elu", kernels(cnp.PyArray_TYPE(xa)).elu, 0.5, xa, None, None, a, 0, 0, out, num_threads)


def elu_backward(dy, x, alpha=1.0, *, out=None, num_threads=None):
    """Gradient of `elu`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op; shape and dtype of `dy`.
    alpha : float
        The limit at -inf is ``-alpha``.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "elu_backward", "dy"), xa = as_same(x, dya, "elu_backward", "x")
    cdef double a = number(alpha, "elu_backward", "alpha")
    return elementwise("elu_backward", kernels(cnp.PyArray_TYPE(dya)).elu_backward, 0.5, dya, xa, None, a, 0, 0, out, num_threads)


def sigmoid(x, *, out=None, num_threads=None):
    """1 / (1 + e**-x), within 2 ULP.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "sigmoid", "x")
    return elementwise("sigmoid", kernels(cnp.PyArray_TYPE(xa)).sigmoid, 0.8, xa, None, None, 0, 0, 0, out, num_threads)


def sigmoid_backward(dy, y, *, out=None, num_threads=None):
    """Gradient of `sigmoid`: ``dy * y * (1 - y)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    y : array_like
        Output of the forward op; shape and dtype of `dy`.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "sigmoid_backward", "dy"), ya = as_same(y, dya, "sigmoid_backward", "y")
    return elementwise("sigmoid_backward", kernels(cnp.PyArray_TYPE(dya)).sigmoid_backward, 0.4, dya, ya,
                       None, 0, 0, 0, out, num_threads)


def tanh(x, *, out=None, num_threads=None):
    """Hyperbolic tangent, within 2 ULP.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "tanh", "x")
    return elementwise("tanh", kernels(cnp.PyArray_TYPE(xa)).tanh, 0.8, xa, None, None, 0, 0, 0, out, num_threads)


def tanh_backward(dy, y, *, out=None, num_threads=None):
    """Gradient of `tanh`: ``dy * (1 - y) * (1 + y)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    y : array_like
        Output of the forward op; shape and dtype of `dy`.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "tanh_backward", "dy"), ya = as_same(y, dya, "tanh_backward", "y")
    return elementwise("tanh_backward", kernels(cnp.PyArray_TYPE(dya)).tanh_backward, 0.4, dya, ya, None, 0,
                       0, 0, out, num_threads)


def silu(x, *, out=None, num_threads=None):
    """``x * sigmoid(x)``, also called swish (Elfwing et al., arXiv 1702.03118).

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "silu", "x")
    return elementwise("silu", kernels(cnp.PyArray_TYPE(xa)).silu, 0.8, xa, None, None, 0, 0, 0, out, num_threads)


def silu_backward(dy, x, *, out=None, num_threads=None):
    """Gradient of `silu`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op; shape and dtype of `dy`.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "silu_backward", "dy"), xa = as_same(x, dya, "silu_backward", "x")
    return elementwise("silu_backward", kernels(cnp.PyArray_TYPE(dya)).silu_backward, 0.9, dya, xa, None, 0,
                       0, 0, out, num_threads)


cdef cnf_kernel *_exact_or_tanh(object approximate, str func, cnf_kernel *exact, cnf_kernel *by_tanh) except NULL:
    if approximate == "none":
        return exact
    if approximate == "tanh":
        return by_tanh
    raise ValueError(f"{func}: approximate must be 'none' or 'tanh', got {approximate!r}")


def gelu(x, approximate="none", *, out=None, num_threads=None):
    """``x * Phi(x)``, Phi being the normal distribution (Hendrycks & Gimpel, arXiv 1606.08415).

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    approximate : {"none", "tanh"}
        The normal distribution itself, or its approximation by tanh.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "gelu", "x")
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef cnf_kernel *kernel = _exact_or_tanh(approximate, "gelu", kernels(typenum).gelu, kernels(typenum).gelu_tanh)
    return elementwise("gelu", kernel, 1.2, xa, None, None, 0, 0, 0, out, num_threads)


def gelu_backward(dy, x, approximate="none", *, out=None, num_threads=None):
    """Gradient of `gelu`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    x : array_like
        Input of the forward op; shape and dtype of `dy`.
    approximate : {"none", "tanh"}
        The normal distribution itself, or its approximation by tanh.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "gelu_backward", "dy"), xa = as_same(x, dya, "gelu_backward", "x")
    cdef int typenum = cnp.PyArray_TYPE(dya)
    cdef cnf_kernel *kernel = _exact_or_tanh(
        approximate, "gelu_backward", kernels(typenum).gelu_backward, kernels(typenum).gelu_tanh_backward)
    return elementwise("gelu_backward", kernel, 1.3, dya, xa, None, 0, 0, 0, out, num_threads)


def add(a, b, *, activation=None, out=None, num_threads=None):
    """``activation(a + b)``, as at the end of a residual block.

    Parameters
    ----------
    a, b : array_like
        float32 or float64, of one shape and dtype.
    activation : {None, "relu", "sigmoid"}
        Applied in the same pass.
    out : ndarray, optional
        Where to write the result; may be `a`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `a`.
    """
    cdef cnp.ndarray first = as_array(a, "add", "a"), second = as_same(b, first, "add", "b")
    cdef int mode = activation_code(activation, "add")
    return elementwise("add", kernels(cnp.PyArray_TYPE(first)).add, 0.4, first, second, None, 0, 0, mode, out, num_threads)


def softmax(x, axis=-1, *, out=None, num_threads=None):
    """``e**x / sum(e**x)`` along an axis, without overflow for any finite x.

    A row with NaN or +inf is all NaN, and so is a row of -inf only.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    axis : int
        The axis along which the results add up to 1.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.
    """
    cdef cnp.ndarray xa = as_array(x, "softmax", "x")
    cdef cnf_rows job
    rows_along(&job, xa, axis, "softmax")
    return map_rows("softmax", kernels(cnp.PyArray_TYPE(xa)).softmax, &job, 1.2, xa, None, xa, out, num_threads)


def softmax_backward(dy, y, axis=-1, *, out=None, num_threads=None):
    """Gradient of `softmax`: ``y * (dy - sum(dy * y))``.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64, any shape.
    y : array_like
        Output of the forward op; shape and dtype of `dy`.
    axis : int
        The axis along which the results add up to 1.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Gradient of the input; shape and dtype of `dy`.
    """
    cdef cnp.ndarray dya = as_array(dy, "softmax_backward", "dy"), ya = as_same(y, dya, "softmax_backward", "y")
    cdef cnf_rows job
    rows_along(&job, dya, axis, "softmax_backward")
    return map_rows(
        "softmax_backward", kernels(cnp.PyArray_TYPE(dya)).softmax_backward, &job, 0.6, dya, ya, dya, out, num_threads)
