"""What a regularizer adds to the loss, and to a gradient."""

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, as_same, number
from cnnfast.ops.cpu cimport cnf_elementwise, kernels
from cnnfast.ops.elementwise cimport CHUNK, elementwise
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport run, run_on

cnp.import_array()


cdef double _factor(object value, str func, str name) except? -1.0:
    cdef double factor = number(value, func, name)
    if factor < 0:
        raise ValueError(f"{func}: {name} must be not negative, got {value!r}")
    return factor


def penalty(x, l1=0.0, l2=0.0, *, num_threads=None):
    """``l1 * sum(|x|) + l2 * sum(x**2)``.

    Parameters
    ----------
    x : array_like
        float32 or float64.
    l1, l2 : float
        Not negative.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        float64, of no axes.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks one of the rules.
    """
    cdef str func = "penalty"
    cdef cnp.ndarray xa = as_array(x, func, "x"), y
    cdef cnf_elementwise job
    cdef cnp.npy_intp tasks = (cnp.PyArray_SIZE(xa) + CHUNK - 1) // CHUNK, places = 1 + tasks
    cdef int typenum = cnp.PyArray_TYPE(xa)
    job.a, job.b, job.c, job.mode = _factor(l1, func, "l1"), _factor(l2, func, "l2"), 0, 0
    y = empty(1, &places, cnp.NPY_DOUBLE)
    job.x, job.z, job.w, job.y = cnp.PyArray_DATA(xa), NULL, NULL, cnp.PyArray_DATA(y)
    job.n, job.chunk = cnp.PyArray_SIZE(xa), CHUNK
    run(func, kernels(typenum).penalty, &job, tasks, 0.2 * cnp.PyArray_SIZE(xa), num_threads)
    run_on(1, kernels(typenum).penalty_sum, &job, 1, tasks)
    return y[:1].reshape(())


def penalty_backward(dy, x, l1=0.0, l2=0.0, *, out=None, num_threads=None):
    """``dy`` and the gradient of `penalty`: ``dy + l1 * sign(x) + 2 * l2 * x``.

    Parameters
    ----------
    dy, x : array_like
        float32 or float64, of one shape and dtype.
    l1, l2 : float
        Not negative.
    out : ndarray, optional
        Where to write the result; may be `dy`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks one of the rules.
    """
    cdef str func = "penalty_backward"
    cdef cnp.ndarray dya = as_array(dy, func, "dy"), xa = as_same(x, dya, func, "x")
    cdef double a = _factor(l1, func, "l1"), b = _factor(l2, func, "l2")
    return elementwise(func, kernels(cnp.PyArray_TYPE(dya)).penalty_backward, 0.5, dya, xa, None, a, b, 0, out, num_threads,
                       2 * b)
