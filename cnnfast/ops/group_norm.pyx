"""Normalization of each sample's groups of channels."""

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.check cimport (
    as_array, as_like, as_same, deliver, image_answer, image_out, integer, is_channels_first, number, outs_of, result,
    to_last
)
from cnnfast.ops.columns cimport plan_period, run_columns
from cnnfast.ops.cpu cimport cnf_group_norm, cnf_norm, kernels
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport run_on, thread_count

cnp.import_array()

cdef Py_ssize_t COLUMNS = 128  # of a task at least, where a sample has more


cdef cnp.ndarray _image(object x, cnp.ndarray like, str func, str name):
    """Samples with channels."""
    cdef cnp.ndarray a = as_array(x, func, name) if like is None else as_same(x, like, func, name)
    if cnp.PyArray_NDIM(a) < 2 or cnp.PyArray_SIZE(a) == 0:
        raise ValueError(f"{func}: {name} must have a batch and channels, none of them empty, got shape {(<object>a).shape}")
    return a


cdef cnp.ndarray _of_channels(object value, cnp.ndarray x, str func, str name):
    if value is None:
        return None
    cdef cnp.ndarray a = as_like(value, x, func, name)
    shape = (cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1),)
    if (<object>a).shape != shape:
        raise ValueError(f"{func}: {name} must have shape {shape}, got {(<object>a).shape}")
    return a


cdef int _plan(cnf_group_norm *job, cnp.ndarray x, object num_groups, object eps, str func) except -1:
    """Fills the job's geometry, which depends on a sample's shape alone."""
    cdef cnf_norm columns
    cdef Py_ssize_t width, most, itemsize = cnp.PyArray_ITEMSIZE(x), groups = integer(num_groups, func, "num_groups", 1)
    memset(job, 0, sizeof(job[0]))
    job.n, job.channels = cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)
    job.pixels = cnp.PyArray_SIZE(x) // (job.n * job.channels)
    if job.channels % groups:
        raise ValueError(f"{func}: num_groups must divide the {job.channels} channels of x, got {groups}")
    job.group = job.channels // groups
    job.eps = number(eps, func, "eps")
    if job.eps <= 0:
        raise ValueError(f"{func}: eps must be positive, got {eps!r}")
    width = (COLUMNS + job.group - 1) // job.group * job.group
    job.block = width if 2 * width <= job.channels else job.channels
    plan_period(&columns, job.pixels * job.block, job.block)
    job.period, job.rows = columns.period, columns.rows
    most = columns.chunks * columns.period
    job.scratch_bytes = <size_t>(4 * job.block * sizeof(double) + (4 * job.period + 3 * most) * itemsize + 63) // 64 * 64
    return 0


cdef int _run(str func, cnf_group_norm *job, bint backward, cnp.ndarray x, double cost, object num_threads) except -1:
    cdef Py_ssize_t tasks = job.n * ((job.channels + job.block - 1) // job.block)
    cdef double work = cost * cnp.PyArray_SIZE(x)
    cdef int typenum = cnp.PyArray_TYPE(x), workers = thread_count(num_threads, tasks, work, func)
    cdef Block scratch = block(job.scratch_bytes * workers)
    job.scratch = scratch.data
    return run_on(workers, kernels(typenum).group_norm_backward if backward else kernels(typenum).group_norm, job, tasks, work)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, *, data_format="channels_last", out=None,
               num_threads=None):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and variance of a sample's group of channels.

    As many groups as channels are instance normalization (Wu & He, ECCV 2018).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, ..., C), more than 1-D.
    num_groups : int
        Divides C.
    weight, bias : array_like, optional
        Shape (C,), dtype of `x`; 1 and 0 by default.
    eps : float
        Positive.
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

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "group_norm"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = _image(x, None, func, "x"), xa = to_last(given) if first else given, w, b, y
    cdef cnf_group_norm job
    w, b = _of_channels(weight, xa, func, "weight"), _of_channels(bias, xa, func, "bias")
    _plan(&job, xa, num_groups, eps, func)
    y = image_out(func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa, w, b), xa, first, out)
    job.x, job.y = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y)
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    job.bias = cnp.PyArray_DATA(b) if b is not None else NULL
    _run(func, &job, False, xa, 0.7, num_threads)
    return image_answer(y, first, out)


def group_norm_backward(dy, x, num_groups, weight=None, eps=1e-5, *, data_format="channels_last", out=None,
                        num_threads=None):
    """Gradients of `group_norm`.

    Parameters
    ----------
    dy : array_like
        Gradient of the output, shape and dtype of `x`.
    x, num_groups, weight, eps, data_format
        As given to the forward op.
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
    cdef str func = "group_norm_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = _image(x, None, func, "x"), dgiven = _image(dy, given, func, "dy")
    cdef cnp.ndarray xa = to_last(given) if first else given, g = to_last(dgiven) if first else dgiven
    cdef cnp.ndarray w = _of_channels(weight, xa, func, "weight"), dx, dweight, dbias
    cdef cnf_group_norm job
    cdef cnf_norm merge
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef Block sums, merged
    _plan(&job, xa, num_groups, eps, func)
    cdef cnp.npy_intp channels = job.channels
    outs = outs_of(out, 3, func)
    inputs = (xa, g, w)
    dx = image_out(func, cnp.PyArray_NDIM(xa), cnp.PyArray_DIMS(xa), typenum, inputs + (outs[1], outs[2]), g, first, outs[0])
    dweight = result(outs[1], func, 1, &channels, typenum, inputs + (outs[0], outs[2]))
    dbias = result(outs[2], func, 1, &channels, typenum, inputs + (outs[0], outs[1]))
    sums = block(<size_t>(3 * job.n * job.channels * cnp.PyArray_ITEMSIZE(xa)))
    merged = block(<size_t>(2 * job.channels * sizeof(double)))
    job.x, job.dy, job.y, job.sums = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(g), cnp.PyArray_DATA(dx), sums.data
    job.weight = cnp.PyArray_DATA(w) if w is not None else NULL
    _run(func, &job, True, xa, 1.2, num_threads)
    plan_period(&merge, 0, job.channels)
    merge.period, merge.rows, merge.all_rows, merge.chunks = job.channels, 1, job.n, job.n  # a chunk is a sample
    merge.merged = <double *>merged.data
    merge.partial, merge.first = sums.data, cnp.PyArray_DATA(dbias)
    run_columns(kernels(typenum).column_sum_merge, &merge)
    merge.partial = <char *>sums.data + job.channels * cnp.PyArray_ITEMSIZE(xa)
    merge.first = cnp.PyArray_DATA(dweight)
    run_columns(kernels(typenum).column_sum_merge, &merge)
    return image_answer(dx, first, outs[0]), deliver(dweight, outs[1]), deliver(dbias, outs[2])
