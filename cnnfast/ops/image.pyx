"""What is done to whole images before a network sees them, each sample in its own way: flips, crops, affine maps, light."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from cnnfast.ops.check cimport (
    any_array, as_array, as_same, deliver, image_answer, image_out, integer, is_channels_first, number, pair, result,
    share_memory, to_last
)
from cnnfast.ops.cpu cimport CNF_CONSTANT, CNF_NEAREST, CNF_REFLECT, CNF_WRAP, cnf_image, cnf_kernel, cnf_kernels, kernels
from cnnfast.ops.memory cimport Block, block, empty
from cnnfast.ops.threads cimport run, run_on, thread_count, unrepeatable

from cnnfast.ops.tape import hold

cnp.import_array()

cdef Py_ssize_t CHUNK = 16384   # elements of a task, about
cdef Py_ssize_t CHANNELS = 64   # of a task that adds up
cdef Py_ssize_t COLUMNS = 128   # at least so wide is a row of sums
cdef dict MODES = {"constant": CNF_CONSTANT, "nearest": CNF_NEAREST, "wrap": CNF_WRAP, "reflect": CNF_REFLECT}
cdef dict KINDS = {"numbers": ("iuf", np.float64), "ints": ("iu", np.int64), "bools": ("b", np.bool_)}


cdef cnp.ndarray _kept(object value, cnp.ndarray a, tuple shape, object dtype):
    """`a`, which was made of `value`, as a job reads it, now and whenever it is run again."""
    cdef cnp.ndarray kept = hold(np.ascontiguousarray(np.broadcast_to(a, shape), dtype))
    if a is value and not share_memory(kept, a):  # nobody will copy what is there in the next step
        unrepeatable()
    return kept


cdef cnp.ndarray _samples(object value, Py_ssize_t n, str func, str name, str kind):
    """One number for each of the `n` samples (or one for all)."""
    cdef cnp.ndarray a = any_array(value, func, name)
    letters, dtype = KINDS[kind]
    if a.dtype.kind not in letters:
        raise TypeError(f"{func}: {name} must be {kind}, got {value!r}")
    if (<object>a).shape not in ((), (n,)):
        raise ValueError(f"{func}: {name} must be one for each of {n} samples, got shape {(<object>a).shape}")
    if kind == "numbers" and not np.isfinite(a).all():
        raise ValueError(f"{func}: {name} must be finite, got {value!r}")
    return _kept(value, a, (n,), dtype)


cdef int _plan(cnf_image *job, cnp.ndarray x) except -1:
    memset(job, 0, sizeof(job[0]))
    job.n, job.h, job.w, job.c = (<object>x).shape
    job.x = cnp.PyArray_DATA(x)
    return 0


cdef Py_ssize_t _cut(cnf_image *job, Py_ssize_t rows, Py_ssize_t line) noexcept:
    """Cuts the output of each sample, so many rows of so many elements, into tasks; returns how many there are of all."""
    job.chunk = min(rows, max(1, CHUNK // line))
    return job.n * ((rows + job.chunk - 1) // job.chunk)


# --- brightness and contrast ----------------------------------------------------------------------------------------------


cdef int _range(cnf_image *job, object value_range, str func) except -1:
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ValueError(f"{func}: value_range must be (lowest, highest), got {value_range!r}")
    job.low, job.high = [number(value, func, "value_range") for value in value_range]
    if job.low > job.high:
        raise ValueError(f"{func}: value_range must be (lowest, highest), got {value_range!r}")
    return 0


cdef object _brightness(str func, bint backward, object dy, object x, object delta, object value_range, object out,
                        object num_threads):
    cdef cnp.ndarray xa = as_array(x, func, "x", 4), dya = None, deltas, y
    cdef int typenum = cnp.PyArray_TYPE(xa)
    cdef const cnf_kernels *table = kernels(typenum)
    cdef cnf_image job
    _plan(&job, xa)
    if backward:
        dya = as_same(dy, xa, func, "dy")
        job.z = cnp.PyArray_DATA(dya)
    _range(&job, value_range, func)
    deltas = _samples(delta, job.n, func, "delta", "numbers")
    y = result(out, func, 4, cnp.PyArray_DIMS(xa), typenum, (xa, dya, deltas), dya if backward else xa)
    if cnp.PyArray_SIZE(y) > 0:
        job.y, job.numbers = cnp.PyArray_DATA(y), <double *>cnp.PyArray_DATA(deltas)
        run(func, table.adjust_brightness_backward if backward else table.adjust_brightness, &job,
            _cut(&job, job.h, job.w * job.c), 0.4 * cnp.PyArray_SIZE(y), num_threads)
    return deliver(y, out)


def adjust_brightness(x, delta, value_range, *, out=None, num_threads=None):
    """``clip(x + delta, *value_range)``.

    Parameters
    ----------
    x : array_like
        float32 or float64, 4-D, samples first.
    delta : float or array_like (N,)
    value_range : (float, float)
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _brightness("adjust_brightness", False, None, x, delta, value_range, out, num_threads)


