"""A scale and an offset: the last step of batch normalization by itself, so that plans fuse it as they fuse that one."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport any_array, as_array, deliver, result
from cnnfast.ops.columns cimport plan_period, run_columns, spread
from cnnfast.ops.cpu cimport cnf_norm, kernels
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport run, unrepeatable

from cnnfast.ops.tape import hold

cnp.import_array()


cdef cnp.ndarray _numbers(object value, cnp.ndarray x, str name):
    """Numbers that broadcast to x, in its dtype and with its axes."""
    a = any_array(value, "rescale", name)
    if a.dtype.kind not in "iuf":
        raise TypeError(f"rescale: {name} must be numbers, got {value!r}")
    try:
        np.broadcast_to(a, (<object>x).shape)
    except ValueError:
        raise ValueError(f"rescale: {name} must broadcast to the shape of x, {(<object>x).shape}, got {a.shape}") from None
    numbers = hold(a.astype((<object>x).dtype, copy=False))  # a weight's own memory, or numbers that don't change
    if a is value and numbers is not a:
        unrepeatable()
    a = numbers
    return a.reshape((1,) * ((<object>x).ndim - a.ndim) + a.shape)


def rescale(x, scale, offset=0.0, *, out=None, num_threads=None):
    """``x * scale + offset``. Its gradient is ``rescale(dy, scale)``.

    Parameters
    ----------
    x : array_like
        float32 or float64.
    scale, offset : float or array_like
        They broadcast against `x`.
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
    TypeError, ValueError
        `x` is no float array, or `scale` or `offset` are no numbers that fit it.
    """
    cdef str func = "rescale"
    cdef cnp.ndarray xa = as_array(x, func, "x"), w, b, y
    cdef cnf_norm job
    cdef int typenum = cnp.PyArray_TYPE(xa), axis, ndim = cnp.PyArray_NDIM(xa)
    w, b = _numbers(scale, xa, "scale"), _numbers(offset, xa, "offset")
    y = result(out, func, ndim, cnp.PyArray_DIMS(xa), typenum, (xa, w, b), xa)
    if cnp.PyArray_SIZE(xa) == 0:
        return deliver(y, out)
    axis = 0  # the first one along which the numbers differ
    while axis < ndim - 1 and cnp.PyArray_DIM(w, axis) == 1 and cnp.PyArray_DIM(b, axis) == 1:
        axis += 1
    shape = (<object>xa).shape[axis:]
    w = spread(w.reshape((<object>w).shape[axis:]), shape)
    b = spread(b.reshape((<object>b).shape[axis:]), shape)
    plan_period(&job, cnp.PyArray_SIZE(xa), cnp.PyArray_SIZE(w))
    cdef Block tiled = block(<size_t>(3 * job.period * cnp.PyArray_ITEMSIZE(xa)))
    job.x, job.y, job.tiled = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y), tiled.data
    job.weight, job.bias = cnp.PyArray_DATA(w), cnp.PyArray_DATA(b)
    run_columns(kernels(typenum).batch_norm_tile, &job)
    run(func, kernels(typenum).batch_norm, &job, job.chunks, 0.4 * cnp.PyArray_SIZE(xa), num_threads)
    return deliver(y, out)
