cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_kernel, cnf_rows

# Fills outer, length, inner and chunk of the job for x (C order) along `axis`; the other fields become empty.
cdef int rows_along(cnf_rows *job, cnp.ndarray x, object axis, str func) except -1

# Runs a job whose pointers are set. `cost`: nanoseconds an element on one thread.
cdef int run_rows(str func, cnf_kernel *kernel, cnf_rows *job, double cost, object num_threads) except -1

# Runs the job with x, z -> y, an array like x; z may be None, `inplace` may be exactly `out`.
cdef object map_rows(str func, cnf_kernel *kernel, cnf_rows *job, double cost, cnp.ndarray x, cnp.ndarray z,
                     cnp.ndarray inplace, object out, object num_threads)
