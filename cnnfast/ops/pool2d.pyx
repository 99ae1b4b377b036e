"""Max and average pooling over windows and over whole maps."""

import numpy as np

cimport numpy as cnp
from libc.string cimport memchr

from cnnfast.ops.check cimport (
    any_array, as_array, as_like, deliver, integer, is_channels_first, padding2d, pair, result, to_first, to_last,
)
from cnnfast.ops.cpu cimport cnf_kernel, cnf_pool2d, cnf_pool2d_job, kernels
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport run

from cnnfast.ops.tape import hold

cnp.import_array()

cdef Py_ssize_t TASK = 16384  # elements a task, about: fixed, so that nothing depends on the thread count
cdef Py_ssize_t BLOCK = 64    # channels a task of a whole-map reduction (POOL_BLOCK in csrc/pool.inc)
cdef Py_ssize_t BIG = 1 << 62
cdef double NANOSECONDS_PER_BYTE = 0.06  # on one thread, in cache or near it


# --- geometry ------------------------------------------------------------------------------------------------------------


cdef Py_ssize_t _outputs(Py_ssize_t n, Py_ssize_t window, Py_ssize_t stride, Py_ssize_t before, Py_ssize_t after,
                         bint ceil) noexcept:
    cdef Py_ssize_t room = n + before + after - window
    cdef Py_ssize_t count = room // stride + 1
    if ceil and room % stride and count * stride < n + before:  # a further window, unless it would begin in the padding
        count += 1
    return count


cdef bint _misses_all(Py_ssize_t n, Py_ssize_t kernel, Py_ssize_t stride, Py_ssize_t dilation, Py_ssize_t before,
                      Py_ssize_t count) noexcept:
    """Whether a dilated window has all its taps in the padding."""
    cdef Py_ssize_t o, start, first
    if dilation == 1:
        return False
    for o in range(count):
        start = o * stride - before
        first = (dilation - 1 - start) // dilation if start < 0 else 0
        if first >= kernel or start + first * dilation >= n:
            return True
    return False


cdef int _check_map(str func, cnf_pool2d *s) except -1:
    if s.h < 1 or s.w < 1:
        raise ValueError(f"{func}: the input must have at least 1 pixel, got {s.h} rows and {s.w} columns")
    if s.c < 1:
        raise ValueError(f"{func}: the input must have at least 1 channel, got {s.c}")
    return 0


cdef int _geometry(str func, tuple shape, object kernel_size, object stride, object padding, object dilation, bint ceil,
                   cnf_pool2d *s) except -1:
    """Checks what describes the windows over an input of (N, H, W, C) and fills `s`."""
    cdef Py_ssize_t kernel[2]
    cdef Py_ssize_t step[2]
    cdef Py_ssize_t spread[2]
    cdef Py_ssize_t window[2]
    cdef Py_ssize_t pads[4]
    cdef Py_ssize_t size[2]
    cdef int axis
    s.n, s.h, s.w, s.c = shape
    pair(kernel_size, func, "kernel_size", 1, kernel)
    pair(kernel_size if stride is None else stride, func, "stride", 1, step)
    pair(dilation, func, "dilation", 1, spread)
    for axis in range(2):
        if kernel[axis] - 1 > (BIG - 1) // spread[axis]:
            raise ValueError(f"{func}: kernel_size or dilation is too large, got {kernel_size!r} and {dilation!r}")
        window[axis] = (kernel[axis] - 1) * spread[axis] + 1
    padding2d(padding, func, s.h, s.w, window, step, pads)
    size[0], size[1] = s.h, s.w
    for axis in range(2):
        if pads[2 * axis] > window[axis] // 2 or pads[2 * axis + 1] > window[axis] // 2:
            raise ValueError(
                f"{func}: padding must be at most half of the effective kernel ({window[0]}, {window[1]}), got {padding!r}"
            )
        if window[axis] > size[axis] + pads[2 * axis] + pads[2 * axis + 1]:
            raise ValueError(
                f"{func}: effective kernel ({window[0]}, {window[1]}) is larger than the padded input "
                f"({s.h + pads[0] + pads[1]}, {s.w + pads[2] + pads[3]})"
            )
    _check_map(func, s)
    s.kh, s.kw, s.dh, s.dw = kernel[0], kernel[1], spread[0], spread[1]
    s.pt, s.pb, s.pl, s.pr = pads[0], pads[1], pads[2], pads[3]
    s.oh = _outputs(s.h, window[0], step[0], s.pt, s.pb, ceil)
    s.ow = _outputs(s.w, window[1], step[1], s.pl, s.pr, ceil)
    s.sh = step[0] if s.oh > 1 else 1  # without a second window the stride means nothing
    s.sw = step[1] if s.ow > 1 else 1
    if _misses_all(s.h, s.kh, s.sh, s.dh, s.pt, s.oh) or _misses_all(s.w, s.kw, s.sw, s.dw, s.pl, s.ow):
        raise ValueError(f"{func}: padding must leave an input pixel to every window, got {padding!r} with dilation {dilation!r}")
    return 0