def adjust_brightness_backward(dy, x, delta, value_range, *, out=None, num_threads=None):
    """Gradient of `adjust_brightness` with respect to `x`: `dy` where nothing was clipped. Arguments as there."""
    return _brightness("adjust_brightness_backward", True, dy, x, delta, value_range, out, num_threads)


cdef object _contrast(str func, bint backward, object dy, object x, object factor, object value_range, object data_format,
                      object out, object num_threads):
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, "x", 4), xa = to_last(given) if first else given, dya = None, factors, y
    cdef int typenum = cnp.PyArray_TYPE(xa), workers
    cdef double work
    cdef const cnf_kernels *table = kernels(typenum)
    cdef cnf_kernel *kernel = table.adjust_contrast_backward if backward else table.adjust_contrast
    cdef cnf_image job
    cdef Block scratch
    _plan(&job, xa)
    if backward:
        dya = as_same(dy, given, func, "dy")
        dya = to_last(dya) if first else dya
        job.z = cnp.PyArray_DATA(dya)
    _range(&job, value_range, func)
    factors = _samples(factor, job.n, func, "factor", "numbers")
    y = image_out(func, 4, cnp.PyArray_DIMS(xa), typenum, (xa, dya, factors), dya if backward else xa, first, out)
    if cnp.PyArray_SIZE(y) > 0:
        job.period = job.c
        while job.period < COLUMNS:
            job.period *= 2
        job.y, job.numbers = cnp.PyArray_DATA(y), <double *>cnp.PyArray_DATA(factors)
        work = 0.6 * cnp.PyArray_SIZE(y)
        workers = thread_count(num_threads, job.n, work, func)
        job.scratch_bytes = <size_t>(job.period * (sizeof(double) + 2 * cnp.PyArray_ITEMSIZE(y)) + 63) // 64 * 64
        scratch = block(job.scratch_bytes * workers)
        job.scratch = scratch.data
        run_on(workers, kernel, &job, job.n, work)
    return image_answer(y, first, out)


def adjust_contrast(x, factor, value_range, *, data_format="channels_last", out=None, num_threads=None):
    """``clip((x - mean) * factor + mean, *value_range)``, the mean that of each sample's channel.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    factor : float or array_like (N,)
    value_range : (float, float)
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    return _contrast("adjust_contrast", False, None, x, factor, value_range, data_format, out, num_threads)


def adjust_contrast_backward(dy, x, factor, value_range, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `adjust_contrast` with respect to `x`. Arguments as there."""
    return _contrast("adjust_contrast_backward", True, dy, x, factor, value_range, data_format, out, num_threads)


# --- flips and crops -------------------------------------------------------------------------------------------------------


def flip2d(x, vertical, horizontal, *, data_format="channels_last", out=None, num_threads=None):
    """Turn samples upside down or left to right. It is its own gradient.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    vertical, horizontal : bool or array_like of bool (N,)
        Which samples to turn upside down, left to right.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`, a new array.
    """
    cdef str func = "flip2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, "x", 4), xa = to_last(given) if first else given, ups, sides, y
    cdef cnf_image job
    _plan(&job, xa)
    ups = _samples(vertical, job.n, func, "vertical", "bools")
    sides = _samples(horizontal, job.n, func, "horizontal", "bools")
    y = image_out(func, 4, cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa, ups, sides), None, first, out)
    if cnp.PyArray_SIZE(y) > 0:
        job.y = cnp.PyArray_DATA(y)
        job.vertical, job.horizontal = <uint8_t *>cnp.PyArray_DATA(ups), <uint8_t *>cnp.PyArray_DATA(sides)
        run(func, kernels(cnp.PyArray_TYPE(y)).flip2d, &job, _cut(&job, job.h, job.w * job.c),
            0.5 * cnp.PyArray_SIZE(y), num_threads)
    return image_answer(y, first, out)


cdef cnp.ndarray _corner(object value, Py_ssize_t n, Py_ssize_t most, str func, str name):
    """The first row or column of each sample's window."""
    cdef cnp.ndarray places = _samples(value, n, func, name, "ints")
    if n and not ((<object>places).min() >= 0 and (<object>places).max() <= most):
        raise ValueError(
            f"{func}: {name} must be from 0 to {most}, for the window to fit, got {(<object>places).tolist()}")
    return places


