"""Batch normalization, its statistics, its gradients, and the moving averages."""

import numpy as np

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.check cimport (
    as_array, as_like, as_same, deliver, is_channels_first, number, result, to_first, to_last
)
from cnnfast.ops.conv2d cimport activation_code
from cnnfast.ops.cpu cimport cnf_kernel, cnf_norm, kernels
from cnnfast.ops.elementwise cimport elementwise
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport run, thread_count

cnp.import_array()

cdef Py_ssize_t COLUMNS = 128     # at least so wide is a row of the kernels
cdef Py_ssize_t CHUNK = 32768     # elements of a chunk, about
cdef Py_ssize_t MOST_ROWS = 256   # of a chunk: bounds the error of its sums


cdef int _plan(cnf_norm *job, cnp.ndarray x, str func) except -1:
    """Cuts x, channels-last, into chunks that depend on its shape alone."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    memset(job, 0, sizeof(job[0]))
    job.channels = cnp.PyArray_DIM(x, ndim - 1)
    if job.channels == 0:
        raise ValueError(f"{func}: x must have at least 1 channel, got shape {(<object>x).shape}")
    job.period = job.channels
    while job.period < COLUMNS:
        job.period *= 2
    job.rows = min(MOST_ROWS, max(16, CHUNK // job.period))
    job.all_rows, job.tail = cnp.PyArray_SIZE(x) // job.period, cnp.PyArray_SIZE(x) % job.period
    job.chunks = (job.all_rows + job.rows - 1) // job.rows + (job.tail != 0)
    return 0


cdef Block _workspace(cnf_norm *job, cnp.ndarray x):
    """Everything that statistics and gradients need: merged (doubles come first), tiled, partial."""
    cdef size_t period = <size_t>job.period * cnp.PyArray_ITEMSIZE(x), merged = 2 * <size_t>job.channels * sizeof(double)
    cdef Block work = block(merged + (4 + 3 * <size_t>job.chunks) * period)
    job.merged = <double *>work.data
    job.tiled = <char *>work.data + merged
    job.partial = <char *>job.tiled + 4 * period
    return work


cdef cnp.ndarray _last(object x, str func, str name, object data_format, cnp.ndarray like):
    """`x` as a channels-last array, of the dtype (and the caller's shape) of `like` if that is given."""
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray a = as_array(x, func, name) if like is None else as_like(x, like, func, name)
    if cnp.PyArray_NDIM(a) < 1 + first:
        layout = "(N, C, ...)" if first else "(..., C)"
        raise ValueError(f"{func}: {name} must be {layout}, got shape {(<object>a).shape}")
    return to_last(a) if first else a


cdef cnp.ndarray _of_channels(object v, cnp.ndarray x, Py_ssize_t channels, str func, str name):
    cdef cnp.ndarray a = as_like(v, x, func, name)
    if cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_DIM(a, 0) != channels:
        raise ValueError(f"{func}: {name} must have shape {(channels,)}, got {(<object>a).shape}")
    return a


cdef double _eps(object eps, str func) except? -1.0:
    cdef double value = number(eps, func, "eps")
    if value <= 0:
        raise ValueError(f"{func}: eps must be positive, got {eps!r}")
    return value


cdef int _each_chunk(cnf_kernel *kernel, cnf_norm *job, double cost, str func, object num_threads) except -1:
    cdef int workers = thread_count(num_threads, job.chunks, cost * (job.all_rows * job.period + job.tail), func)
    with nogil:
        run(kernel, job, job.chunks, workers)
    return 0


cdef cnp.ndarray _vector(object out, str func, cnf_norm *job, int typenum, tuple inputs):
    cdef cnp.npy_intp shape = job.channels
    return result(out, func, 1, &shape, typenum, inputs)


cdef tuple _outs(object out, int count, str func):
    if out is None:
        return (None,) * count
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{func}: out must be a tuple of {count} arrays, got {type(out).__name__}")
    return out


cdef object _image(cnf_kernel *kernel, cnf_norm *job, double cost, str func, cnp.ndarray x, tuple inputs,
                   cnp.ndarray inplace, bint first, object out, object num_threads):
    """Runs a kernel that maps x, channels-last, to an array like it; hands it over in the caller's layout."""
    cdef cnp.ndarray y
    cdef int typenum = cnp.PyArray_TYPE(x)
    if first and out is not None:  # checked against the shape the caller sees; computed apart, then copied
        view = np.moveaxis(x, -1, 1)
        shape = view.shape
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != x.dtype:
            result(out, func, cnp.PyArray_NDIM(<cnp.ndarray>view), cnp.PyArray_DIMS(<cnp.ndarray>view), typenum, ())
    y = result(None if first else out, func, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), typenum, inputs, inplace)
    job.y = cnp.PyArray_DATA(y)
    _each_chunk(kernel, job, cost, func, num_threads)
    if not first:
        return deliver(y, out)
    if out is None:
        return to_first(y)
    out[...] = np.moveaxis(y, -1, 1)
    return out


