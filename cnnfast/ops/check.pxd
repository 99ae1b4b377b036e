"""Validation, once, at the `def` boundary. Every message names function, argument, rule and value."""

cimport numpy as cnp

# An array of any dtype, or the error that says why x is none; and the error for a dtype that is not float32 or float64.
cpdef object any_array(object x, str func, str name)
cpdef object bad_dtype(cnp.ndarray a, str func, str name)

# A C-contiguous, aligned, native float32/float64 array with the values of x (x itself if it is one already);
# ndim < 0: any. A copy is made only where the layout demands it.
cdef cnp.ndarray as_array(object x, str func, str name, int ndim=*)

# A float32/float64 array as it is, whatever its strides; its dtype must be that of `like`, if there is one.
cdef object as_strided(object x, str func, str name, cnp.ndarray like)

# As as_array, but the dtype must be that of `like`.
cdef cnp.ndarray as_like(object x, cnp.ndarray like, str func, str name, int ndim=*)

# As as_like, but the shape must be that of `like` too.
cdef cnp.ndarray as_same(object x, cnp.ndarray like, str func, str name)

# Channels-first data (N, C, H, W) as channels-last, and back; a copy.
cdef cnp.ndarray to_last(cnp.ndarray x)
cdef object to_first(cnp.ndarray x)

# True for channels_first; anything but the two names is an error.
cdef bint is_channels_first(object data_format, str func) except -1

# An int >= minimum (np.integer welcome; bool, float, str are not).
cdef Py_ssize_t integer(object value, str func, str name, Py_ssize_t minimum) except? -1

# An int or a pair of ints, each >= minimum.
cdef int pair(object value, str func, str name, Py_ssize_t minimum, Py_ssize_t *out) except -1

# The padding grammar -> out = top, bottom, left, right. `window` is the effective kernel (h, w).
cdef int padding2d(object padding, str func, Py_ssize_t h, Py_ssize_t w, Py_ssize_t *window, Py_ssize_t *stride,
                   Py_ssize_t *out) except -1

# A finite float.
cdef double number(object value, str func, str name) except? -1.0

# Whether two arrays may overlap (bounds only); False if either is no array.
cdef bint share_memory(object a, object b)

# Where to compute a result: `out` itself if it can be written directly, else a fresh array.
# `inputs` may not overlap it; `inplace` is an input that may be exactly `out` (elementwise ops).
cdef cnp.ndarray result(object out, str func, int ndim, const cnp.npy_intp *shape, int typenum, tuple inputs, object inplace=*)

# What to return: `out` filled from y if it is not y already; y itself if out is None.
cdef object deliver(cnp.ndarray y, object out)

# Where to write a channels-last array of these extents, if the caller sees it channels first or not: `out` itself if it can
# be used; and what to return then.
cdef cnp.ndarray image_out(str func, int ndim, const cnp.npy_intp *shape, int typenum, tuple inputs, object inplace, bint first,
                           object out)
cdef object image_answer(cnp.ndarray y, bint first, object out)

# `out` of an op with several results: a tuple of `count`, all None by default.
cdef tuple outs_of(object out, int count, str func)

# The rules for `out` other than its shape: dtype, writeable, no internal overlap.
cdef int check_out(object out, str func, int typenum) except -1