cdef tuple _shape_of(object input_shape, str func, bint first):
    """`input_shape` as (N, H, W, C)."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 4:
        raise ValueError(f"{func}: input_shape must be a tuple of 4 ints, got {input_shape!r}")
    n, a, b, c = [integer(size, func, "input_shape", 0) for size in input_shape]
    return (n, b, c, a) if first else (n, a, b, c)


cdef tuple _in_order(tuple shape, bint first):
    """(N, H, W, C) as the caller writes it."""
    return (shape[0], shape[3], shape[1], shape[2]) if first else shape


cdef tuple _dims(cnp.ndarray x):
    return (<object>x).shape


# --- arrays --------------------------------------------------------------------------------------------------------------


cdef cnp.ndarray _input(object x, str func, str name, bint first):
    cdef cnp.ndarray a = as_array(x, func, name)
    if cnp.PyArray_NDIM(a) != 4:
        layout = "(N, C, H, W)" if first else "(N, H, W, C)"
        raise ValueError(f"{func}: {name} must be 4-D {layout}, got shape {_dims(a)}")
    return to_last(a) if first else a


cdef cnp.ndarray _output(object out, str func, tuple shape, int typenum, tuple inputs, bint first):
    """Where the kernel writes channels-last data of `shape`; `out` is checked in the caller's layout."""
    cdef cnp.npy_intp dims[4]
    cdef int i
    if first and out is not None:
        for i, size in enumerate(_in_order(shape, True)):
            dims[i] = size
        result(out, func, 4, dims, typenum, inputs)
        out = None
    for i, size in enumerate(shape):
        dims[i] = size
    return result(out, func, 4, dims, typenum, inputs)


cdef object _answer(cnp.ndarray y, object out, bint first):
    return deliver(<cnp.ndarray>to_first(y), out) if first else deliver(y, out)


cdef cnp.ndarray _gradient(object dy, str func, tuple shape, bint first):
    """dy, channels-last; `shape` is what it must have."""
    cdef cnp.ndarray a = as_array(dy, func, "dy")
    if _dims(a) != _in_order(shape, first):
        raise ValueError(f"{func}: dy must have shape {_in_order(shape, first)}, got {_dims(a)}")
    return to_last(a) if first else a


cdef cnp.ndarray _indices(object indices, str func, object dtype, tuple shape):
    """The indices of a forward pass: kind and shape checked, native and contiguous."""
    a = any_array(indices, func, "indices")
    if a.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{func}: indices must be {np.dtype(dtype)} as returned by the forward pass, got {a.dtype}")
    if a.shape != shape:
        raise ValueError(f"{func}: indices must have shape {shape}, got {a.shape}")
    return <cnp.ndarray>np.require(a, dtype, ["C", "A"])


