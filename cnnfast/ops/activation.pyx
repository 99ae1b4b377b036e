"""Activations and their gradients, elementwise over arrays of any shape."""

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, deliver, result
from cnnfast.ops.cpu cimport cnf_elementwise, cnf_kernel, kernels
from cnnfast.ops.threads cimport run, thread_count

cnp.import_array()

cdef Py_ssize_t CHUNK = 16384  # elements a task: fixed, so that nothing depends on the thread count


cdef object _elementwise(str func, cnp.ndarray x, cnp.ndarray z, cnf_kernel *kernel, double cost, double a, double b,
                         object out, object num_threads):
    """y = f(x, z; a, b); `cost` in nanoseconds an element on one thread."""
    cdef cnf_elementwise job
    cdef cnp.ndarray y = result(out, func, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), (x, z), out)
    job.x = cnp.PyArray_DATA(x)
    job.z = cnp.PyArray_DATA(z) if z is not None else NULL
    job.y = cnp.PyArray_DATA(y)
    job.n = cnp.PyArray_SIZE(x)
    job.chunk = CHUNK
    job.a = a
    job.b = b
    cdef Py_ssize_t tasks = (job.n + CHUNK - 1) // CHUNK
    cdef int workers = thread_count(num_threads, tasks, cost * job.n, func)
    with nogil:
        run(kernel, &job, tasks, workers)
    return deliver(y, out)


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
    return _elementwise("relu", xa, None, kernels(cnp.PyArray_TYPE(xa)).relu, 0.3, 0, 0, out, num_threads)


def exp(x, *, out=None, num_threads=None):
    """e**x, within 2 ULP."""
    cdef cnp.ndarray xa = as_array(x, "exp", "x")
    return _elementwise("exp", xa, None, kernels(cnp.PyArray_TYPE(xa)).exp, 0.3, 0, 0, out, num_threads)


def sigmoid(x, *, out=None, num_threads=None):
    """1 / (1 + e**-x), within 2 ULP."""
    cdef cnp.ndarray xa = as_array(x, "sigmoid", "x")
    return _elementwise("sigmoid", xa, None, kernels(cnp.PyArray_TYPE(xa)).sigmoid, 0.3, 0, 0, out, num_threads)
