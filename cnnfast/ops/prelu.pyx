"""A rectifier whose slope for negative values is learned (He et al., ICCV 2015)."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, as_like, as_same, deliver, outs_of, result
from cnnfast.ops.columns cimport column_sums, columns_workspace, plan_period, run_columns, spread
from cnnfast.ops.copy cimport copied
from cnnfast.ops.cpu cimport cnf_norm, kernels
from cnnfast.ops.memory cimport Block
from cnnfast.ops.threads cimport run, unrepeatable

cnp.import_array()


cdef cnp.ndarray _slopes(object weight, cnp.ndarray x, str func):
    cdef cnp.ndarray w = as_like(weight, x, func, "weight")
    shape, sample = (<object>w).shape, (<object>x).shape[1:]
    if len(shape) != len(sample) or any([n not in (1, m) for n, m in zip(shape, sample)]) or not cnp.PyArray_NDIM(x):
        raise ValueError(f"{func}: weight must have the shape of a sample of x, {sample}, or 1s in it, got {shape}")
    return w


cdef tuple _columns(cnp.ndarray w, cnp.ndarray x):
    """The axes of a sample from the first one on along which the slopes differ; at least one, if there is one."""
    shape, sample = (<object>w).shape, (<object>x).shape[1:]
    axis = 0
    while axis < len(shape) - 1 and shape[axis] == 1:
        axis += 1
    return axis, sample[axis:]


cdef cnp.ndarray _plan(cnf_norm *job, cnp.ndarray x, cnp.ndarray w):
    """Plans the job; returns a slope for each of its columns, for `tiled`."""
    axis, shape = _columns(w, x)
    cdef cnp.ndarray spaced = spread(w.reshape((<object>w).shape[axis:]), shape)
    plan_period(job, cnp.PyArray_SIZE(x), cnp.PyArray_SIZE(spaced))
    return spread(spaced.reshape(-1), (job.period // job.channels, job.channels))


def prelu(x, weight, *, out=None, num_threads=None):
    """`x`, times `weight` where it is not positive.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, ...).
    weight : array_like
        Shape of a sample; 1 for axes that share a slope. Dtype of `x`.
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
        `weight` does not fit `x`, or an argument is no float array.
    """
    cdef str func = "prelu"
    cdef cnp.ndarray xa = as_array(x, func, "x"), w = _slopes(weight, xa, func), y, tiled
    cdef cnf_norm job
    cdef int typenum = cnp.PyArray_TYPE(xa)
    y = result(out, func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, (xa, w), xa)
    if cnp.PyArray_SIZE(xa) > 0:
        tiled = _plan(&job, xa, w)
        job.x, job.y, job.tiled = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y), cnp.PyArray_DATA(tiled)
        run(func, kernels(typenum).prelu, &job, job.chunks, 0.3 * cnp.PyArray_SIZE(xa), num_threads)
    return deliver(y, out)


def prelu_backward(dy, x, weight, *, out=None, num_threads=None):
    """Gradients of `prelu`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, weight
        As given to the forward op.
    out : tuple of two ndarrays, optional
        Where to write the results; None in it for those to be made. The first may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight : ndarray
        Shape of `weight`.
    """
    cdef str func = "prelu_backward"
    cdef cnp.ndarray xa = as_array(x, func, "x"), g = as_same(dy, xa, func, "dy"), w = _slopes(weight, xa, func)
    cdef cnp.ndarray dx, dw, tiled, total
    cdef cnf_norm job
    cdef Block _work  # held until the op returns
    cdef int typenum = cnp.PyArray_TYPE(xa)
    outs = outs_of(out, 2, func)
    dx = result(outs[0], func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, (xa, g, w, outs[1]), g)
    dw = result(outs[1], func, cnp.PyArray_NDIM(w), cnp.PyArray_DIMS(w), typenum, (xa, g, w, outs[0]))
    if cnp.PyArray_SIZE(xa) > 0:
        tiled = _plan(&job, xa, w)
        axis, shape = _columns(w, xa)
        shared = [i for i, n in enumerate((<object>w).shape[axis:]) if n != shape[i]]
        total = <cnp.ndarray>np.empty(0) if not shared else _vector(job.channels, typenum)
        _work = columns_workspace(&job, xa)
        job.x, job.dy, job.y = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(g), cnp.PyArray_DATA(dx)
        job.tiled = cnp.PyArray_DATA(tiled)
        job.first = cnp.PyArray_DATA(total) if shared else cnp.PyArray_DATA(dw)
        run(func, kernels(typenum).prelu_backward, &job, job.chunks, 0.5 * cnp.PyArray_SIZE(xa), num_threads)
        run_columns(kernels(typenum).column_sum_merge, &job)
        if shared:  # one slope for several of the columns
            kept = [i for i in range(len(shape)) if i not in shared]
            turned = copied(total.reshape(shape).transpose(shared + kept)).reshape(-1, dw.size)
            column_sums(func, turned, None, None, dw.reshape(-1), num_threads)
    else:
        unrepeatable()
        dw[...] = 0
    return deliver(dx, outs[0]), deliver(dw, outs[1])


cdef cnp.ndarray _vector(cnp.npy_intp size, int typenum):
    return result(None, "prelu_backward", 1, &size, typenum, ())
