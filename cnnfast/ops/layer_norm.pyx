"""Normalization of each sample over its last axes."""

import math

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, as_like, as_same, deliver, integer, number, outs_of, result
from cnnfast.ops.columns cimport columns_workspace, plan_period, run_columns
from cnnfast.ops.cpu cimport cnf_norm, kernels
from cnnfast.ops.memory cimport Block
from cnnfast.ops.threads cimport run

cnp.import_array()

cdef Py_ssize_t CHUNK = 32768     # elements of a task, about
cdef Py_ssize_t MOST_ROWS = 256   # of a task: bounds the error of its sums
cdef Py_ssize_t FEWEST_ROWS = 16  # and their memory


cdef tuple _last_axes(object normalized_shape, cnp.ndarray x, str func):
    axes = normalized_shape if isinstance(normalized_shape, (list, tuple)) else (normalized_shape,)
    shape = tuple([integer(n, func, "normalized_shape", 1) for n in axes])
    if not shape or (<object>x).shape[-len(shape):] != shape:
        raise ValueError(f"{func}: normalized_shape must be the last axes of x, {(<object>x).shape}, got {shape}")
    return shape


cdef cnp.ndarray _affine(object value, cnp.ndarray x, tuple shape, str func, str name):
    if value is None:
        return None
    cdef cnp.ndarray a = as_like(value, x, func, name)
    if (<object>a).shape != shape:
        raise ValueError(f"{func}: {name} must have shape {shape}, got {(<object>a).shape}")
    return a


cdef int _plan(cnf_norm *job, cnp.ndarray x, tuple shape, Py_ssize_t fewest, object eps, str func) except -1:
    """Rows of the job are those that share a mean."""
    plan_period(job, 0, math.prod(shape))
    job.period = job.channels
    job.all_rows = cnp.PyArray_SIZE(x) // job.channels
    job.rows = min(MOST_ROWS, max(fewest, CHUNK // job.channels))
    job.chunks = (job.all_rows + job.rows - 1) // job.rows
    job.eps = number(eps, func, "eps")
    if job.eps <= 0:
        raise ValueError(f"{func}: eps must be positive, got {eps!r}")
    return 0


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, out=None, num_threads=None):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance over the last axes (Ba et al., arXiv 1607.06450).

    Parameters
    ----------
    x : array_like
        float32 or float64, ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        Sizes of the axes that share a mean.
    weight, bias : array_like, optional
        Shape `normalized_shape`, dtype of `x`; 1 and 0 by default.
    eps : float
        Positive.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "layer_norm"
    cdef cnp.ndarray xa = as_array(x, func, "x"), w, b, y
    cdef cnf_norm job
    cdef int typenum = cnp.PyArray_TYPE(xa)
    shape = _last_axes(normalized_shape, xa, func)
    w, b = _affine(weight, xa, shape, func, "weight"), _affine(bias, xa, shape, func, "bias")
    _plan(&job, xa, shape, 1, eps, func)
    y = result(out, func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, (xa, w, b), xa)
    job.x, job.y = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.bias = cnp.PyArray_DATA(b) if b is not None else NULL
    run(func, kernels(typenum).layer_norm, &job, job.chunks, 0.5 * cnp.PyArray_SIZE(xa), num_threads)
    return deliver(y, out)


def layer_norm_backward(dy, x, normalized_shape, weight=None, eps=1e-5, *, out=None, num_threads=None):
    """Gradients of `layer_norm`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, normalized_shape, weight, eps
        As given to the forward op.
    out : tuple of three ndarrays, optional
        Where to write the results; None in it for those to be made. The first may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight, dbias : ndarray
        Shape `normalized_shape`.
    """
    cdef str func = "layer_norm_backward"
    cdef cnp.ndarray xa = as_array(x, func, "x"), g = as_same(dy, xa, func, "dy"), w, dx, dweight, dbias
    cdef cnf_norm job
    cdef int typenum = cnp.PyArray_TYPE(xa), ndim
    cdef cnp.npy_intp *dims
    shape = _last_axes(normalized_shape, xa, func)
    w = _affine(weight, xa, shape, func, "weight")
    _plan(&job, xa, shape, FEWEST_ROWS, eps, func)
    outs = outs_of(out, 3, func)
    inputs = (xa, g, w)
    ndim = <int>len(shape)
    dims = cnp.PyArray_DIMS(xa) + cnp.PyArray_NDIM(xa) - ndim
    dx = result(outs[0], func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, inputs + (outs[1], outs[2]), g)
    dweight = result(outs[1], func, ndim, dims, typenum, inputs + (outs[0], outs[2]))
    dbias = result(outs[2], func, ndim, dims, typenum, inputs + (outs[0], outs[1]))
    cdef Block _work = columns_workspace(&job, xa)  # held until the op returns
    job.x, job.dy, job.y = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(g), cnp.PyArray_DATA(dx)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    run(func, kernels(typenum).layer_norm_backward, &job, job.chunks, 1.2 * cnp.PyArray_SIZE(xa), num_threads)
    job.first = cnp.PyArray_DATA(dbias)
    run_columns(kernels(typenum).column_sum_merge, &job)
    job.first = cnp.PyArray_DATA(dweight)
    job.partial = <char *>job.partial + job.period * cnp.PyArray_ITEMSIZE(xa)
    run_columns(kernels(typenum).column_sum_merge, &job)
    return deliver(dx, outs[0]), deliver(dweight, outs[1]), deliver(dbias, outs[2])
