"""Maps made larger by whole factors, and the gradient."""

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, image_answer, image_out, is_channels_first, pair, to_last
from cnnfast.ops.cpu cimport cnf_kernel, cnf_upsample2d, kernels
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport run_on, thread_count

cnp.import_array()


cdef object _run(str func, bint backward, object x, str name, object scale_factor, object mode, object data_format,
                 object out, object num_threads):
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, name, 4), xa, y
    cdef cnf_upsample2d job
    cdef Py_ssize_t factors[2]
    cdef cnp.npy_intp dims[4]
    cdef double work
    cdef int workers, typenum = cnp.PyArray_TYPE(given)
    cdef cnf_kernel *kernel = kernels(typenum).upsample2d_backward if backward else kernels(typenum).upsample2d
    cdef Block scratch
    pair(scale_factor, func, "scale_factor", 1, factors)
    if not isinstance(mode, str) or mode not in ("nearest", "bilinear"):
        raise ValueError(f"{func}: mode must be 'nearest' or 'bilinear', got {mode!r}")
    xa = to_last(given) if first else given
    job.n, job.h, job.w, job.c = (<object>xa).shape
    job.fh, job.fw, job.linear = factors[0], factors[1], mode == "bilinear"
    if backward and (job.h % job.fh or job.w % job.fw):
        raise ValueError(f"{func}: scale_factor must divide the size of dy, {(job.h, job.w)}, got {(job.fh, job.fw)}")
    if not backward and (job.fh >= 1 << 31 or job.fw >= 1 << 31):
        raise ValueError(f"{func}: scale_factor is too large, got {scale_factor!r}")
    if backward:
        job.h, job.w = job.h // job.fh, job.w // job.fw
        dims[0], dims[1], dims[2], dims[3] = job.n, job.h, job.w, job.c
    else:
        dims[0], dims[1], dims[2], dims[3] = job.n, job.h * job.fh, job.w * job.fw, job.c
    y = image_out(func, 4, dims, typenum, (xa,), None, first, out)
    if cnp.PyArray_SIZE(y) > 0:
        work = 0.5 * job.n * job.h * job.w * job.c * job.fh * job.fw
        workers = thread_count(num_threads, job.n * job.h, work, func)
        job.scratch_bytes = <size_t>((job.fw + job.w * job.c * job.fw) * cnp.PyArray_ITEMSIZE(y) + 63) // 64 * 64
        scratch = block(job.scratch_bytes * workers)
        job.x, job.y, job.scratch = cnp.PyArray_DATA(xa), cnp.PyArray_DATA(y), scratch.data
        run_on(workers, kernel, &job, job.n * job.h, work)
    return image_answer(y, first, out)


def upsample2d(x, scale_factor, mode="nearest", *, data_format="channels_last", out=None, num_threads=None):
    """Make each map larger: `torch.nn.functional.interpolate` by whole factors, with pixels as areas (align_corners=False).

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    scale_factor : int or (int, int)
        Vertical, horizontal.
    mode : {"nearest", "bilinear"}
        Each pixel repeated, or linear between the pixels' centers.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, H * vertical, W * horizontal, C). A pixel of weight 0 in the sum that makes another does not reach it.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    return _run("upsample2d", False, x, "x", scale_factor, mode, data_format, out, num_threads)


def upsample2d_backward(dy, scale_factor, mode="nearest", *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `upsample2d` with respect to its input.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: float32 or float64, 4-D.
    scale_factor, mode, data_format
        As in `upsample2d`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, H, W, C), a new array.

    Raises
    ------
    ValueError, TypeError
        `scale_factor` does not divide the size of `dy`, or an argument breaks another rule.
    """
    return _run("upsample2d_backward", True, dy, "dy", scale_factor, mode, data_format, out, num_threads)
