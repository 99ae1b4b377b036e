"""The one way in which all elementwise ops run."""

cimport numpy as cnp

from cnnfast.ops.check cimport deliver, result
from cnnfast.ops.cpu cimport cnf_elementwise
from cnnfast.ops.threads cimport run

cnp.import_array()

CHUNK = 16384


cdef object elementwise(str func, cnf_kernel *kernel, double cost, cnp.ndarray x, cnp.ndarray z, cnp.ndarray w,
                        double a, double b, int mode, object out, object num_threads, double c=0):
    cdef cnf_elementwise job
    cdef cnp.ndarray y = result(out, func, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), (x, z, w), x)
    job.x = cnp.PyArray_DATA(x)
    job.z = cnp.PyArray_DATA(z) if z is not None else NULL
    job.w = cnp.PyArray_DATA(w) if w is not None else NULL
    job.y = cnp.PyArray_DATA(y)
    job.n = cnp.PyArray_SIZE(x)
    job.chunk = CHUNK
    job.a = a
    job.b = b
    job.c = c
    job.mode = mode
    cdef Py_ssize_t tasks = (job.n + CHUNK - 1) // CHUNK
    run(func, kernel, &job, tasks, cost * job.n, num_threads)
    return deliver(y, out)
