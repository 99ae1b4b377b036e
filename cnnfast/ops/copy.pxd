cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_copy

# y[...] = x, of one shape and dtype, that don't overlap: by a kernel, so that a recording can repeat it; by NumPy where memory
# is too strange for one (another byte order, odd addresses), which it can't.
cdef int copy_into(cnp.ndarray y, cnp.ndarray x, object num_threads=*, str func=*) except -1

# The values of x in a new C-contiguous array.
cdef cnp.ndarray copied(cnp.ndarray x)

# Fills the axes of a job that takes elements from `x`'s places to `y`'s; returns its tasks, or -1 if no kernel can do it.
cdef Py_ssize_t plan_copy(cnf_copy *job, cnp.ndarray x, cnp.ndarray y) except -2
