"""Validation, once, at the ``def`` boundary: names the function, the argument, the rule and the value it got."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.copy cimport copied, copy_into
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport unrepeatable

cnp.import_array()

cdef Py_ssize_t BIG = (1 << 62)


cpdef object any_array(object x, str func, str name):
    """Turn array-likes of any dtype into arrays, refusing what would silently mean something else."""
    if type(x) is cnp.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{func}: {name} must not be a masked array (masked values would be ignored); use x.filled(value)")
    if isinstance(x, (str, bytes)) or x is None:
        raise TypeError(f"{func}: {name} must be an array, got {type(x).__name__}")
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise TypeError(f"{func}: {name} must be a dense array, got {type(x).__name__}; use x.toarray()")
    if isinstance(x, np.ndarray):
        return x
    try:
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{func}: {name} must be an array, got {type(x).__name__}: {error}") from None
    except (TypeError, BufferError, RuntimeError) as error:  # on another device, of a dtype NumPy lacks, with a gradient
        raise TypeError(f"{func}: {name} can't be read as an array, got {type(x).__name__}: {error}") from None


cpdef object bad_dtype(cnp.ndarray a, str func, str name):
    is_table = a.dtype.kind == "O" and a.ndim > 0  # pandas: a column that may have missing values
    hint = f"; use {name}.astype(np.float32)" if a.dtype.kind in "iufb" or is_table else ""
    return TypeError(f"{func}: {name} must be float32 or float64, got {a.dtype}{hint}")


cdef object as_strided(object x, str func, str name, cnp.ndarray like):
    cdef cnp.ndarray a = <cnp.ndarray>np.asarray(any_array(x, func, name))
    if cnp.PyArray_TYPE(a) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(a) != cnp.NPY_DOUBLE:
        raise bad_dtype(a, func, name)
    if like is not None and cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(like):
        raise TypeError(f"{func}: {name} must have the dtype of the other arrays, {like.dtype}, got {a.dtype}")
    if not cnp.PyArray_ISBEHAVED_RO(a):
        unrepeatable()
        a = <cnp.ndarray>np.array(a, dtype=a.dtype.newbyteorder("="))
    return a


cdef cnp.ndarray as_array(object x, str func, str name, int ndim=-1):
    cdef cnp.ndarray a
    cdef int typenum
    if type(x) is cnp.ndarray:
        a = <cnp.ndarray>x
    elif isinstance(x, cnp.ndarray) and not isinstance(x, np.ma.MaskedArray):
        a = <cnp.ndarray>np.asarray(x)
    else:
        a = <cnp.ndarray>any_array(x, func, name)
    typenum = cnp.PyArray_TYPE(a)
    if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
        raise bad_dtype(a, func, name)
    if ndim >= 0 and cnp.PyArray_NDIM(a) != ndim:
        raise ValueError(f"{func}: {name} must be {ndim}-D, got shape {(<object>a).shape}")
    if cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_ISBEHAVED_RO(a):
        return a
    return copied(a)


cdef cnp.ndarray as_like(object x, cnp.ndarray like, str func, str name, int ndim=-1):
    cdef cnp.ndarray a = as_array(x, func, name, ndim)
    if cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(like):
        raise TypeError(f"{func}: {name} must have the dtype of the other arrays, {like.dtype}, got {a.dtype}")
    return a


cdef cnp.ndarray as_same(object x, cnp.ndarray like, str func, str name):
    cdef cnp.ndarray a = as_like(x, like, func, name)
    if not cnp.PyArray_SAMESHAPE(a, like):
        raise ValueError(
            f"{func}: {name} must have the shape of the other arrays, {(<object>like).shape}, got {(<object>a).shape}")
    return a


cdef cnp.ndarray to_last(cnp.ndarray x):
    return copied(<cnp.ndarray>np.moveaxis(x, 1, -1))


cdef object to_first(cnp.ndarray x):
    return copied(<cnp.ndarray>np.moveaxis(x, -1, 1))


cdef bint is_channels_first(object data_format, str func) except -1:
    if data_format == "channels_last":
        return False
    if data_format == "channels_first":
        return True
    raise ValueError(f"{func}: data_format must be 'channels_last' or 'channels_first', got {data_format!r}")


cdef Py_ssize_t integer(object value, str func, str name, Py_ssize_t minimum) except? -1:
    if type(value) is int and minimum <= value < BIG:  # the common case, without further questions
        return value
    if isinstance(value, (bool, np.bool_)) or isinstance(value, (np.ndarray, float)) or not hasattr(value, "__index__"):
        raise TypeError(f"{func}: {name} must be an int, got {value!r}")
    value = value.__index__()
    if value < minimum:
        rule = "positive" if minimum == 1 else "not negative" if minimum == 0 else f"at least {minimum}"
        raise ValueError(f"{func}: {name} must be {rule}, got {value}")
    if value >= BIG:
        raise ValueError(f"{func}: {name} is too large, got {value}")
    return value


cdef int pair(object value, str func, str name, Py_ssize_t minimum, Py_ssize_t *out) except -1:
    cdef Py_ssize_t i
    if type(value) is int:  # the common case, without further questions
        if minimum <= value < BIG:
            out[0] = out[1] = value
            return 0
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{func}: {name} must be an int or a tuple of 2 ints, got {value!r}")
        items = value
    else:
        items = (value, value)
    for i in range(2):
        item = items[i]
        if isinstance(item, (bool, np.bool_)) or isinstance(item, (np.ndarray, float)) or not hasattr(item, "__index__"):
            raise TypeError(f"{func}: {name} must be an int or a tuple of 2 ints, got {value!r}")
        item = item.__index__()
        if item < minimum:
            rule = "positive" if minimum == 1 else "not be negative"
            raise ValueError(f"{func}: {name} must {'be ' if minimum == 1 else ''}{rule}, got {value!r}")
        if item >= BIG:
            raise ValueError(f"{func}: {name} is too large, got {value!r}")
        out[i] = item
    return 0


cdef int _same(Py_ssize_t size, Py_ssize_t window, Py_ssize_t stride, bint lower, Py_ssize_t *out) noexcept:
    """Padding for an output of ceil(size / stride); the odd pixel goes to the end, or to the start for `lower`."""
    cdef Py_ssize_t count = (size + stride - 1) // stride if size > 0 else 0
    cdef Py_ssize_t total = (count - 1) * stride + window - size if count > 0 else 0
    if total < 0:
        total = 0
    out[0] = (total + 1) // 2 if lower else total // 2
    out[1] = total - out[0]
    return 0


cdef int padding2d(object padding, str func, Py_ssize_t h, Py_ssize_t w, Py_ssize_t *window, Py_ssize_t *stride,
                   Py_ssize_t *out) except -1:
    cdef Py_ssize_t both[2]
    if type(padding) is int and 0 <= padding < BIG:
        out[0] = out[1] = out[2] = out[3] = padding
        return 0
    if isinstance(padding, str):
        name = padding.lower()
        if name == "valid":
            out[0] = out[1] = out[2] = out[3] = 0
        elif name == "same" or name == "same_lower":
            _same(h, window[0], stride[0], name == "same_lower", out)
            _same(w, window[1], stride[1], name == "same_lower", out + 2)
        else:
            raise ValueError(
                f"{func}: padding must be an int, (ph, pw), ((top, bottom), (left, right)), "
                f"'valid', 'same' or 'same_lower', got {padding!r}"
            )
        return 0
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and isinstance(padding[0], (tuple, list)):
        if not isinstance(padding[1], (tuple, list)) or len(padding[0]) != 2 or len(padding[1]) != 2:
            raise ValueError(f"{func}: padding must be ((top, bottom), (left, right)), got {padding!r}")
        pair(padding[0], func, "padding", 0, out)
        pair(padding[1], func, "padding", 0, out + 2)
        return 0
    pair(padding, func, "padding", 0, both)
    out[0] = out[1] = both[0]
    out[2] = out[3] = both[1]
    return 0


cdef double number(object value, str func, str name) except? -1.0:
    cdef double x
    if type(value) is float and value - value == 0:  # the common case, without further questions
        return value
    if isinstance(value, (bool, np.bool_, str)) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"{func}: {name} must be a number, got {value!r}")
    x = float(value)
    if not (x - x == 0):
        raise ValueError(f"{func}: {name} must be finite, got {value!r}")
    return x


cdef bint _overlaps_itself(cnp.ndarray a):
    """Whether two indices of `a` name the same memory (sufficient test first, exact one for odd strides)."""
    axes = sorted((abs(s), n) for n, s in zip((<object>a).shape, (<object>a).strides) if n > 1)
    reach = a.itemsize
    for step, count in axes:
        if step < reach:
            break
        reach = step * (count - 1) + reach
    else:
        return False
    if any(step == 0 for step, _ in axes):
        return True
    offsets = np.zeros((), dtype=np.int64)
    for step, count in axes:
        offsets = np.add.outer(offsets, np.arange(count, dtype=np.int64) * step)
    return bool((np.diff(np.sort(offsets, axis=None)) < a.itemsize).any())


cdef bint share_memory(object a, object b):
    """Whether two arrays may overlap; what is no array does not."""
    cdef char *first
    cdef char *second
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return False
    if cnp.PyArray_ISONESEGMENT(<cnp.ndarray>a) and cnp.PyArray_ISONESEGMENT(<cnp.ndarray>b):
        first, second = <char *>cnp.PyArray_DATA(<cnp.ndarray>a), <char *>cnp.PyArray_DATA(<cnp.ndarray>b)
        return first < second + cnp.PyArray_NBYTES(<cnp.ndarray>b) and second < first + cnp.PyArray_NBYTES(<cnp.ndarray>a)
    return np.may_share_memory(a, b)


cdef cnp.ndarray result(object out, str func, int ndim, const cnp.npy_intp *shape, int typenum, tuple inputs,
                        object inplace=None):
    cdef cnp.ndarray a
    cdef int i
    cdef bint fits
    if out is None:
        return empty(ndim, shape, typenum)
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{func}: out must be a numpy array, got {type(out).__name__}")
    a = <cnp.ndarray>out
    fits = cnp.PyArray_NDIM(a) == ndim
    if fits:
        for i in range(ndim):
            fits = fits and cnp.PyArray_DIM(a, i) == shape[i]
    if not fits:
        raise ValueError(f"{func}: out must have shape {tuple([shape[i] for i in range(ndim)])}, got {(<object>a).shape}")
    check_out(out, func, typenum)
    if cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_ISBEHAVED(a) and type(out) is cnp.ndarray:
        for x in inputs:
            if not share_memory(x, out):
                continue
            if x is inplace and (<cnp.ndarray>x).data == a.data and cnp.PyArray_SIZE(<cnp.ndarray>x) == cnp.PyArray_SIZE(a):
                continue
            break
        else:
            return a
    return empty(ndim, shape, typenum)


cdef int check_out(object out, str func, int typenum) except -1:
    cdef cnp.ndarray a = <cnp.ndarray>out
    if cnp.PyArray_TYPE(a) != typenum:
        expected = "float64" if typenum == cnp.NPY_DOUBLE else "float32"
        raise TypeError(f"{func}: out must have dtype {expected}, got {a.dtype}")
    if not cnp.PyArray_ISWRITEABLE(a):
        raise ValueError(f"{func}: output array is read-only")
    if not cnp.PyArray_IS_C_CONTIGUOUS(a) and _overlaps_itself(a):
        raise ValueError(f"{func}: output array has internal overlap")
    return 0


cdef object deliver(cnp.ndarray y, object out):
    if out is None or y is out:
        return y
    copy_into(<cnp.ndarray>out, y)
    return out


cdef cnp.ndarray image_out(str func, int ndim, const cnp.npy_intp *shape, int typenum, tuple inputs, object inplace, bint first,
                           object out):
    cdef cnp.npy_intp seen[64]
    cdef int i
    if first and out is not None:  # checked against the shape the caller sees; computed apart, then copied
        seen[0] = shape[0]
        seen[1] = shape[ndim - 1]
        for i in range(2, ndim):
            seen[i] = shape[i - 1]
        result(out, func, ndim, seen, typenum, ())
        out = None
    return result(out, func, ndim, shape, typenum, inputs, inplace)


cdef object image_answer(cnp.ndarray y, bint first, object out):
    if not first:
        return deliver(y, out)
    return to_first(y) if out is None else deliver(<cnp.ndarray>np.moveaxis(y, -1, 1), out)


cdef tuple outs_of(object out, int count, str func):
    if out is None:
        return (None,) * count
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{func}: out must be a tuple of {count} arrays, got {type(out).__name__}")
    return out
