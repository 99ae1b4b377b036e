"""Batch normalization, its statistics, its gradients, and the moving averages."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport (
    as_array, as_like, as_same, deliver, image_answer, image_out, is_channels_first, number, outs_of, result, to_last
)
from cnnfast.ops.columns cimport columns_workspace, plan_columns, run_columns
from cnnfast.ops.conv2d cimport activation_code
from cnnfast.ops.cpu cimport CNF_LINEAR, CNF_RELU, cnf_kernel, cnf_norm, kernels
from cnnfast.ops.elementwise cimport elementwise
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport run

cnp.import_array()


cdef cnp.ndarray _last(object x, str func, str name, object data_format, cnp.ndarray like):
    """`x` as a channels-last array, of the dtype (and the caller's shape) of `like` if that is given."""
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray a = as_array(x, func, name) if like is None else as_like(x, like, func, name)
    if cnp.PyArray_NDIM(a) < 1 + first:
        layout = "(N, C, ...)" if first else "(..., C)"
        raise ValueError(f"{func}: {name} must be {layout}, got shape {(<object>a).shape}")
    return to_last(a) if first else a


cdef cnp.ndarray _image_like(object a, str func, str name, object data_format, cnp.ndarray xa, object x):
    """`a`, which must have the shape and dtype of the caller's `x`, as a channels-last array."""
    cdef cnp.ndarray image = _last(a, func, name, data_format, xa)
    if not cnp.PyArray_SAMESHAPE(xa, image):
        raise ValueError(f"{func}: {name} must have shape {np.shape(x)}, got {np.shape(a)}")
    return image


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
    return run(func, kernel, job, job.chunks, cost * (job.all_rows * job.period + job.tail), num_threads)


cdef cnp.ndarray _vector(object out, str func, cnf_norm *job, int typenum, tuple inputs):
    cdef cnp.npy_intp shape = job.channels
    return result(out, func, 1, &shape, typenum, inputs)


def batch_norm(x, mean, var, weight=None, bias=None, eps=1e-5, *, residual=None, activation=None,
               data_format="channels_last", out=None, num_threads=None):
    """``activation((x - mean) / sqrt(var + eps) * weight + bias + residual)`` by channel (Ioffe & Szegedy, arXiv 1502.03167).

    One pass, with the bits of normalization, `add` and activation as ops of their own.

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
    residual : array_like, optional
        Shape and dtype of `x`; added before the activation, as at the end of a residual block.
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
    cdef cnp.ndarray xa = _last(x, func, "x", data_format, None), m, v, w = None, b = None, r = None
    cdef int typenum = cnp.PyArray_TYPE(xa)
    plan_columns(&job, xa, func)
    m = _of_channels(mean, xa, job.channels, func, "mean")
    v = _of_channels(var, xa, job.channels, func, "var")
    if weight is not None:
        w = _of_channels(weight, xa, job.channels, func, "weight")
    if bias is not None:
        b = _of_channels(bias, xa, job.channels, func, "bias")
    job.eps = _eps(eps, func)
    job.activation = activation_code(activation, func)
    if residual is not None:
        r = _image_like(residual, func, "residual", data_format, xa, x)
        job.residual = cnp.PyArray_DATA(r)
    cdef Block tiled = block(<size_t>(3 * job.period * cnp.PyArray_ITEMSIZE(xa)))
    job.x, job.mean, job.var = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(m), cnp.PyArray_DATA(v)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.bias = cnp.PyArray_DATA(b) if b is not None else NULL
    job.tiled = tiled.data
    run_columns(kernels(typenum).batch_norm_tile, &job)
    cdef cnp.ndarray y = image_out(func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, (xa, m, v, w, b, r), xa, first, out)
    job.y = cnp.PyArray_DATA(y)
    _each_chunk(kernels(typenum).batch_norm, &job, 0.4, func, num_threads)
    return image_answer(y, first, out)


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
    plan_columns(&job, xa, func)
    if cnp.PyArray_SIZE(xa) < 2 * job.channels:
        raise ValueError(f"{func}: x must have more than 1 value per channel, got shape {np.shape(x)}")
    outs = outs_of(out, 2, func)
    mean = _vector(outs[0], func, &job, typenum, (xa, outs[1]))
    var = _vector(outs[1], func, &job, typenum, (xa, outs[0]))
    cdef Block _work = columns_workspace(&job, xa)  # held until the op returns
    job.x = cnp.PyArray_DATA(xa)
    job.first, job.second = cnp.PyArray_DATA(mean), cnp.PyArray_DATA(var)
    _each_chunk(kernels(typenum).batch_norm_moments, &job, 0.3, func, num_threads)
    run_columns(kernels(typenum).batch_norm_merge_moments, &job)
    return deliver(mean, outs[0]), deliver(var, outs[1])


def batch_norm_backward(dy, x, mean, var, weight=None, eps=1e-5, *, bias=None, activation=None, y=None,
                        return_dresidual=False, training=True, data_format="channels_last", out=None, num_threads=None):
    """Gradients of `batch_norm`, with the bits of `relu_backward` (if there is an activation) and the rest as two ops.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, mean, var, weight, eps
        As given to the forward op.
    bias, activation : array_like, {None, "relu"}, optional
        As given to the forward op. `bias` tells where the output is positive, if `y` is not given.
    y : array_like, optional
        The output of the forward op; with activation and residual it is needed.
    return_dresidual : bool
        Also return the gradient of the residual: `dy` where ``y > 0``, else 0. Needs activation "relu" (without, it is `dy`).
    training : bool
        `mean` and `var` are those of `x` and pass on their own gradient; else they are constants.
    data_format : {"channels_last", "channels_first"}
        channels_first: `x` and `dy` are (N, C, ...).
    out : tuple of three ndarrays (four with `return_dresidual`), optional
        Where to write the results; None in it for those to be made. The first and the fourth may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dweight, dbias : ndarray
        Shape (C,).
    dresidual : ndarray
        Shape and dtype of `x`; only with `return_dresidual`.
    """
    cdef str func = "batch_norm_backward"
    cdef cnf_norm job
    cdef bint first = is_channels_first(data_format, func), residual = return_dresidual
    cdef cnp.ndarray xa = _last(x, func, "x", data_format, None), d = _image_like(dy, func, "dy", data_format, xa, x)
    cdef cnp.ndarray m, v, w = None, b = None, ya = None, dweight, dbias, dx, gated = None
    cdef int typenum = cnp.PyArray_TYPE(xa)
    plan_columns(&job, xa, func)
    m = _of_channels(mean, xa, job.channels, func, "mean")
    v = _of_channels(var, xa, job.channels, func, "var")
    if weight is not None:
        w = _of_channels(weight, xa, job.channels, func, "weight")
    if bias is not None:
        b = _of_channels(bias, xa, job.channels, func, "bias")
    if activation is not None and activation != "relu":
        raise ValueError(f"{func}: activation must be None or 'relu', got {activation!r}")
    job.activation = CNF_LINEAR if activation is None else CNF_RELU
    if y is not None:
        ya = _image_like(y, func, "y", data_format, xa, x)
    if residual and (activation is None or y is None):
        raise ValueError(f"{func}: return_dresidual needs activation 'relu' and y, got {activation!r} and y {type(y).__name__}")
    job.eps = _eps(eps, func)
    job.mode = bool(training)
    outs = outs_of(out, 4 if residual else 3, func)
    cdef tuple inputs = (xa, d, m, v, w, b, ya)
    dweight = _vector(outs[1], func, &job, typenum, inputs + (outs[0], outs[2]))
    dbias = _vector(outs[2], func, &job, typenum, inputs + (outs[0], outs[1]))
    cdef Block _work = columns_workspace(&job, xa)  # held until the op returns
    job.x = cnp.PyArray_DATA(xa)
    job.mean, job.var = cnp.PyArray_DATA(m), cnp.PyArray_DATA(v)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.bias = cnp.PyArray_DATA(b) if b is not None else NULL
    job.output = cnp.PyArray_DATA(ya) if ya is not None else NULL
    job.first, job.second = cnp.PyArray_DATA(dweight), cnp.PyArray_DATA(dbias)
    dx = image_out(func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, inputs, d, first, outs[0])
    if residual:
        gated = image_out(func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, inputs + (dx,), d, first, outs[3])
    # a job only names what it takes or makes: a tape goes by that
    run_columns(kernels(typenum).batch_norm_tile, &job)
    job.dy = cnp.PyArray_DATA(d)
    if residual:
        job.gated = cnp.PyArray_DATA(gated)
    _each_chunk(kernels(typenum).batch_norm_sums, &job, 0.4, func, num_threads)
    if residual:  # written where dy was read; from now on it stands for dy
        job.dy, job.gated, job.activation = job.gated, NULL, CNF_LINEAR
    run_columns(kernels(typenum).batch_norm_merge_sums, &job)
    job.y = cnp.PyArray_DATA(dx)
    _each_chunk(kernels(typenum).batch_norm_backward, &job, 0.6, func, num_threads)
    grads = image_answer(dx, first, outs[0]), deliver(dweight, outs[1]), deliver(dbias, outs[2])
    return (*grads, image_answer(gated, first, outs[3])) if residual else grads


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