cdef int _crop(str func, cnf_image *job, cnf_kernel *kernel, cnp.ndarray tops, cnp.ndarray lefts, cnp.ndarray y,
               object num_threads) except -1:
    cdef Py_ssize_t tasks
    if cnp.PyArray_SIZE(y) > 0:
        job.y = cnp.PyArray_DATA(y)
        job.top, job.left = <int64_t *>cnp.PyArray_DATA(tops), <int64_t *>cnp.PyArray_DATA(lefts)
        tasks = _cut(job, cnp.PyArray_DIM(y, 1), cnp.PyArray_DIM(y, 2) * job.c)
        run(func, kernel, job, tasks, 0.4 * cnp.PyArray_SIZE(y), num_threads)
    return 0


def crop2d(x, top, left, height, width, *, data_format="channels_last", out=None, num_threads=None):
    """Cut a window out of each sample.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C).
    top, left : int or array_like of int (N,)
        First row and column of the window.
    height, width : int
        Size of the window; it lies inside the image.
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (N, height, width, C), a new array.
    """
    cdef str func = "crop2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, "x", 4), xa = to_last(given) if first else given, tops, lefts, y
    cdef cnp.npy_intp dims[4]
    cdef cnf_image job
    _plan(&job, xa)
    job.oh, job.ow = integer(height, func, "height", 1), integer(width, func, "width", 1)
    if job.oh > job.h or job.ow > job.w:
        raise ValueError(f"{func}: the window must fit into the image of {(job.h, job.w)}, got {(job.oh, job.ow)}")
    tops = _corner(top, job.n, job.h - job.oh, func, "top")
    lefts = _corner(left, job.n, job.w - job.ow, func, "left")
    dims[0], dims[1], dims[2], dims[3] = job.n, job.oh, job.ow, job.c
    y = image_out(func, 4, dims, cnp.PyArray_TYPE(xa), (xa, tops, lefts), None, first, out)
    _crop(func, &job, kernels(cnp.PyArray_TYPE(y)).crop2d, tops, lefts, y, num_threads)
    return image_answer(y, first, out)