cdef int _run(str func, cnf_kernel *kernel, cnf_pool2d_job *job, Py_ssize_t tasks, double size, int typenum,
              object num_threads) except -1:
    """`size`: elements read and written."""
    cdef double cost = NANOSECONDS_PER_BYTE * (8 if typenum == cnp.NPY_DOUBLE else 4)
    return run(func, kernel, job, tasks, cost * size, num_threads)


cdef Py_ssize_t _set_chunk(cnf_pool2d_job *job, Py_ssize_t rows, Py_ssize_t row_size) noexcept:
    """Rows a task -> number of tasks."""
    job.chunk = max(1, TASK // max(1, row_size))
    return (rows + job.chunk - 1) // job.chunk


# --- windows -------------------------------------------------------------------------------------------------------------


cdef int _forward(str func, cnf_kernel *kernel, cnf_pool2d_job *job, cnp.ndarray x, cnp.ndarray y, object num_threads) except -1:
    cdef cnf_pool2d *s = &job.shape
    job.x = cnp.PyArray_DATA(x)
    job.y = cnp.PyArray_DATA(y)
    cdef Py_ssize_t tasks = _set_chunk(job, s.n * s.oh, s.w * s.c * min(s.sh, s.h))
    return _run(func, kernel, job, tasks, cnp.PyArray_SIZE(x) + cnp.PyArray_SIZE(y), cnp.PyArray_TYPE(x), num_threads)


cdef int _backward(str func, cnf_kernel *kernel, cnf_pool2d_job *job, cnp.ndarray dy, cnp.ndarray dx,
                   object num_threads) except -1:
    cdef cnf_pool2d *s = &job.shape
    job.x = cnp.PyArray_DATA(dy)
    job.y = cnp.PyArray_DATA(dx)
    cdef Py_ssize_t tasks = _set_chunk(job, s.n * s.h, s.w * s.c)
    return _run(func, kernel, job, tasks, cnp.PyArray_SIZE(dx) + cnp.PyArray_SIZE(dy), cnp.PyArray_TYPE(dy), num_threads)


cdef object _index_type(str func, cnf_pool2d *s, int typenum):
    """Bytes if the window has at most 256 taps; else int32, as long as the kernel can count the taps in its own lanes."""
    cdef double taps = <double>s.kh * <double>s.kw
    cdef double most = 2147483648.0 if typenum == cnp.NPY_DOUBLE else 16777216.0
    if taps > most:
        raise ValueError(f"{func}: kernel_size is too large for indices, got ({s.kh}, {s.kw}): at most {most:.0f} elements")
    return np.uint8 if taps <= 256 else np.int32


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, return_indices=False,
               data_format="channels_last", out=None, num_threads=None):
    """Maximum over windows of each channel's map.

    Padding never wins. A NaN in the window wins over everything; of equal maxima, and of several NaNs, the first in row-major
    order of the window.

    Parameters
    ----------
    x : array_like
        float32 or float64, shape (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Distance between windows; `kernel_size` if None.
    padding : int, (int, int), ((int, int), (int, int)) or str
        Pixels around the map: the same on all sides, (vertical, horizontal), ((top, bottom), (left, right)), ``"valid"``
        (none), ``"same"`` or ``"same_lower"`` (an output of ``ceil(H / stride)``). At most half of the effective kernel.
    dilation : int or (int, int)
        Distance between the pixels of a window.
    ceil_mode : bool
        Also use a last window that leaves the padded map, unless it would begin beyond the map and the padding before it.
    return_indices : bool
        Also return where each maximum is, for `max_pool2d_backward`.
    data_format : {"channels_last", "channels_first"}
        Layout of `x`, the result and the indices.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    y : ndarray
        Shape (N, H', W', C), ``H' = floor((H + padding - effective kernel) / stride) + 1`` (ceil with `ceil_mode`).
    indices : ndarray
        Only with `return_indices`. ``i * kernel_width + j`` of the winning pixel (i, j) of the window, of the shape of `y`:
        uint8, or int32 where a window has more than 256 pixels.

    Raises
    ------
    ValueError
        If a shape or value breaks one of the rules above, or a dilated window would see nothing but padding.
    TypeError
        If an argument is of the wrong kind.
    """
    cdef str func = "max_pool2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _input(x, func, "x", first)
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef cnf_pool2d_job job
    cdef cnp.ndarray indices = None
    cdef cnp.npy_intp dims[4]
    _geometry(func, _dims(xa), kernel_size, stride, padding, dilation, ceil_mode, &job.shape)
    cdef cnp.ndarray y = _output(out, func, (job.shape.n, job.shape.oh, job.shape.ow, job.shape.c), typenum, (xa,), first)
    job.indices = NULL
    if return_indices:
        dims[0], dims[1], dims[2], dims[3] = job.shape.n, job.shape.oh, job.shape.ow, job.shape.c
        job.wide = _index_type(func, &job.shape, typenum) is np.int32
        indices = empty(4, dims, cnp.NPY_INT32 if job.wide else cnp.NPY_UBYTE)
        job.indices = cnp.PyArray_DATA(indices)
    _forward(func, kernels(typenum).max_pool2d, &job, xa, y, num_threads)
    answer = _answer(y, out, first)
    if not return_indices:
        return answer
    return answer, to_first(indices) if first else indices


