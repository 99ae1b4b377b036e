"""Arrays joined along an axis, and parted again."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport as_strided, check_out, integer, outs_of, share_memory
from cnnfast.ops.copy cimport copy_into
from cnnfast.ops.memory cimport empty

cnp.import_array()


cdef int _axis(object axis, int ndim, str func) except -1:
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"{func}: axis must be an int, got {axis!r}")
    if not -ndim <= axis.__index__() < ndim:
        raise ValueError(f"{func}: axis must be in {-ndim}...{ndim - 1}, got {axis}")
    return axis.__index__() % ndim


cdef object _place(object out, str func, tuple shape, cnp.ndarray like):
    """`out`, checked, or a new array whose axes lie in memory as those of `like` do."""
    cdef cnp.npy_intp dims[64]
    cdef int typenum = cnp.PyArray_TYPE(like)
    if out is None:
        order = sorted(range(len(shape)), key=lambda axis: -abs((<object>like).strides[axis]))
        for i, axis in enumerate(order):
            dims[i] = shape[axis]
        return empty(<int>len(shape), dims, typenum).transpose(sorted(range(len(shape)), key=order.__getitem__))
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{func}: out must be a numpy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"{func}: out must have shape {shape}, got {out.shape}")
    check_out(out, func, typenum)
    return out


def concatenate(arrays, axis=-1, *, out=None, num_threads=None):
    """Arrays one after the other along an axis.

    Parameters
    ----------
    arrays : sequence of array_like
        float32 or float64, of one dtype, and of one shape but for `axis`.
    axis : int
        Along which they are joined.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        The sizes along `axis` added. Its axes lie in memory as those of the first array do.

    Raises
    ------
    TypeError, ValueError
        No arrays, other dtypes or shapes, an axis they do not have.
    """
    cdef str func = "concatenate"
    if not isinstance(arrays, (list, tuple)) or not arrays:
        raise TypeError(f"{func}: arrays must be a list of at least 1 array, got {type(arrays).__name__}")
    parts = [as_strided(a, func, "arrays", None) for a in arrays]
    first = parts[0]
    cdef int at = _axis(axis, first.ndim, func)
    for part in parts:
        if part.dtype != first.dtype:
            raise TypeError(f"{func}: arrays must have one dtype, got {first.dtype} and {part.dtype}")
        if part.ndim != first.ndim or part.shape[:at] != first.shape[:at] or part.shape[at + 1:] != first.shape[at + 1:]:
            raise ValueError(f"{func}: arrays must have one shape but for axis {at}, got {first.shape} and {part.shape}")
    shape = (*first.shape[:at], sum([part.shape[at] for part in parts]), *first.shape[at + 1:])
    y = _place(out, func, shape, first)
    if out is not None and any([share_memory(part, out) for part in parts]):
        y = _place(None, func, shape, first)
    end = 0
    for part in parts:
        start, end = end, end + part.shape[at]
        copy_into(y[(slice(None),) * at + (slice(start, end),)], part, num_threads, func)
    if out is None or y is out:
        return y
    copy_into(out, y, num_threads, func)
    return out


def concatenate_backward(dy, sizes, axis=-1, *, out=None, num_threads=None):
    """Gradients of `concatenate`: the parts of `dy` that came from each array.

    Parameters
    ----------
    dy : array_like
        Gradient of the output; float32 or float64.
    sizes : sequence of int
        Of the arrays along `axis`.
    axis : int
        Along which they were joined.
    out : tuple of ndarrays, optional
        Where to write the results; None in it for those to be made.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    tuple of ndarrays
        New ones, one for each array.

    Raises
    ------
    TypeError, ValueError
        The sizes do not add up to that of `dy`, or an argument breaks another rule.
    """
    cdef str func = "concatenate_backward"
    g = as_strided(dy, func, "dy", None)
    cdef int at = _axis(axis, g.ndim, func)
    if not isinstance(sizes, (list, tuple)):
        raise TypeError(f"{func}: sizes must be a list of ints, got {sizes!r}")
    sizes = [integer(size, func, "sizes", 0) for size in sizes]
    if sum(sizes) != g.shape[at]:
        raise ValueError(f"{func}: sizes must add up to {g.shape[at]}, the size of axis {at} of dy, got {sizes}")
    outs = outs_of(out, <int>len(sizes), func)
    parts = [_place(a, func, (*g.shape[:at], size, *g.shape[at + 1:]), g) for a, size in zip(outs, sizes)]
    if any([share_memory(g, part) for part in parts]):
        g = g.copy()
    end = 0
    for size, part in zip(sizes, parts):
        start, end = end, end + size
        copy_into(part, g[(slice(None),) * at + (slice(start, end),)], num_threads, func)
    return tuple(parts)
