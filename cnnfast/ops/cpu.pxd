"""The C interface (csrc/cnf.h) as the ops see it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "cnf.h" nogil:
    ctypedef void cnf_kernel(const void *job, ptrdiff_t task, int worker) noexcept

    ctypedef struct cnf_kernels:
        cnf_kernel *exp
        cnf_kernel *log
        cnf_kernel *relu
        cnf_kernel *relu_backward
        cnf_kernel *leaky_relu
        cnf_kernel *leaky_relu_backward
        cnf_kernel *clipped_relu
        cnf_kernel *clipped_relu_backward
        cnf_kernel *elu
        cnf_kernel *elu_backward
        cnf_kernel *sigmoid
        cnf_kernel *sigmoid_backward
        cnf_kernel *tanh
        cnf_kernel *tanh_backward
        cnf_kernel *silu
        cnf_kernel *silu_backward
        cnf_kernel *gelu
        cnf_kernel *gelu_backward
        cnf_kernel *gelu_tanh
        cnf_kernel *gelu_tanh_backward
        cnf_kernel *add
        cnf_kernel *moving_average
        cnf_kernel *penalty
        cnf_kernel *penalty_sum
        cnf_kernel *penalty_backward
        cnf_kernel *softmax
        cnf_kernel *softmax_backward
        cnf_kernel *softmax_cross_entropy
        cnf_kernel *softmax_cross_entropy_backward
        cnf_kernel *cross_entropy
        cnf_kernel *cross_entropy_backward
        cnf_kernel *mse_loss
        cnf_kernel *mse_loss_backward
        cnf_kernel *sigmoid_cross_entropy
        cnf_kernel *sigmoid_cross_entropy_backward
        cnf_kernel *binary_cross_entropy
        cnf_kernel *binary_cross_entropy_backward
        cnf_kernel *batch_norm_moments
        cnf_kernel *batch_norm_merge_moments
        cnf_kernel *batch_norm_sums
        cnf_kernel *batch_norm_merge_sums
        cnf_kernel *batch_norm_tile
        cnf_kernel *batch_norm
        cnf_kernel *batch_norm_backward
        cnf_kernel *column_sum
        cnf_kernel *column_sum_merge
        cnf_kernel *prelu
        cnf_kernel *prelu_backward
        cnf_kernel *layer_norm
        cnf_kernel *layer_norm_backward
        cnf_kernel *group_norm
        cnf_kernel *group_norm_backward
        cnf_kernel *sgd_step
        cnf_kernel *adam_step
        cnf_kernel *rmsprop_step
        cnf_kernel *dropout
        cnf_kernel *random_uniform
        cnf_kernel *conv2d_direct
        cnf_kernel *conv2d_backward_input_direct
        cnf_kernel *conv2d_backward_input_few
        cnf_kernel *conv2d_backward_weight_direct
        cnf_kernel *conv2d_backward_weight_sum
        cnf_kernel *conv2d_grouped
        cnf_kernel *grouped_pack
        cnf_kernel *winograd_share
        cnf_kernel *winograd
        cnf_kernel *groups_part
        cnf_kernel *winograd_backward_weight
        cnf_kernel *split_weights  # of AMX, else NULL
        cnf_kernel *conv2d_split
        cnf_kernel *depthwise
        cnf_kernel *depthwise_backward_input
        cnf_kernel *depthwise_backward_weight
        cnf_kernel *depthwise_repeat
        cnf_kernel *depthwise_sum
        cnf_kernel *max_pool2d
        cnf_kernel *max_pool2d_check
        cnf_kernel *max_pool2d_backward
        cnf_kernel *avg_pool2d
        cnf_kernel *avg_pool2d_backward
        cnf_kernel *global_avg_pool2d
        cnf_kernel *global_avg_pool2d_backward
        cnf_kernel *global_max_pool2d
        cnf_kernel *global_max_pool2d_backward
        cnf_kernel *upsample2d
        cnf_kernel *upsample2d_backward
        cnf_kernel *strided_copy
        cnf_kernel *mask
        cnf_kernel *flip2d
        cnf_kernel *crop2d
        cnf_kernel *crop2d_backward
        cnf_kernel *affine_matrix
        cnf_kernel *affine2d
        cnf_kernel *affine2d_backward
        cnf_kernel *adjust_brightness
        cnf_kernel *adjust_brightness_backward
        cnf_kernel *adjust_contrast
        cnf_kernel *adjust_contrast_backward
        cnf_kernel *pad2d
        cnf_kernel *pad2d_backward
        ptrdiff_t lanes

    ctypedef struct cnf_elementwise:
        const void *x
        const void *z
        const void *w
        void *y
        ptrdiff_t n, chunk
        double a, b, c
        ptrdiff_t mode

    ctypedef struct cnf_rows:
        const void *x
        const void *z
        void *y
        void *loss
        const ptrdiff_t *labels
        ptrdiff_t outer, length, inner, chunk
        double a

    ctypedef struct cnf_pool2d:
        ptrdiff_t n, h, w, c, oh, ow
        ptrdiff_t kh, kw, sh, sw, dh, dw
        ptrdiff_t pt, pl, pb, pr

    ctypedef struct cnf_pool2d_job:
        cnf_pool2d shape
        const void *x
        const void *output
        void *y
        void *indices
        ptrdiff_t chunk
        ptrdiff_t wide
        ptrdiff_t include_pad

    ctypedef struct cnf_norm:
        const void *x
        const void *dy
        const void *mean
        const void *var
        const void *weight
        const void *bias
        const void *residual
        const void *output
        void *y
        void *first
        void *second
        void *gated
        void *tiled
        void *partial
        double *merged
        ptrdiff_t channels, period, rows, chunks, all_rows, tail, image, band, bands
        double eps, ceiling
        ptrdiff_t mode, activation

    ctypedef struct cnf_group_norm:
        const void *x
        const void *dy
        const void *weight
        const void *bias
        void *y
        void *sums
        void *scratch
        size_t scratch_bytes
        ptrdiff_t n, pixels, channels, group, block, period, rows
        double eps

    enum:
        CNF_AXES

    ctypedef struct cnf_copy:
        const void *x
        const void *z
        void *y
        ptrdiff_t shape[6]
        ptrdiff_t from_ "from"[6]
        ptrdiff_t to[6]
        ptrdiff_t chunk

    ctypedef struct cnf_upsample2d:
        const void *x
        void *y
        void *scratch
        size_t scratch_bytes
        ptrdiff_t n, h, w, c, fh, fw
        ptrdiff_t linear

    enum:
        CNF_CONSTANT
        CNF_NEAREST
        CNF_WRAP
        CNF_REFLECT

    ctypedef struct cnf_image:
        const void *x
        const void *z
        void *y
        void *scratch
        size_t scratch_bytes
        ptrdiff_t n, h, w, c, oh, ow, chunk, period
        const int64_t *top
        const int64_t *left
        const uint8_t *vertical
        const uint8_t *horizontal
        const double *numbers
        const double *matrix
        double low, high
        ptrdiff_t mode, nearest

    enum:
        CNF_UNIFORM
        CNF_INTEGERS
        CNF_FLAGS

    ctypedef struct cnf_random:
        void *y
        const double *low
        const double *high
        ptrdiff_t n, row, chunk
        uint64_t seed, step
        ptrdiff_t kind

    ctypedef struct cnf_dropout:
        const void *x
        void *y
        ptrdiff_t n, chunk
        uint64_t seed, step, threshold
        double scale

    ctypedef struct cnf_optimizer:
        void *param
        void *m
        void *v
        void *more
        const void *grad
        ptrdiff_t n, chunk
        double rate, decay, momentum, memory, eps
        ptrdiff_t nesterov

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
        const void *mean
        const void *scale
        const void *shift
        const void *residual
        double ceiling
        const cnf_conv2d_job *before
        const cnf_pool2d_job *pool
        const cnf_norm *sums
        ptrdiff_t activation, algorithm, transposed, ahead
        ptrdiff_t tasks, splits, row_chunk, col_tasks
        void *shared
        void *scratch
        size_t shared_bytes, scratch_bytes

    ctypedef struct cnf_pad2d_job:
        const void *x
        void *y
        ptrdiff_t n, h, w, c, top, bottom, left, right, chunk
        double value

    enum:
        CNF_FORWARD
        CNF_BACKWARD_INPUT
        CNF_BACKWARD_WEIGHT
        CNF_SUM_CHUNK
        CNF_AUTO
        CNF_DIRECT
        CNF_WINOGRAD
        CNF_WINOGRAD4
        CNF_WINOGRAD6
        CNF_DEPTHWISE
        CNF_GROUPED
        CNF_SPLIT
        CNF_LINES
        CNF_PLANAR

    enum:
        CNF_LINEAR
        CNF_RELU
        CNF_SIGMOID
        CNF_CLIP

    bint cnf_winograd_fits(const cnf_conv2d *s, int strict)
    int cnf_conv2d_algorithm(const cnf_conv2d *s, int which, bint training, int wanted, bint strict, bint has_tiles)
    void cnf_winograd_plan(cnf_conv2d_job *job, size_t itemsize, int workers)
    void cnf_winograd_weight_plan(cnf_conv2d_job *job, size_t itemsize, int workers)
    void cnf_depthwise_plan(cnf_conv2d_job *job, int which, size_t itemsize)
    bint cnf_split_fits(const cnf_conv2d *s, int which)
    void cnf_split_plan(cnf_conv2d_job *job, int workers)
    bint cnf_matmul_splits(ptrdiff_t rows, ptrdiff_t terms, ptrdiff_t columns)
    void cnf_grouped_plan(cnf_conv2d_job *job, int which, size_t itemsize, ptrdiff_t lanes, int workers)
    ptrdiff_t cnf_groups_joined(const cnf_conv2d *s)
    ptrdiff_t cnf_conv2d_shares(const cnf_conv2d_job *job)
    void cnf_conv2d_turn(cnf_conv2d_job *job)
    bint cnf_depthwise_walks(const cnf_conv2d *s, size_t itemsize)
    bint cnf_stores_once(const cnf_conv2d_job *job, int which)
    bint cnf_conv2d_few(const cnf_conv2d *s)
    void cnf_conv2d_few_plan(cnf_conv2d_job *job, size_t itemsize, int workers)
    void cnf_conv2d_plan(cnf_conv2d_job *job, int which, size_t itemsize, ptrdiff_t lanes, int workers)
    bint cnf_conv2d_turns(const cnf_conv2d *s, ptrdiff_t lanes)
    void cnf_conv2d_pool_lines(cnf_conv2d_job *job, ptrdiff_t lines, size_t itemsize)
    ptrdiff_t cnf_band_lines(ptrdiff_t lines, ptrdiff_t width, ptrdiff_t channels, size_t itemsize)
    ptrdiff_t cnf_splits(ptrdiff_t tasks, ptrdiff_t chunks)
    void cnf_conv2d_pool_gradient(cnf_conv2d_job *job, size_t itemsize)

# The kernels of the ISA in force, for NPY_FLOAT or NPY_DOUBLE.
cdef const cnf_kernels *kernels(int typenum) noexcept nogil

cpdef object current_isa()