cdef int _check_indices(str func, cnf_pool2d_job *job, cnp.ndarray indices, int typenum, object num_threads) except -1:
    """Each index must name a pixel of its window inside the map: a wrong one would be lost without a word."""
    cdef cnf_pool2d *s = &job.shape
    cdef Py_ssize_t tasks = _set_chunk(job, s.n * s.oh, s.ow * s.c)
    cdef cnp.npy_intp size = tasks
    cdef cnp.ndarray bad = cnp.PyArray_ZEROS(1, &size, cnp.NPY_UBYTE, 0)
    job.indices = cnp.PyArray_DATA(indices)
    job.y = cnp.PyArray_DATA(bad)
    _run(func, kernels(typenum).max_pool2d_check, job, tasks, cnp.PyArray_SIZE(indices) / 4, typenum, num_threads)
    if memchr(cnp.PyArray_DATA(bad), 1, tasks) == NULL:
        return 0
    for at, index in np.ndenumerate(indices):
        i, j = divmod(int(index), s.kw)
        iy, ix = int(at[1]) * s.sh - s.pt + i * s.dh, int(at[2]) * s.sw - s.pl + j * s.dw
        if not (0 <= i < s.kh and 0 <= iy < s.h and 0 <= ix < s.w):
            raise ValueError(
                f"{func}: indices must each name one of the {s.kh} x {s.kw} pixels of their window, inside the input; "
                f"got {index} for output {tuple([int(k) for k in at])} (batch, row, column, channel)"
            )
    raise AssertionError(f"{func}: the kernel refuses indices that are valid")


