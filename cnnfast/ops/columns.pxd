cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_kernel, cnf_norm
from cnnfast.ops.memory cimport Block

# Cuts x, (..., C), into chunks that depend on its shape alone: a job for the kernels of norm.inc, else zero.
cdef int plan_columns(cnf_norm *job, cnp.ndarray x, str func) except -1

# The same for `size` elements in rows of so many columns.
cdef int plan_period(cnf_norm *job, Py_ssize_t size, Py_ssize_t channels) except -1

# Runs a kernel of norm.inc whose one task tiles, or merges the sums of all chunks: a nanosecond a number.
cdef int run_columns(cnf_kernel *kernel, cnf_norm *job) except -1

# Everything that a planned job's statistics and sums need; held by the caller until they are done.
cdef Block columns_workspace(cnf_norm *job, cnp.ndarray x)

# a, whose shape broadcasts to `shape`, in all of it: a itself if it is that and plain.
cdef cnp.ndarray spread(cnp.ndarray a, tuple shape)

# Sum of x, (..., C), over all axes but the last. With `output` (of x's shape): the sum of x where output > 0, else 0, which
# is also stored in `gated`.
cdef object column_sums(str func, cnp.ndarray x, cnp.ndarray output, cnp.ndarray gated, object out, object num_threads)
