"""The C interface (csrc/cnf.h) as the ops see it."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "cnf.h" nogil:
    ctypedef void cnf_kernel(const void *job, ptrdiff_t task, int worker) noexcept

    ctypedef struct cnf_kernels:
        cnf_kernel *relu
        cnf_kernel *relu_backward
        cnf_kernel *exp
        cnf_kernel *sigmoid
        cnf_kernel *conv2d_direct
        cnf_kernel *conv2d_backward_input_direct
        cnf_kernel *conv2d_backward_weight_direct
        cnf_kernel *conv2d_backward_weight_sum
        cnf_kernel *column_sum
        cnf_kernel *max_pool2d
        cnf_kernel *max_pool2d_check
        cnf_kernel *max_pool2d_backward
        cnf_kernel *avg_pool2d
        cnf_kernel *avg_pool2d_backward
        cnf_kernel *global_avg_pool2d
        cnf_kernel *global_avg_pool2d_backward
        cnf_kernel *global_max_pool2d
        cnf_kernel *global_max_pool2d_backward

    ctypedef struct cnf_elementwise:
        const void *x
        const void *z
        void *y
        ptrdiff_t n, chunk
        double a, b
        int mode

    ctypedef struct cnf_conv2d:
        ptrdiff_t n, h, w, c, oh, ow, k
        ptrdiff_t kh, kw, sh, sw, dh, dw
        ptrdiff_t pt, pl
        ptrdiff_t groups

    ctypedef struct cnf_conv2d_job:
        cnf_conv2d shape
        const void *x
        const void *w
        const void *bias
        void *y
        int activation
        ptrdiff_t tasks, splits, row_chunk
        void *shared
        void *scratch
        size_t shared_bytes, scratch_bytes

    ctypedef struct cnf_pool2d:
        ptrdiff_t n, h, w, c, oh, ow
        ptrdiff_t kh, kw, sh, sw, dh, dw
        ptrdiff_t pt, pl, pb, pr

    ctypedef struct cnf_pool2d_job:
        cnf_pool2d shape
        const void *x
        void *y
        void *indices
        ptrdiff_t chunk
        int wide
        int include_pad

    enum:
        CNF_FORWARD
        CNF_BACKWARD_INPUT
        CNF_BACKWARD_WEIGHT
        CNF_SUM_CHUNK

    enum:
        CNF_LINEAR
        CNF_RELU
        CNF_SIGMOID

    void cnf_conv2d_plan(cnf_conv2d_job *job, int which, size_t itemsize, int workers)

# The kernels of the ISA in force, for NPY_FLOAT or NPY_DOUBLE.
cdef const cnf_kernels *kernels(int typenum) noexcept nogil
