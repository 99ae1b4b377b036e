"""Channels-last arrays as rows of columns, and sums over their rows: what batch normalization and every bias share."""

import numpy as np

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.check cimport deliver, result
from cnnfast.ops.copy cimport copied
from cnnfast.ops.cpu cimport cnf_band_lines, cnf_splits, kernels
from cnnfast.ops.memory cimport block
from cnnfast.ops.threads cimport run, run_on

cnp.import_array()

cdef Py_ssize_t COLUMNS = 128     # at least so wide is a row of the kernels
cdef Py_ssize_t CHUNK = 32768     # elements of a chunk, about
cdef Py_ssize_t MOST_ROWS = 256   # of a chunk: bounds the error of its sums


cdef int plan_columns(cnf_norm *job, cnp.ndarray x, str func) except -1:
    cdef int ndim = cnp.PyArray_NDIM(x)
    if cnp.PyArray_DIM(x, ndim - 1) == 0:
        raise ValueError(f"{func}: x must have at least 1 channel, got shape {(<object>x).shape}")
    return plan_period(job, cnp.PyArray_SIZE(x), cnp.PyArray_DIM(x, ndim - 1))


cdef int plan_period(cnf_norm *job, Py_ssize_t size, Py_ssize_t channels) except -1:
    memset(job, 0, sizeof(job[0]))
    job.channels = job.period = channels
    while job.period < COLUMNS:
        job.period *= 2
    job.rows = min(MOST_ROWS, max(16, CHUNK // job.period))
    job.all_rows, job.tail = size // job.period, size % job.period
    job.chunks = (job.all_rows + job.rows - 1) // job.rows + (job.tail != 0)
    return 0


cdef int run_columns(cnf_kernel *kernel, cnf_norm *job) except -1:
    return run_on(1, kernel, job, 1, <double>(job.chunks + 5) * job.period)


cdef Block columns_workspace(cnf_norm *job, cnp.ndarray x):
    """merged (doubles come first), tiled, partial"""
    cdef size_t period = <size_t>job.period * cnp.PyArray_ITEMSIZE(x), merged = 2 * <size_t>job.channels * sizeof(double)
    cdef Block work = block(merged + (5 + 3 * <size_t>job.chunks) * period)
    job.merged = <double *>work.data
    job.tiled = <char *>work.data + merged
    job.partial = <char *>job.tiled + 5 * period
    return work


cdef cnp.ndarray spread(cnp.ndarray a, tuple shape):
    if (<object>a).shape == shape and cnp.PyArray_IS_C_CONTIGUOUS(a):
        return a
    return copied(<cnp.ndarray>np.broadcast_to(a, shape))


cdef int _plan_sums(cnf_norm *job, cnp.ndarray x, str func) except -1:
    """Maps are summed in the bands, and these dealt out, as to the weight of a convolution from few channels: a plan does both
    at once."""
    cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    cdef Py_ssize_t images = 1
    cdef bint maps
    plan_columns(job, x, func)
    maps = cnp.PyArray_NDIM(x) == 4 and shape[1] * shape[2] >= 64
    if maps:
        images, job.image = shape[0], shape[1] * shape[2] * shape[3]
        job.band = cnf_band_lines(shape[1], shape[2], shape[3], cnp.PyArray_ITEMSIZE(x)) * shape[2] * shape[3]
    else:
        job.image, job.band = cnp.PyArray_SIZE(x), job.rows * job.period
    job.bands = images * ((job.image + job.band - 1) // job.band)
    job.chunks = cnf_splits(1, job.bands) if maps else job.bands
    job.rows, job.all_rows, job.tail = 1, job.chunks, 0  # of what is merged: a row of all columns a chunk
    return 0


cdef object column_sums(str func, cnp.ndarray x, cnp.ndarray output, cnp.ndarray gated, object out, object num_threads):
    cdef cnf_norm job
    cdef int typenum = cnp.PyArray_TYPE(x)
    cdef cnp.npy_intp channels = cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)
    cdef cnp.ndarray y = result(out, func, 1, &channels, typenum, (x, output, gated))
    cdef Block _work  # held until the op returns
    if channels > 0:
        _plan_sums(&job, x, func)
        _work = columns_workspace(&job, x)
        job.x, job.first = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
        if output is not None:
            job.output, job.y = cnp.PyArray_DATA(output), cnp.PyArray_DATA(gated)
        run(func, kernels(typenum).column_sum, &job, job.chunks, 0.3 * cnp.PyArray_SIZE(x), num_threads)
        run_columns(kernels(typenum).column_sum_merge, &job)
    return deliver(y, out)