def crop2d_backward(dy, top, left, input_shape, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `crop2d` with respect to its input: `dy` in its place, zeros around it.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output.
    top, left, data_format
        As in `crop2d`.
    input_shape : sequence of int
        Shape of its `x`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape `input_shape`.
    """
    cdef str func = "crop2d_backward"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(dy, func, "dy", 4), dya = to_last(given) if first else given, tops, lefts, dx
    cdef cnp.npy_intp dims[4]
    cdef cnf_image job
    cdef int i
    _plan(&job, dya)
    job.oh, job.ow = job.h, job.w
    try:
        shape = [integer(size, func, "input_shape", 0) for size in input_shape]
    except TypeError:
        raise TypeError(f"{func}: input_shape must be 4 ints, got {input_shape!r}") from None
    if len(shape) == 4 and first:
        shape.append(shape.pop(1))
    if len(shape) != 4 or shape[0] != job.n or shape[3] != job.c or shape[1] < job.oh or shape[2] < job.ow:
        raise ValueError(
            f"{func}: input_shape must be that of an image around dy, {(<object>dya).shape}, got {tuple(input_shape)}")
    job.h, job.w = shape[1], shape[2]
    for i in range(4):
        dims[i] = shape[i]
    tops = _corner(top, job.n, job.h - job.oh, func, "top")
    lefts = _corner(left, job.n, job.w - job.ow, func, "left")
    dx = image_out(func, 4, dims, cnp.PyArray_TYPE(dya), (dya, tops, lefts), None, first, out)
    _crop(func, &job, kernels(cnp.PyArray_TYPE(dx)).crop2d_backward, tops, lefts, dx, num_threads)
    return image_answer(dx, first, out)


# --- affine maps -----------------------------------------------------------------------------------------------------------


cdef cnp.ndarray _matrices(object matrix, Py_ssize_t n, str func):
    cdef cnp.ndarray a = any_array(matrix, func, "matrix")
    if a.dtype.kind not in "iuf":
        raise TypeError(f"{func}: matrix must be numbers, got {a.dtype}")
    if (<object>a).shape not in ((2, 3), (n, 2, 3)):
        raise ValueError(f"{func}: matrix must have shape (2, 3) or {(n, 2, 3)}, got {(<object>a).shape}")
    if not (np.abs(a) < 2**31).all():
        raise ValueError(f"{func}: matrix must be finite and less than 2**31")
    return _kept(matrix, a, (n, 2, 3), np.float64)


cdef str _choice(object value, str func, str name, tuple choices):
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{func}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value


cdef object _affine(str func, bint backward, object x, str name, object matrix, object mode, object interpolation,
                    object fill_value, object data_format, object out, object num_threads):
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray given = as_array(x, func, name, 4), xa = to_last(given) if first else given, matrices, y
    cdef const cnf_kernels *table = kernels(cnp.PyArray_TYPE(xa))
    cdef cnf_image job
    cdef Py_ssize_t tasks
    _plan(&job, xa)
    if not job.h or not job.w:
        raise ValueError(f"{func}: images must have pixels, got {(<object>xa).shape}")
    job.mode = MODES[_choice(mode, func, "mode", tuple(MODES))]
    job.nearest = _choice(interpolation, func, "interpolation", ("bilinear", "nearest")) == "nearest"
    matrices = _matrices(matrix, job.n, func)
    job.low = number(fill_value, func, "fill_value")
    y = image_out(func, 4, cnp.PyArray_DIMS(xa), cnp.PyArray_TYPE(xa), (xa, matrices), None, first, out)
    if cnp.PyArray_SIZE(y) > 0:
        job.y, job.matrix = cnp.PyArray_DATA(y), <double *>cnp.PyArray_DATA(matrices)
        if backward:
            job.chunk = min(job.c, CHANNELS)
            tasks = job.n * ((job.c + job.chunk - 1) // job.chunk)
        else:
            tasks = _cut(&job, job.h, job.w * job.c)
        run(func, table.affine2d_backward if backward else table.affine2d, &job, tasks,
            job.n * job.h * job.w * (8 + 0.8 * job.c), num_threads)
    return image_answer(y, first, out)


def affine2d(x, matrix, mode="reflect", interpolation="bilinear", fill_value=0.0, *, data_format="channels_last", out=None,
             num_threads=None):
    """Move, turn, stretch each sample: pixel (row, column) of the output is ``matrix @ (row, column, 1)`` of the input.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, H, W, C), H and W positive.
    matrix : array_like
        (N, 2, 3), or (2, 3) for all: as in `scipy.ndimage.affine_transform`, from the output to the input.
    mode : {"reflect", "constant", "nearest", "wrap"}
        What is outside the image: the image mirrored at its edges, `fill_value`, its edge pixels, the image again.
    interpolation : {"bilinear", "nearest"}
    fill_value : float
    data_format : {"channels_last", "channels_first"}
        Layout of `x` and of the result.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`. A pixel of weight 0 in the sum that makes another does not reach it.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    return _affine("affine2d", False, x, "x", matrix, mode, interpolation, fill_value, data_format, out, num_threads)


def affine2d_backward(dy, matrix, mode="reflect", interpolation="bilinear", *, data_format="channels_last", out=None,
                      num_threads=None):
    """Gradient of `affine2d` with respect to `x`.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output: its shape and dtype.
    matrix, mode, interpolation, data_format
        As in `affine2d`.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `dy`.
    """
    return _affine("affine2d_backward", True, dy, "dy", matrix, mode, interpolation, 0.0, data_format, out, num_threads)


cdef object _matrix(str func, tuple names, tuple values, object size):
    """Matrices from two fractions or from one, in the kernel of their dtype."""
    cdef cnp.ndarray a, x, z = None, y
    cdef int typenum = cnp.NPY_FLOAT
    cdef cnp.npy_intp dims[3]
    cdef Py_ssize_t extents[2]
    cdef cnf_image job
    memset(&job, 0, sizeof(job))
    pair(size, func, "size", 0, extents)
    job.n, job.h, job.w = any_array(values[0], func, names[0]).size, extents[0], extents[1]
    if any([any_array(value, func, name).dtype != np.float32 for name, value in zip(names, values)]):
        typenum = cnp.NPY_DOUBLE
    kept = []
    for name, value in zip(names, values):
        a = _samples(value, job.n, func, name, "numbers")
        kept.append(a if typenum == cnp.NPY_DOUBLE else hold(a.astype(np.float32)))
    x, z = kept[0], kept[-1]
    dims[0], dims[1], dims[2] = job.n, 2, 3
    y = empty(3, dims, cnp.NPY_DOUBLE)
    job.x, job.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    if len(values) == 2:
        job.z = cnp.PyArray_DATA(z)
    if job.n > 0:
        run(func, kernels(typenum).affine_matrix, &job, job.n, 20.0 * job.n, None)
    return y


def translation2d(down, right, size):
    """Matrices for `affine2d` that shift images by fractions of their size.

    Parameters
    ----------
    down, right : array_like (N,)
        Fractions of the height and of the width.
    size : (int, int)
        Height and width of the images.

    Returns
    -------
    ndarray
        float64, (N, 2, 3).
    """
    return _matrix("translation2d", ("down", "right"), (down, right), size)


def rotation2d(turns, size):
    """Matrices for `affine2d` that turn images counter-clockwise about their center.

    Parameters
    ----------
    turns : array_like (N,)
        Angles as fractions of a full turn.
    size : (int, int)
        Height and width of the images.

    Returns
    -------
    ndarray
        float64, (N, 2, 3). Whole quarters of a turn are exact.
    """
    return _matrix("rotation2d", ("turns",), (turns,), size)