def batch_norm(x, mean, var, weight=None, bias=None, eps=1e-5, *, activation=None, data_format="channels_last",
               out=None, num_threads=None):
    """``activation((x - mean) / sqrt(var + eps) * weight + bias)`` by channel (Ioffe & Szegedy, arXiv 1502.03167).

    Parameters
    ----------
    x : array_like
        float32 or float64, (..., C).
    mean, var : array_like
        Shape (C,), dtype of `x`: moving averages, or in training those of `batch_norm_stats`.
    weight, bias : array_like, optional
        Shape (C,), dtype of `x`; 1 and 0 by default.
    eps : float
        Positive.
    activation : {None, "relu", "sigmoid"}
        Applied in the same pass.
    data_format : {"channels_last", "channels_first"}
        channels_first: `x` is (N, C, ...).
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    cdef str func = "batch_norm"
    cdef cnf_norm job
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _last(x, func, "x", data_format, None), m, v, w = None, b = None
    cdef int typenum = cnp.PyArray_TYPE(xa)
    _plan(&job, xa, func)
    m = _of_channels(mean, xa, job.channels, func, "mean")
    v = _of_channels(var, xa, job.channels, func, "var")
    if weight is not None:
        w = _of_channels(weight, xa, job.channels, func, "weight")
    if bias is not None:
        b = _of_channels(bias, xa, job.channels, func, "bias")
    job.eps = _eps(eps, func)
    job.mode = activation_code(activation, func)
    cdef Block tiled = block(<size_t>(3 * job.period * cnp.PyArray_ITEMSIZE(xa)))
    job.x, job.mean, job.var = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(m), cnp.PyArray_DATA(v)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.bias = cnp.PyArray_DATA(b) if b is not None else NULL
    job.tiled = tiled.data
    run(kernels(typenum).batch_norm_tile, &job, job.channels, 1)
    return _image(kernels(typenum).batch_norm, &job, 0.4, func, xa, (xa, m, v, w, b), xa, first, out, num_threads)


def batch_norm_stats(x, *, data_format="channels_last", out=None, num_threads=None):
    """Mean and biased variance of each channel, accurate however large the mean.

    Parameters
    ----------
    x : array_like
        float32 or float64, (..., C), more than one value a channel.
    data_format : {"channels_last", "channels_first"}
        channels_first: `x` is (N, C, ...).
    out : tuple of two ndarrays, optional
        Where to write the mean and the variance.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    mean, var : ndarray
        Shape (C,).
    """
    cdef str func = "batch_norm_stats"
    cdef cnf_norm job
    cdef cnp.ndarray xa = _last(x, func, "x", data_format, None), mean, var
    cdef int typenum = cnp.PyArray_TYPE(xa)
    _plan(&job, xa, func)
    if cnp.PyArray_SIZE(xa) < 2 * job.channels:
        raise ValueError(f"{func}: x must have more than 1 value per channel, got shape {np.shape(x)}")
    outs = _outs(out, 2, func)
    mean = _vector(outs[0], func, &job, typenum, (xa, outs[1]))
    var = _vector(outs[1], func, &job, typenum, (xa, outs[0]))
    cdef Block _work = _workspace(&job, xa)  # held until the op returns
    job.x = cnp.PyArray_DATA(xa)
    job.first, job.second = cnp.PyArray_DATA(mean), cnp.PyArray_DATA(var)
    _each_chunk(kernels(typenum).batch_norm_moments, &job, 0.3, func, num_threads)
    run(kernels(typenum).batch_norm_merge_moments, &job, 1, 1)
    return deliver(mean, outs[0]), deliver(var, outs[1])


def batch_norm_backward(dy, x, mean, var, weight=None, eps=1e-5, *, training=True, data_format="channels_last",
                        out=None, num_threads=None):
    """Gradients of `batch_norm` (without activation).

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, mean, var, weight, eps
        As given to the forward op.
    training : bool
        `mean` and `var` are those of `x` and pass on their own gradient; else they are constants.
    data_format : {"channels_last", "channels_first"}
        channels_first: `x` and `dy` are (N, C, ...).
    out : tuple of three ndarrays, optional
        Where to write the results; None in it for those to be made. The first may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight, dbias : ndarray
        Shape (C,).
    """
    cdef str func = "batch_norm_backward"
    cdef cnf_norm job
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _last(x, func, "x", data_format, None), d = _last(dy, func, "dy", data_format, xa)
    cdef cnp.ndarray m, v, w = None, dweight, dbias
    cdef int typenum = cnp.PyArray_TYPE(xa)
    if not cnp.PyArray_SAMESHAPE(xa, d):
        raise ValueError(f"{func}: dy must have shape {np.shape(x)}, got {np.shape(dy)}")
    _plan(&job, xa, func)
    m = _of_channels(mean, xa, job.channels, func, "mean")
    v = _of_channels(var, xa, job.channels, func, "var")
    if weight is not None:
        w = _of_channels(weight, xa, job.channels, func, "weight")
    job.eps = _eps(eps, func)
    job.mode = bool(training)
    outs = _outs(out, 3, func)
    cdef tuple inputs = (xa, d, m, v, w)
    dweight = _vector(outs[1], func, &job, typenum, inputs + (outs[0], outs[2]))
    dbias = _vector(outs[2], func, &job, typenum, inputs + (outs[0], outs[1]))
    cdef Block _work = _workspace(&job, xa)  # held until the op returns
    job.x, job.dy = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(d)
    job.mean, job.var = cnp.PyArray_DATA(m), cnp.PyArray_DATA(v)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.first, job.second = cnp.PyArray_DATA(dweight), cnp.PyArray_DATA(dbias)
    run(kernels(typenum).batch_norm_tile, &job, job.channels, 1)
    _each_chunk(kernels(typenum).batch_norm_sums, &job, 0.4, func, num_threads)
    run(kernels(typenum).batch_norm_merge_sums, &job, 1, 1)
    dx = _image(kernels(typenum).batch_norm_backward, &job, 0.6, func, xa, inputs, d, first, outs[0], num_threads)
    return dx, deliver(dweight, outs[1]), deliver(dbias, outs[2])


def moving_average(average, value, momentum, *, out=None, num_threads=None):
    """``average * momentum + value * (1 - momentum)``.

    Parameters
    ----------
    average, value : array_like
        float32 or float64, of one shape and dtype.
    momentum : float
        In 0 <= momentum <= 1.
    out : ndarray, optional
        Where to write the result; `average` for an update in place.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `average`.
    """
    cdef str func = "moving_average"
    cdef cnp.ndarray a = as_array(average, func, "average"), v = as_same(value, a, func, "value")
    cdef double keep = number(momentum, func, "momentum")
    if not 0 <= keep <= 1:
        raise ValueError(f"{func}: momentum must be in 0 <= momentum <= 1, got {momentum!r}")
    return elementwise(func, kernels(cnp.PyArray_TYPE(a)).moving_average, 0.4, a, v, None, keep, 1 - keep, 0, out, num_threads)
