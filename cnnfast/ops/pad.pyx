"""Constant padding of maps, and its gradient."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, deliver, is_channels_first, padding2d, result
from cnnfast.ops.cpu cimport cnf_kernel, cnf_pad2d_job, kernels
from cnnfast.ops.threads cimport run

cnp.import_array()

cdef Py_ssize_t CHUNK = 16384  # elements a task


cdef tuple _margins(object padding, str func):
    """(top, bottom, left, right)."""
    cdef Py_ssize_t pads[4]
    cdef Py_ssize_t one[2]
    if isinstance(padding, str):
        raise ValueError(f"{func}: padding must be an int, (ph, pw) or ((top, bottom), (left, right)), got {padding!r}")
    one[0] = one[1] = 1
    padding2d(padding, func, 1, 1, one, one, pads)
    return pads[0], pads[1], pads[2], pads[3]


cdef cnp.ndarray _output(object out, str func, tuple shape, int typenum, cnp.ndarray source):
    cdef cnp.npy_intp dims[4]
    cdef int i
    for i, size in enumerate(shape):
        if size >= 1 << 62:
            raise ValueError(f"{func}: padding is too large, the result would have shape {shape}")
        dims[i] = size
    return result(out, func, 4, dims, typenum, (source,))


cdef int _run(cnf_kernel *kernel, str func, cnp.ndarray x, cnp.ndarray y, tuple inner, tuple margins, bint first,
              double value, object num_threads) except -1:
    """Runs over maps of the `inner` shape; channels first, each channel is a map of its own."""
    cdef cnf_pad2d_job job
    cdef cnp.npy_intp line, tasks
    if first:
        job.n, job.h, job.w, job.c = inner[0] * inner[1], inner[2], inner[3], 1
    else:
        job.n, job.h, job.w, job.c = inner
    job.top, job.bottom, job.left, job.right = margins
    job.x, job.y, job.value = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), value
    if cnp.PyArray_SIZE(y) == 0:
        return 0
    line = cnp.PyArray_DIM(y, 3) if first else cnp.PyArray_DIM(y, 2) * cnp.PyArray_DIM(y, 3)
    job.chunk = CHUNK // line + 1
    tasks = (cnp.PyArray_SIZE(y) // line - 1) // job.chunk + 1
    return run(func, kernel, &job, tasks, 0.2 * (cnp.PyArray_SIZE(x) + cnp.PyArray_SIZE(y)), num_threads)


def pad2d(x, padding, value=0.0, *, data_format="channels_last", out=None, num_threads=None):
    """Surround each map with a constant.

    Parameters
    ----------
    x : array_like
        float32 or float64, shape (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    padding : int, (int, int) or ((int, int), (int, int))
        Pixels to add: the same on all sides, (vertical, horizontal), ((top, bottom), (left, right)).
    value : float
        What the new pixels hold.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, top + H + bottom, left + W + right, C).

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "pad2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = as_array(x, func, "x", 4)
    margins = _margins(padding, func)
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{func}: value must be a number, got {value!r}")
    top, bottom, left, right = margins
    a, b, c, d = (<object>xa).shape
    if first:
        shape = (a, b, c + top + bottom, d + left + right)
    else:
        shape = (a, b + top + bottom, c + left + right, d)
    y = _output(out, func, shape, cnp.PyArray_TYPE(xa), xa)
    _run(kernels(cnp.PyArray_TYPE(xa)).pad2d, func, xa, y, (a, b, c, d), margins, first, value, num_threads)
    return deliver(y, out)


def pad2d_backward(dy, padding, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `pad2d` with respect to its input: `dy` without the margins.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: float32 or float64, 4-D.
    padding, data_format
        As in `pad2d`.
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
        If an argument breaks one of the rules, or `dy` is smaller than its margins.
    """
    cdef str func = "pad2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray g = as_array(dy, func, "dy", 4)
    margins = _margins(padding, func)
    top, bottom, left, right = margins
    a, b, c, d = (<object>g).shape
    height, width = (c - top - bottom, d - left - right) if first else (b - top - bottom, c - left - right)
    if height < 0 or width < 0:
        raise ValueError(f"{func}: padding must fit into dy of shape {(a, b, c, d)}, got {padding!r}")
    shape = (a, b, height, width) if first else (a, height, width, d)
    dx = _output(out, func, shape, cnp.PyArray_TYPE(g), g)
    _run(kernels(cnp.PyArray_TYPE(g)).pad2d_backward, func, g, dx, shape, margins, first, 0, num_threads)
    return deliver(dx, out)