def max_pool2d_backward(dy, indices, input_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *,
                        y=None, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `max_pool2d` with respect to its input: each window's gradient goes to the pixel that won it.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: float32 or float64, of the output's shape.
    indices : ndarray
        As `max_pool2d` returned them with ``return_indices=True``.
    input_shape : tuple of int
        Shape of `x`, in the order of `data_format`.
    kernel_size, stride, padding, dilation, ceil_mode, data_format
        As in `max_pool2d`.
    y : array_like, optional
        The output of ``max_pool2d(relu(...))``, of the shape and dtype of `dy`: go back through the ReLU too, with the bits of
        `relu_backward` after this op. The gradient of a window whose maximum is not positive is lost.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape `input_shape`, the dtype of `dy`. Where windows overlap their gradients are added, always in the same order.

    Raises
    ------
    ValueError
        Before anything is written, if a shape does not fit or an index is not that of a pixel of its window.
    TypeError
        If an argument is of the wrong kind.
    """
    cdef str func = "max_pool2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef tuple shape = _shape_of(input_shape, func, first)
    cdef cnf_pool2d_job job
    cdef cnf_pool2d *s = &job.shape
    _geometry(func, shape, kernel_size, stride, padding, dilation, ceil_mode, s)
    cdef cnp.ndarray g = _gradient(dy, func, (s.n, s.oh, s.ow, s.c), first)
    cdef int typenum = cnp.PyArray_TYPE(g)
    dtype = _index_type(func, s, typenum)
    cdef cnp.ndarray ia = _indices(indices, func, dtype, _in_order(_dims(g), first))
    if first:
        ia = to_last(ia)
    job.wide = dtype is np.int32
    cdef cnp.ndarray ya = None
    if y is not None:
        ya = as_like(y, g, func, "y")
        if _dims(ya) != _in_order(_dims(g), first):
            raise ValueError(f"{func}: y must have shape {_in_order(_dims(g), first)}, got {_dims(ya)}")
        if first:
            ya = to_last(ya)
    _check_indices(func, &job, ia, typenum, num_threads)
    cdef cnp.ndarray dx = _output(out, func, shape, typenum, (g, ia, ya), first)
    job.output = cnp.PyArray_DATA(ya) if ya is not None else NULL
    _backward(func, kernels(typenum).max_pool2d_backward, &job, g, dx, num_threads)
    return _answer(dx, out, first)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False, *,
               data_format="channels_last", out=None, num_threads=None):
    """Mean over windows of each channel's map.

    Parameters
    ----------
    x : array_like
        float32 or float64, shape (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    kernel_size, stride, padding, ceil_mode, data_format
        As in `max_pool2d`.
    count_include_pad : bool
        Divide by all pixels of the window that lie in the padded map, padding counting as zeros, instead of by those that lie
        in the map. (The default is that of Keras and ONNX; PyTorch's is True.)
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, H', W', C) as in `max_pool2d`.

    Raises
    ------
    ValueError
        If a shape or value breaks one of the rules.
    TypeError
        If an argument is of the wrong kind.
    """
    cdef str func = "avg_pool2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _input(x, func, "x", first)
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef cnf_pool2d_job job
    cdef cnf_pool2d *s = &job.shape
    _geometry(func, _dims(xa), kernel_size, stride, padding, 1, ceil_mode, s)
    job.include_pad = bool(count_include_pad)
    job.output = NULL
    cdef cnp.ndarray y = _output(out, func, (s.n, s.oh, s.ow, s.c), typenum, (xa,), first)
    _forward(func, kernels(typenum).avg_pool2d, &job, xa, y, num_threads)
    return _answer(y, out, first)


def avg_pool2d_backward(dy, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False, *,
                        data_format="channels_last", out=None, num_threads=None):
    """Gradient of `avg_pool2d` with respect to its input: each window's gradient is shared evenly by its pixels.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: float32 or float64, of the output's shape.
    input_shape : tuple of int
        Shape of `x`, in the order of `data_format`.
    kernel_size, stride, padding, ceil_mode, count_include_pad, data_format
        As in `avg_pool2d`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape `input_shape`, the dtype of `dy`.

    Raises
    ------
    ValueError
        If a shape or value breaks one of the rules.
    TypeError
        If an argument is of the wrong kind.
    """
    cdef str func = "avg_pool2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef tuple shape = _shape_of(input_shape, func, first)
    cdef cnf_pool2d_job job
    cdef cnf_pool2d *s = &job.shape
    _geometry(func, shape, kernel_size, stride, padding, 1, ceil_mode, s)
    job.include_pad = bool(count_include_pad)
    job.output = NULL
    job.wide = 0
    cdef cnp.ndarray g = _gradient(dy, func, (s.n, s.oh, s.ow, s.c), first)
    cdef cnp.ndarray dx = _output(out, func, shape, cnp.PyArray_TYPE(g), (g,), first)
    _backward(func, kernels(cnp.PyArray_TYPE(g)).avg_pool2d_backward, &job, g, dx, num_threads)
    return _answer(dx, out, first)


# --- whole maps ----------------------------------------------------------------------------------------------------------


cdef int _map(str func, tuple shape, cnf_pool2d_job *job) except -1:
    cdef cnf_pool2d *s = &job.shape
    s.n, s.h, s.w, s.c = shape
    return _check_map(func, s)


cdef tuple _pooled_shape(cnf_pool2d *s, bint keepdims, bint first):
    if not keepdims:
        return (s.n, s.c)
    return _in_order((s.n, 1, 1, s.c), first)


cdef cnp.ndarray _pooled(object out, str func, tuple shape, int typenum, tuple inputs):
    """With one pixel left, both layouts are the same memory."""
    cdef cnp.npy_intp dims[4]
    cdef int i
    for i, size in enumerate(shape):
        dims[i] = size
    return result(out, func, len(shape), dims, typenum, inputs)


cdef int _global(str func, cnf_kernel *kernel, cnf_pool2d_job *job, cnp.ndarray x, cnp.ndarray y, object num_threads) except -1:
    job.x = cnp.PyArray_DATA(x)
    job.y = cnp.PyArray_DATA(y)
    cdef Py_ssize_t tasks = job.shape.n * ((job.shape.c + BLOCK - 1) // BLOCK)
    return _run(func, kernel, job, tasks, cnp.PyArray_SIZE(x), cnp.PyArray_TYPE(x), num_threads)


cdef int _global_backward(str func, cnf_kernel *kernel, cnf_pool2d_job *job, cnp.ndarray dy, cnp.ndarray dx,
                          object num_threads) except -1:
    job.x = cnp.PyArray_DATA(dy)
    job.y = cnp.PyArray_DATA(dx)
    cdef Py_ssize_t pixels = job.shape.h * job.shape.w
    job.chunk = max(16, 4 * TASK // job.shape.c)  # few pieces of a map: where its maxima are cannot be foretold
    return _run(func, kernel, job, job.shape.n * ((pixels + job.chunk - 1) // job.chunk), cnp.PyArray_SIZE(dx),
                cnp.PyArray_TYPE(dy), num_threads)


def global_avg_pool2d(x, *, keepdims=False, data_format="channels_last", out=None, num_threads=None):
    """Mean of each channel's map.

    Parameters
    ----------
    x : array_like
        float32 or float64, shape (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    keepdims : bool
        Keep H and W as axes of length 1.
    data_format : {"channels_last", "channels_first"}
        Layout of `x`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, C); with `keepdims` (N, 1, 1, C) or (N, C, 1, 1). Summed in an order fixed by the shape.

    Raises
    ------
    ValueError
        If `x` has no pixel or no channel.
    """
    cdef str func = "global_avg_pool2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _input(x, func, "x", first)
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef cnf_pool2d_job job
    _map(func, _dims(xa), &job)
    cdef cnp.ndarray y = _pooled(out, func, _pooled_shape(&job.shape, keepdims, first), typenum, (xa,))
    _global(func, kernels(typenum).global_avg_pool2d, &job, xa, y, num_threads)
    return deliver(y, out)


def global_max_pool2d(x, *, keepdims=False, return_indices=False, data_format="channels_last", out=None, num_threads=None):
    """Maximum of each channel's map; NaN and ties as in `max_pool2d`.

    Parameters
    ----------
    x : array_like
        float32 or float64, shape (N, H, W, C), or (N, C, H, W) with ``data_format="channels_first"``.
    keepdims : bool
        Keep H and W as axes of length 1.
    return_indices : bool
        Also return where each maximum is.
    data_format : {"channels_last", "channels_first"}
        Layout of `x`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    y : ndarray
        Shape (N, C); with `keepdims` (N, 1, 1, C) or (N, C, 1, 1).
    indices : ndarray
        Only with `return_indices`: int64, ``row * W + column`` of the maximum, of the shape of `y`.

    Raises
    ------
    ValueError
        If `x` has no pixel or no channel.
    """
    cdef str func = "global_max_pool2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _input(x, func, "x", first)
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef cnf_pool2d_job job
    cdef cnp.ndarray indices = None
    _map(func, _dims(xa), &job)
    cdef tuple shape = _pooled_shape(&job.shape, keepdims, first)
    cdef cnp.ndarray y = _pooled(out, func, shape, typenum, (xa,))
    job.indices = NULL
    if return_indices:
        indices = hold(np.empty(shape, np.int64))
        job.indices = cnp.PyArray_DATA(indices)
    _global(func, kernels(typenum).global_max_pool2d, &job, xa, y, num_threads)
    return (deliver(y, out), indices) if return_indices else deliver(y, out)


cdef cnp.ndarray _pooled_gradient(object dy, str func, cnf_pool2d *s, bint first):
    cdef cnp.ndarray a = as_array(dy, func, "dy")
    flat, kept = _pooled_shape(s, False, first), _pooled_shape(s, True, first)
    if _dims(a) != flat and _dims(a) != kept:
        raise ValueError(f"{func}: dy must have shape {flat} or {kept}, got {_dims(a)}")
    return a


def global_avg_pool2d_backward(dy, input_shape, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `global_avg_pool2d` with respect to its input.

    Parameters
    ----------
    dy : array_like
        float32 or float64, shape (N, C), or with the axes of `keepdims`.
    input_shape : tuple of int
        Shape of `x`, in the order of `data_format`.
    data_format : {"channels_last", "channels_first"}
        Layout of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape `input_shape`: ``dy / (H * W)`` at every pixel.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    cdef str func = "global_avg_pool2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef tuple shape = _shape_of(input_shape, func, first)
    cdef cnf_pool2d_job job
    _map(func, shape, &job)
    cdef cnp.ndarray g = _pooled_gradient(dy, func, &job.shape, first)
    cdef cnp.ndarray dx = _output(out, func, shape, cnp.PyArray_TYPE(g), (g,), first)
    _global_backward(func, kernels(cnp.PyArray_TYPE(g)).global_avg_pool2d_backward, &job, g, dx, num_threads)
    return _answer(dx, out, first)


def global_max_pool2d_backward(dy, indices, input_shape, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `global_max_pool2d` with respect to its input: `dy` at the maximum, zero elsewhere.

    Parameters
    ----------
    dy : array_like
        float32 or float64, shape (N, C), or with the axes of `keepdims`.
    indices : ndarray
        As `global_max_pool2d` returned them with ``return_indices=True``; of the shape of `dy`.
    input_shape : tuple of int
        Shape of `x`, in the order of `data_format`.
    data_format : {"channels_last", "channels_first"}
        Layout of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape `input_shape`.

    Raises
    ------
    ValueError
        Before anything is written, if the shapes do not fit or an index lies outside the map.
    TypeError
        If `indices` is not int64.
    """
    cdef str func = "global_max_pool2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef tuple shape = _shape_of(input_shape, func, first)
    cdef cnf_pool2d_job job
    _map(func, shape, &job)
    cdef cnp.ndarray g = _pooled_gradient(dy, func, &job.shape, first)
    cdef cnp.ndarray ia = _indices(indices, func, np.int64, _dims(g))
    cdef Py_ssize_t k, pixels = job.shape.h * job.shape.w
    cdef const cnp.int64_t *at = <const cnp.int64_t *>cnp.PyArray_DATA(ia)
    for k in range(cnp.PyArray_SIZE(ia)):
        if not 0 <= at[k] < pixels:
            raise ValueError(f"{func}: indices must be in 0 ... {pixels - 1}, got {at[k]}")
    job.indices = cnp.PyArray_DATA(ia)
    cdef cnp.ndarray dx = _output(out, func, shape, cnp.PyArray_TYPE(g), (g, ia), first)
    _global_backward(func, kernels(cnp.PyArray_TYPE(g)).global_max_pool2d_backward, &job, g, dx, num_threads)
    return _answer(dx, out, first)
