"""Dropout without a stored mask: which elements stay is a function of (seed, step, element)."""

cimport numpy as cnp
from libc.stdint cimport uint64_t

from cnnfast.ops.check cimport as_array, deliver, number, result
from cnnfast.ops.cpu cimport cnf_dropout, kernels
from cnnfast.ops.elementwise cimport CHUNK
from cnnfast.ops.threads cimport run, thread_count

cnp.import_array()


cdef uint64_t _word(object value, str func, str name) except? 0:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{func}: {name} must be an int, got {value!r}")
    if not 0 <= value.__index__() < 2**64:
        raise ValueError(f"{func}: {name} must be in 0 <= {name} < 2**64, got {value}")
    return value.__index__()


cdef object _dropout(str func, object x, str name, object p, object seed, object step, object out, object num_threads):
    cdef cnp.ndarray xa = as_array(x, func, name), y
    cdef cnf_dropout job
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
    y = result(out, func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa,), xa)
    job.x, job.y = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y)
    job.n, job.chunk = cnp.PyArray_SIZE(xa), CHUNK
    cdef Py_ssize_t tasks = (job.n + CHUNK - 1) // CHUNK
    cdef int workers = thread_count(num_threads, tasks, 0.8 * job.n, func)
    with nogil:
        run(kernels(cnp.PyArray_TYPE(xa)).dropout, &job, tasks, workers)
    return deliver(y, out)


def dropout(x, p, *, seed, step, out=None, num_threads=None):
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
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _dropout("dropout", x, "x", p, seed, step, out, num_threads)


def dropout_backward(dy, p, *, seed, step, out=None, num_threads=None):
    """Gradient of `dropout`: the same elements of `dy` dropped, the rest scaled. Arguments as there."""
    return _dropout("dropout_backward", dy, "dy", p, seed, step, out, num_threads)
