"""Dropout without a stored mask: which elements stay is a function of (seed, step, element)."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport uint64_t

from cnnfast.ops.check cimport as_array, deliver, image_answer, image_out, integer, is_channels_first, number, result, to_last
from cnnfast.ops.copy cimport plan_copy
from cnnfast.ops.cpu cimport cnf_copy, cnf_dropout, kernels
from cnnfast.ops.elementwise cimport CHUNK
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport run

from cnnfast.ops.tape import hold

cnp.import_array()


cdef uint64_t _word(object value, str func, str name) except? 0:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{func}: {name} must be an int, got {value!r}")
    if not 0 <= value.__index__() < 2**64:
        raise ValueError(f"{func}: {name} must be in 0 <= {name} < 2**64, got {value}")
    return value.__index__()


cdef int _plan(cnf_dropout *job, str func, object p, object seed, object step) except -1:
    cdef double rate
    try:
        rate = number(p, func, "p")
    except ValueError:
        rate = -1
    if not 0 <= rate < 1:
        raise ValueError(f"{func}: p must be in 0 <= p < 1, got {p!r}")
    job.seed = _word(seed, func, "seed")
    job.step = _word(step, func, "step")
    job.threshold = <uint64_t>round(rate * 2**32)
    job.scale = 1 / (1 - rate)
    return 0


cdef int _draw(cnf_dropout *job, str func, cnp.ndarray x, cnp.ndarray y, object num_threads) except -1:
    """y = x where words are high enough, scaled, else 0."""
    job.x, job.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    job.n, job.chunk = cnp.PyArray_SIZE(x), CHUNK
    cdef Py_ssize_t tasks = (job.n + CHUNK - 1) // CHUNK
    return run(func, kernels(cnp.PyArray_TYPE(x)).dropout, job, tasks, 0.8 * job.n, num_threads)


cdef int _draw_shared(cnf_dropout *job, str func, cnp.ndarray x, tuple noise, cnp.ndarray y, object num_threads) except -1:
    """The same with a word for each element of an array of the shape `noise`, which broadcasts to x."""
    cdef cnp.ndarray ones = hold(np.ones(noise, (<object>x).dtype))
    cdef cnp.ndarray mask = empty(cnp.PyArray_NDIM(ones), cnp.PyArray_DIMS(ones), cnp.PyArray_TYPE(x))
    cdef cnf_copy apply
    cdef Py_ssize_t tasks
    if cnp.PyArray_SIZE(x) == 0:
        return 0
    _draw(job, func, ones, mask, num_threads)
    tasks = plan_copy(&apply, <cnp.ndarray>np.broadcast_to(mask, (<object>x).shape), y)
    if tasks < 0:
        raise ValueError(f"{func}: noise_shape has too many axes that take turns, got {noise}")
    apply.x, apply.z, apply.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(mask), cnp.PyArray_DATA(y)
    return run(func, kernels(cnp.PyArray_TYPE(x)).mask, &apply, tasks, 0.4 * cnp.PyArray_SIZE(x), num_threads)


cdef tuple _noise(object noise_shape, tuple shape, str func):
    """`noise_shape` with the sizes of x in the place of None."""
    if not isinstance(noise_shape, (list, tuple)) or len(noise_shape) != len(shape):
        raise ValueError(f"{func}: noise_shape must have an entry for each axis of {shape}, got {noise_shape!r}")
    noise = tuple([n if m is None else integer(m, func, "noise_shape", 1) for m, n in zip(noise_shape, shape)])
    if any([m not in (1, n) for m, n in zip(noise, shape)]):
        raise ValueError(f"{func}: noise_shape must be {shape} with 1s or None in it, got {noise_shape!r}")
    return noise


cdef object _dropout(str func, object x, str name, object p, object seed, object step, object noise_shape, object out,
                     object num_threads):
    cdef cnp.ndarray xa = as_array(x, func, name), y
    cdef cnf_dropout job
    _plan(&job, func, p, seed, step)
    noise = None if noise_shape is None else _noise(noise_shape, (<object>xa).shape, func)
    y = result(out, func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa,), xa)
    if noise is None or noise == (<object>xa).shape:
        _draw(&job, func, xa, y, num_threads)
    else:
        _draw_shared(&job, func, xa, noise, y, num_threads)
    return deliver(y, out)


cdef object _dropout2d(str func, object x, str name, object p, object seed, object step, object data_format, object out,
                       object num_threads):
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, name, 4), xa, y
    cdef cnf_dropout job
    _plan(&job, func, p, seed, step)
    xa = to_last(given) if first else given
    y = image_out(func, 4, cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa,), xa, first, out)
    _draw_shared(&job, func, xa, (cnp.PyArray_DIM(xa, 0), 1, 1, cnp.PyArray_DIM(xa, 3)), y, num_threads)
    return image_answer(y, first, out)


def dropout(x, p, *, seed, step, noise_shape=None, out=None, num_threads=None):
    """Set a random fraction `p` of the elements to 0 and scale the rest by ``1 / (1 - p)``.

    Element ``i`` (in C order) is kept or not by word ``i % 4`` of Philox4x32-10 (Salmon et al., SC 2011) at counter
    ``(i // 4, step)`` under the key `seed`: the same elements for any number of threads, in any process.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    p : float
        Fraction to drop, 0 <= p < 1.
    seed, step : int
        64-bit unsigned. Another step draws other elements.
    noise_shape : sequence of int or None, optional
        An entry for each axis of `x`: 1 where all along the axis are dropped or kept together, else the size or None.
        Element ``i`` of an array of this shape is what is drawn for.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _dropout("dropout", x, "x", p, seed, step, noise_shape, out, num_threads)


def dropout_backward(dy, p, *, seed, step, noise_shape=None, out=None, num_threads=None):
    """Gradient of `dropout`: the same elements of `dy` dropped, the rest scaled. Arguments as there."""
    return _dropout("dropout_backward", dy, "dy", p, seed, step, noise_shape, out, num_threads)


def dropout2d(x, p, *, seed, step, data_format="channels_last", out=None, num_threads=None):
    """Set a random fraction `p` of the channels of each sample to 0 and scale the rest by ``1 / (1 - p)``.

    `dropout` with one draw for all pixels: channel ``c`` of sample ``n`` is kept if that keeps element ``n * C + c`` (Tompson
    et al., CVPR 2015).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    p : float
        Fraction to drop, 0 <= p < 1.
    seed, step : int
        64-bit unsigned. Another step draws other channels.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _dropout2d("dropout2d", x, "x", p, seed, step, data_format, out, num_threads)


def dropout2d_backward(dy, p, *, seed, step, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `dropout2d`: the same channels of `dy` dropped, the rest scaled. Arguments as there."""
    return _dropout2d("dropout2d_backward", dy, "dy", p, seed, step, data_format, out, num_threads)
