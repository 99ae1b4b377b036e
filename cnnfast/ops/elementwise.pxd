cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_kernel

# y = kernel(x, z, w; a, b, mode) over whole arrays of one shape and dtype (z, w may be None). `out` may be x.
# `cost`: nanoseconds an element on one thread.
cdef object elementwise(str func, cnf_kernel *kernel, double cost, cnp.ndarray x, cnp.ndarray z, cnp.ndarray w,
                        double a, double b, int mode, object out, object num_threads, double c=*)

# How many elements a task has: fixed, so that nothing depends on the thread count.
cdef Py_ssize_t CHUNK
