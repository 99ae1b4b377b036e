"""Ops on rows of classes: softmax and the losses."""

import numpy as np

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.check cimport deliver, result
from cnnfast.ops.elementwise cimport CHUNK
from cnnfast.ops.threads cimport run

cnp.import_array()


cdef int rows_along(cnf_rows *job, cnp.ndarray x, object axis, str func) except -1:
    cdef int i, ndim = cnp.PyArray_NDIM(x), at
    if isinstance(axis, (bool, np.bool_)) or not hasattr(axis, "__index__"):
        raise TypeError(f"{func}: axis must be an int, got {axis!r}")
    if not -ndim <= axis.__index__() < ndim:
        raise np.exceptions.AxisError(f"{func}: axis must be in {-ndim}...{ndim - 1}, got {axis} for shape {(<object>x).shape}")
    at = <int>(axis.__index__() % ndim)
    if cnp.PyArray_DIM(x, at) == 0:
        raise ValueError(f"{func}: axis must not have length 0, got axis {axis} of shape {(<object>x).shape}")
    memset(job, 0, sizeof(job[0]))
    job.outer = job.inner = 1
    for i in range(ndim):
        if i < at:
            job.outer *= cnp.PyArray_DIM(x, i)
        elif i > at:
            job.inner *= cnp.PyArray_DIM(x, i)
    job.length = cnp.PyArray_DIM(x, at)
    job.chunk = max(1, CHUNK // max(1, job.length * job.inner))
    return 0


cdef int run_rows(str func, cnf_kernel *kernel, cnf_rows *job, double cost, object num_threads) except -1:
    cdef Py_ssize_t tasks = (job.outer + job.chunk - 1) // job.chunk
    return run(func, kernel, job, tasks, cost * job.outer * job.length * job.inner, num_threads)


cdef object map_rows(str func, cnf_kernel *kernel, cnf_rows *job, double cost, cnp.ndarray x, cnp.ndarray z,
                     cnp.ndarray inplace, object out, object num_threads):
    cdef cnp.ndarray y = result(out, func, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), (x, z), inplace)
    job.x = cnp.PyArray_DATA(x)
    job.z = cnp.PyArray_DATA(z) if z is not None else NULL
    job.y = cnp.PyArray_DATA(y)
    run_rows(func, kernel, job, cost, num_threads)
    return deliver(y, out)
