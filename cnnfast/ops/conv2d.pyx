"""2-D convolution (cross-correlation, as every CNN library means it): forward, and backward to input, weight and bias."""

import numpy as np

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.check cimport (
    as_array, as_like, deliver, integer, is_channels_first, padding2d, pair, result
)
from cnnfast.ops.columns cimport column_sums
from cnnfast.ops.copy cimport copied
from cnnfast.ops.cpu cimport (
    CNF_AUTO, CNF_BACKWARD_INPUT, CNF_BACKWARD_WEIGHT, CNF_DEPTHWISE, CNF_DIRECT, CNF_FORWARD, CNF_GROUPED, CNF_LINEAR,
    CNF_RELU, CNF_SIGMOID, CNF_SPLIT, CNF_SUM_CHUNK, CNF_WINOGRAD, cnf_conv2d, cnf_conv2d_algorithm, cnf_conv2d_few,
    cnf_conv2d_few_plan, cnf_conv2d_job, cnf_conv2d_plan, cnf_conv2d_shares, cnf_conv2d_turn, cnf_conv2d_turns,
    cnf_depthwise_plan, cnf_elementwise, cnf_grouped_plan, cnf_groups_joined, cnf_kernel, cnf_kernels,
    cnf_split_fits, cnf_split_plan, cnf_winograd_fits, cnf_winograd_plan, cnf_winograd_weight_plan,
    current_isa, kernels
)
from cnnfast.ops.memory cimport Block, block
from cnnfast.ops.threads cimport cnf_work, run_all, thread_count, unrepeatable

cnp.import_array()

cdef Py_ssize_t FAR = 1 << 40  # beyond any image: a longer stride makes the same single output


cdef int activation_code(object activation, str func) except -1:
    if activation is None:
        return CNF_LINEAR
    if activation == "relu":
        return CNF_RELU
    if activation == "sigmoid":
        return CNF_SIGMOID
    raise ValueError(f"{func}: activation must be None, 'relu' or 'sigmoid', got {activation!r}")


cdef int need_tiles(int typenum, str func) except -1:
    if kernels(typenum).conv2d_split == NULL:
        raise ValueError(f"{func}: algorithm 'split' needs float32 and a processor with AMX, in use are "
                         f"{'float64' if typenum == cnp.NPY_DOUBLE else 'float32'} and {current_isa()}")
    return 0


cdef int _choose(cnf_conv2d_job *job, int which, bint training, int typenum, str func, object algorithm,
                 object precision) except -1:
    """Set the algorithm of a job whose shape is known."""
    cdef int wanted
    if algorithm == "auto":
        wanted = CNF_AUTO
    elif algorithm == "direct":
        wanted = CNF_DIRECT
    elif algorithm == "winograd":
        wanted = CNF_WINOGRAD
    elif algorithm == "split":
        wanted = CNF_SPLIT
    else:
        raise ValueError(f"{func}: algorithm must be 'auto', 'direct', 'winograd' or 'split', got {algorithm!r}")
    if precision != "default" and precision != "strict":
        raise ValueError(f"{func}: precision must be 'default' or 'strict', got {precision!r}")
    cdef bint strict = precision == "strict"
    if wanted == CNF_WINOGRAD and not cnf_winograd_fits(&job.shape, strict):
        kernel = "3 x 3" if strict else "3 x 3 or 5 x 5"
        raise ValueError(f"{func}: algorithm 'winograd' needs a {kernel} kernel and stride 1, got a kernel of "
                         f"{(job.shape.kh, job.shape.kw)} and stride {(job.shape.sh, job.shape.sw)}")
    cdef bint has_tiles = kernels(typenum).conv2d_split != NULL
    if wanted == CNF_SPLIT:
        need_tiles(typenum, func)
        if not cnf_split_fits(&job.shape, which):
            raise ValueError(f"{func}: algorithm 'split' makes no gradient of weights, and needs groups 1, sums of less than "
                             f"32768 terms and, backward, stride 1, got groups {job.shape.groups}, a weight "
                             f"{(job.shape.kh, job.shape.kw, job.shape.c, job.shape.k)} and a stride of "
                             f"{(job.shape.sh, job.shape.sw)}")
    job.algorithm = cnf_conv2d_algorithm(&job.shape, which, training, wanted, strict, has_tiles)
    return 0


cdef object _shapes(const cnf_conv2d *s, bint first):
    if first:
        return f"(input {(s.n, s.c, s.h, s.w)}, weight {(s.k, s.c // s.groups, s.kh, s.kw)})"
    return f"(input {(s.n, s.h, s.w, s.c)}, weight {(s.kh, s.kw, s.c // s.groups, s.k)})"


cdef int geometry(cnf_conv2d *s, str func, bint first, const cnp.npy_intp *x, const cnp.npy_intp *w,
                  object stride, object padding, object dilation, object groups) except -1:
    """Fill `s` from x = (n, h, w, c), w = (kh, kw, c per group, k) and the parameters; every rule is checked here."""
    cdef Py_ssize_t pads[4]
    cdef Py_ssize_t strides[2]
    cdef Py_ssize_t dilations[2]
    cdef Py_ssize_t window[2]
    cdef int i
    s.n, s.h, s.w, s.c = x[0], x[1], x[2], x[3]
    s.kh, s.kw, s.k = w[0], w[1], w[3]
    pair(stride, func, "stride", 1, strides)
    pair(dilation, func, "dilation", 1, dilations)
    s.groups = integer(groups, func, "groups", 1)
    if s.c < 1 or s.k < 1 or w[2] < 1:
        raise ValueError(f"{func}: input and weight must have at least 1 channel, got {s.c} and {w[2]} -> {s.k}")
    if s.c % s.groups or s.k % s.groups:
        which = "input" if s.c % s.groups else "output"
        raise ValueError(f"{func}: groups must divide the {which} channels, got groups {s.groups} for {s.c} -> {s.k} channels")
    if w[2] * s.groups != s.c:
        raise ValueError(
            f"{func}: weight expects {w[2]} input channels (× groups {s.groups}), input has {s.c} {_shapes(s, first)}")
    if s.kh < 1 or s.kw < 1:
        raise ValueError(f"{func}: weight must have a kernel of at least 1 x 1, got {(s.kh, s.kw)}")
    for i in range(2):
        if strides[i] > FAR:
            strides[i] = FAR
        if dilations[i] >= FAR and w[i] > 1:
            raise ValueError(f"{func}: dilation is too large, got {dilation!r}")
        window[i] = (w[i] - 1) * (dilations[i] if w[i] > 1 else 1) + 1
    padding2d(padding, func, s.h, s.w, window, strides, pads)
    for i in range(4):
        if pads[i] >= FAR:
            raise ValueError(f"{func}: padding is too large, got {padding!r}")
    if s.h < 1 or s.w < 1 or window[0] > s.h + pads[0] + pads[1] or window[1] > s.w + pads[2] + pads[3]:
        padded = (s.h + pads[0] + pads[1], s.w + pads[2] + pads[3])
        raise ValueError(
            f"{func}: effective kernel {(window[0], window[1])} is larger than the padded input {padded} {_shapes(s, first)}")
    s.sh, s.sw = strides[0], strides[1]
    s.dh = dilations[0] if s.kh > 1 else 1
    s.dw = dilations[1] if s.kw > 1 else 1
    s.pt, s.pl = pads[0], pads[2]
    s.oh = (s.h + pads[0] + pads[1] - window[0]) // strides[0] + 1
    s.ow = (s.w + pads[2] + pads[3] - window[1]) // strides[1] + 1
    return 0


cdef int _add(cnf_work *steps, int count, cnf_kernel *kernel, void *job, size_t size, Py_ssize_t tasks, int workers) noexcept:
    """One more step, by at most one worker a task; returns how many there are."""
    steps[count] = cnf_work(kernel, job, size, tasks, <int>min(<Py_ssize_t>workers, tasks))
    return count + 1


cdef int perform(cnf_conv2d_job *job, int which, int typenum, str func, object num_threads) except -1:
    """Plan one pass, take its workspace from the pool, run it."""
    cdef const cnf_kernels *table = kernels(typenum)
    cdef cnf_conv2d *s = &job.shape
    cdef size_t itemsize = 8 if typenum == cnp.NPY_DOUBLE else 4
    cdef double weights = <double>s.k * s.kh * s.kw * (s.c // s.groups), pixels = <double>s.n * s.oh * s.ow
    cdef double maps = pixels * s.k + <double>s.n * s.h * s.w * s.c  # what counts in a depthwise convolution
    cdef double work = (0.02 * weights * pixels + 0.05 * weights + 0.12 * maps + 0.4 * pixels) * (itemsize // 4)
    cdef int most = thread_count(num_threads, 1 << 30, work, func)
    cdef cnf_kernel *kernel
    cdef cnf_kernel *transform = NULL
    cdef bint turns
    cdef Py_ssize_t sums, shares, joined, times = 1, pieces, taps = s.kh * s.kw
    cdef cnf_elementwise many
    cdef cnf_conv2d_job groups
    cdef Block several
    cdef cnf_work steps[5]
    cdef int count = 0
    job.transposed = job.ahead = 0
    job.before, job.pool, job.sums = NULL, NULL, NULL
    joined = cnf_groups_joined(s) if which == CNF_BACKWARD_WEIGHT and job.algorithm != CNF_DEPTHWISE else 1
    if joined > 1:
        several = block(<size_t>(taps * (s.c // s.groups) * joined * s.k) * itemsize)
        memset(&groups, 0, sizeof(groups))
        groups.shape, groups.x, groups.y = job.shape, several.data, job.y
        job.y = several.data
        s.groups //= joined
    turns = job.algorithm == CNF_DIRECT and which == CNF_BACKWARD_INPUT and cnf_conv2d_turns(s, table.lanes)
    if job.algorithm == CNF_DIRECT and which == CNF_BACKWARD_INPUT and not turns and cnf_conv2d_few(s):
        cnf_conv2d_few_plan(job, itemsize, most)
        kernel = table.conv2d_backward_input_few
    elif job.algorithm == CNF_DIRECT:
        if turns:
            cnf_conv2d_turn(job)
        cnf_conv2d_plan(job, CNF_FORWARD if turns else which, itemsize, table.lanes, most)
        if which == CNF_FORWARD or turns:
            kernel = table.conv2d_direct
        elif which == CNF_BACKWARD_INPUT:
            kernel = table.conv2d_backward_input_direct
        else:
            kernel = table.conv2d_backward_weight_direct
    elif job.algorithm == CNF_GROUPED:
        cnf_grouped_plan(job, which, itemsize, table.lanes, most)
        kernel, transform = table.conv2d_grouped, table.grouped_pack
    elif job.algorithm == CNF_DEPTHWISE:
        times = s.k // s.c
        if times > 1:  # several filters a channel: as many channels, of equal pixels
            memset(&many, 0, sizeof(many))
            many.n, many.chunk, many.mode = s.n * s.h * s.w * s.c, CNF_SUM_CHUNK, <int>times
            several = block(<size_t>many.n * times * itemsize)
            if which == CNF_BACKWARD_INPUT:
                many.x, many.y = several.data, job.y
                job.y = several.data
            else:
                many.x, many.y = job.x, several.data
                job.x = several.data
            s.c = s.groups = s.k
        cnf_depthwise_plan(job, which, itemsize)
        kernel = table.depthwise if which == CNF_FORWARD else table.depthwise_backward_weight
        if which == CNF_BACKWARD_INPUT and s.sh == 1 and s.sw == 1:
            cnf_conv2d_turn(job)
            kernel = table.depthwise
        elif which == CNF_BACKWARD_INPUT:
            kernel = table.depthwise_backward_input
    elif which == CNF_BACKWARD_WEIGHT:
        cnf_winograd_weight_plan(job, itemsize, most)
        kernel = table.winograd_backward_weight
    elif job.algorithm == CNF_SPLIT:
        if which == CNF_BACKWARD_INPUT:
            cnf_conv2d_turn(job)
        cnf_split_plan(job, most)
        kernel, transform = table.conv2d_split, table.split_weights
    else:
        if which == CNF_BACKWARD_INPUT:
            cnf_conv2d_turn(job)
        cnf_winograd_plan(job, itemsize, most)
        kernel, transform = table.winograd, table.winograd_share
    cdef int workers = most
    shares = cnf_conv2d_shares(job) if transform != NULL else 0
    most = <int>min(<Py_ssize_t>most, max(job.tasks, shares))
    cdef Block shared, scratch = block(job.scratch_bytes * most)
    job.scratch = scratch.data
    if job.shared_bytes:
        shared = block(job.shared_bytes)
        job.shared = shared.data
    pieces = (many.n + CNF_SUM_CHUNK - 1) // CNF_SUM_CHUNK if times > 1 else 0
    if times > 1 and which != CNF_BACKWARD_INPUT:
        count = _add(steps, count, table.depthwise_repeat, &many, sizeof(many), pieces, workers)
    if shares:
        count = _add(steps, count, transform, job, sizeof(job[0]), shares, most)
    count = _add(steps, count, kernel, job, sizeof(job[0]), job.tasks, most)
    if which == CNF_BACKWARD_WEIGHT and job.splits > 1:
        sums = (taps * (s.c // s.groups) * s.k + CNF_SUM_CHUNK - 1) // CNF_SUM_CHUNK
        count = _add(steps, count, table.conv2d_backward_weight_sum, job, sizeof(job[0]), sums, most)
    if joined > 1:
        count = _add(steps, count, table.groups_part, &groups, sizeof(groups), taps, workers)
    if times > 1 and which == CNF_BACKWARD_INPUT:
        count = _add(steps, count, table.depthwise_sum, &many, sizeof(many), pieces, workers)
    return run_all(steps, count, work)


cdef cnp.ndarray _last(cnp.ndarray a, str func, str name, bint first, bint weight=False):
    """An image or a weight as channels-last: itself, or turned if `first`."""
    if cnp.PyArray_NDIM(a) != 4:
        if weight:
            layout = "(cout, cin/groups, kh, kw)" if first else "(kh, kw, cin/groups, cout)"
        else:
            layout = "(N, C, H, W)" if first else "(N, H, W, C)"
        raise ValueError(f"{func}: {name} must be 4-D {layout}, got shape {(<object>a).shape}")
    if not first:
        return a
    return copied(<cnp.ndarray>np.transpose(a, (2, 3, 1, 0) if weight else (0, 2, 3, 1)))


cdef object _first(object a, bint weight):
    return copied(<cnp.ndarray>np.transpose(a, (3, 2, 0, 1) if weight else (0, 3, 1, 2)))


cdef int _extents(object shape, str func, str name, bint first, bint weight, cnp.npy_intp *out) except -1:
    """A shape given as a tuple, in the caller's data format, as channels-last extents."""
    cdef int i
    try:
        dims = tuple(shape)
    except TypeError:
        raise TypeError(f"{func}: {name} must be a tuple of 4 ints, got {shape!r}") from None
    if len(dims) != 4:
        raise ValueError(f"{func}: {name} must be a tuple of 4 ints, got {shape!r}")
    if first:
        dims = (dims[2], dims[3], dims[1], dims[0]) if weight else (dims[0], dims[2], dims[3], dims[1])
    for i in range(4):
        out[i] = integer(dims[i], func, name, 0)
    return 0


cdef object _run_pass(cnf_conv2d_job *job, int which, str func, cnp.ndarray a, cnp.ndarray b, object bias,
                      const cnp.npy_intp *shape, bint first, object out, object num_threads):
    """Compute one pass into a (4, shape) result in the caller's data format."""
    cdef int typenum = cnp.PyArray_TYPE(a)
    cdef bint weight = which == CNF_BACKWARD_WEIGHT
    cdef cnp.ndarray y
    cdef cnp.npy_intp dims[4]
    if first and out is not None:  # check `out` against the shape the caller sees; computed apart, then copied
        if weight:
            dims[0], dims[1], dims[2], dims[3] = shape[3], shape[2], shape[0], shape[1]
        else:
            dims[0], dims[1], dims[2], dims[3] = shape[0], shape[3], shape[1], shape[2]
        result(out, func, 4, dims, typenum, (a, b, bias))
    y = result(None if first else out, func, 4, shape, typenum, (a, b, bias))
    job.x = cnp.PyArray_DATA(a)
    job.w = cnp.PyArray_DATA(b)
    if which != CNF_FORWARD:
        job.mean = job.scale = job.shift = job.residual = NULL
        job.activation = CNF_LINEAR
    job.bias = cnp.PyArray_DATA(<cnp.ndarray>bias) if bias is not None else NULL
    job.y = cnp.PyArray_DATA(y)
    if cnp.PyArray_SIZE(y) > 0:
        if job.shape.n == 0:
            unrepeatable()
            y.fill(0)
        else:
            perform(job, which, typenum, func, num_threads)
    if first:
        if out is None:
            return _first(y, weight)
        return deliver(<cnp.ndarray>np.transpose(y, (3, 2, 0, 1) if weight else (0, 3, 1, 2)), out)
    return deliver(y, out)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, activation=None,
           data_format="channels_last", algorithm="auto", precision="default", training=False, out=None, num_threads=None):
    """2-D convolution with bias and activation in one pass.

    Parameters
    ----------
    x : array_like, (N, H, W, C)
        Images, float32 or float64.
    weight : array_like, (KH, KW, C / groups, K)
        Filters, of the dtype of `x`.
    bias : array_like, (K,), optional
    stride, dilation : int or (int, int)
        Steps in pixels between windows, and between the taps of one.
    padding : int, (ph, pw), ((top, bottom), (left, right)), "valid", "same" or "same_lower"
        Zeros around the image. "same": ceil(H / stride) rows, the odd pixel at the end.
    groups : int
        Channels are cut into so many independent convolutions; `groups=C` is depthwise.
    activation : None, "relu" or "sigmoid"
        Applied before the result is stored.
    data_format : "channels_last" or "channels_first"
        channels_first: x (N, C, H, W), weight (K, C / groups, KH, KW), result (N, K, OH, OW).
    algorithm : "auto", "direct", "winograd" or "split"
        "auto" chooses from the geometry, never from N or the thread count. "split": float32 as sums of bfloat16 products, as
        precise, on a processor with AMX.
    precision : "default" or "strict"
        "strict" forbids Winograd F(4x4, 3x3) and F(2x2, 5x5), whose error is bounded norm-wise only, and to split.
    training : bool
        "auto" takes what is best for many images, as gradients do; else what is good for one, too.
    out : ndarray, optional
        Where to write the result; may be strided and may overlap the inputs.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray, (N, OH, OW, K)
        OH = (H + padding - dilation * (KH - 1) - 1) // stride + 1.

    Raises
    ------
    TypeError
        An array is not float32/float64, dtypes differ, or a parameter is of the wrong kind.
    ValueError
        Shapes do not fit or a parameter is out of range.

    Notes
    -----
    Every output is summed by one thread in an order fixed by the geometry: the same bits for any number of threads and
    any batch.
    """
    cdef str func = "conv2d"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _last(as_array(x, func, "x"), func, "x", first)
    cdef cnp.ndarray wa = _last(as_like(weight, xa, func, "weight"), func, "weight", first, True)
    cdef cnp.ndarray ba = None
    cdef cnf_conv2d_job job
    cdef cnp.npy_intp shape[4]
    job.mean = job.scale = job.shift = job.residual = NULL
    job.activation = activation_code(activation, func)
    geometry(&job.shape, func, first, cnp.PyArray_DIMS(xa), cnp.PyArray_DIMS(wa), stride, padding, dilation, groups)
    if bias is not None:
        ba = as_like(bias, xa, func, "bias")
        if cnp.PyArray_NDIM(ba) != 1 or cnp.PyArray_DIM(ba, 0) != job.shape.k:
            raise ValueError(f"{func}: bias must have shape {(job.shape.k,)}, got {(<object>ba).shape}")
    shape[0], shape[1], shape[2], shape[3] = job.shape.n, job.shape.oh, job.shape.ow, job.shape.k
    _choose(&job, CNF_FORWARD, bool(training), cnp.PyArray_TYPE(xa), func, algorithm, precision)
    return _run_pass(&job, CNF_FORWARD, func, xa, wa, ba, shape, first, out, num_threads)


def _conv2d_finished(cnp.ndarray x, cnp.ndarray weight, bias, norm, residual, stride=1, padding=0, dilation=1, groups=1, *,
                     activation=None, algorithm="auto", precision="default", num_threads=None):
    """``activation((conv2d(x, weight, bias) - mean) * scale + shift + residual)`` in one pass, for plans that fuse ops.

    norm: (mean, scale, shift), three vectors (K,), or None. residual: (N, OH, OW, K), or None. All arrays are C-contiguous,
    channels last, of one dtype; the bits are those of `conv2d`, `batch_norm`, `add` and the activation one after the other.
    """
    cdef cnf_conv2d_job job
    cdef cnp.npy_intp shape[4]
    job.activation = activation_code(activation, "conv2d")
    geometry(&job.shape, "conv2d", False, cnp.PyArray_DIMS(x), cnp.PyArray_DIMS(weight), stride, padding, dilation, groups)
    job.mean = job.scale = job.shift = job.residual = NULL
    if norm is not None:
        job.mean, job.scale = cnp.PyArray_DATA(<cnp.ndarray>norm[0]), cnp.PyArray_DATA(<cnp.ndarray>norm[1])
        job.shift = cnp.PyArray_DATA(<cnp.ndarray>norm[2])
    if residual is not None:
        job.residual = cnp.PyArray_DATA(<cnp.ndarray>residual)
    shape[0], shape[1], shape[2], shape[3] = job.shape.n, job.shape.oh, job.shape.ow, job.shape.k
    _choose(&job, CNF_FORWARD, False, cnp.PyArray_TYPE(x), "conv2d", algorithm, precision)
    return _run_pass(&job, CNF_FORWARD, "conv2d", x, weight, bias, shape, False, None, num_threads)


cdef int _check_dy(cnp.ndarray dy, const cnf_conv2d *s, str func, bint first) except -1:
    cdef cnp.npy_intp *d = cnp.PyArray_DIMS(dy)
    if d[0] != s.n or d[1] != s.oh or d[2] != s.ow or d[3] != s.k:
        expected = (s.n, s.k, s.oh, s.ow) if first else (s.n, s.oh, s.ow, s.k)
        got = (d[0], d[3], d[1], d[2]) if first else (d[0], d[1], d[2], d[3])
        raise ValueError(f"{func}: dy must have shape {expected}, got {got} {_shapes(s, first)}")
    return 0


def conv2d_backward_input(dy, weight, input_shape, stride=1, padding=0, dilation=1, groups=1, *,
                          data_format="channels_last", algorithm="auto", precision="default", out=None, num_threads=None):
    """Gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    dy : array_like, (N, OH, OW, K)
        Gradient of the output.
    weight : array_like, (KH, KW, C / groups, K)
    input_shape : tuple of 4 ints, (N, H, W, C)
    stride, padding, dilation, groups, data_format, algorithm, precision, out, num_threads
        As in `conv2d`.

    Returns
    -------
    ndarray, (N, H, W, C)
    """
    cdef str func = "conv2d_backward_input"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray da = _last(as_array(dy, func, "dy"), func, "dy", first)
    cdef cnp.ndarray wa = _last(as_like(weight, da, func, "weight"), func, "weight", first, True)
    cdef cnf_conv2d_job job
    cdef cnp.npy_intp shape[4]
    _extents(input_shape, func, "input_shape", first, False, shape)
    geometry(&job.shape, func, first, shape, cnp.PyArray_DIMS(wa), stride, padding, dilation, groups)
    _check_dy(da, &job.shape, func, first)
    _choose(&job, CNF_BACKWARD_INPUT, True, cnp.PyArray_TYPE(da), func, algorithm, precision)
    return _run_pass(&job, CNF_BACKWARD_INPUT, func, da, wa, None, shape, first, out, num_threads)


def conv2d_backward_weight(x, dy, weight_shape, stride=1, padding=0, dilation=1, groups=1, *,
                           data_format="channels_last", algorithm="auto", precision="default", out=None, num_threads=None):
    """Gradient of `conv2d` with respect to its weight, summed over the batch.

    Parameters
    ----------
    x : array_like, (N, H, W, C)
    dy : array_like, (N, OH, OW, K)
        Gradient of the output.
    weight_shape : tuple of 4 ints, (KH, KW, C / groups, K)
    stride, padding, dilation, groups, data_format, algorithm, precision, out, num_threads
        As in `conv2d`.

    Returns
    -------
    ndarray, (KH, KW, C / groups, K)
        Pixels are summed in chunks fixed by the shape, so the bits do not depend on the thread count.
    """
    cdef str func = "conv2d_backward_weight"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray xa = _last(as_array(x, func, "x"), func, "x", first)
    cdef cnp.ndarray da = _last(as_like(dy, xa, func, "dy"), func, "dy", first)
    cdef cnf_conv2d_job job
    cdef cnp.npy_intp shape[4]
    _extents(weight_shape, func, "weight_shape", first, True, shape)
    geometry(&job.shape, func, first, cnp.PyArray_DIMS(xa), shape, stride, padding, dilation, groups)
    _check_dy(da, &job.shape, func, first)
    _choose(&job, CNF_BACKWARD_WEIGHT, True, cnp.PyArray_TYPE(xa), func, algorithm, precision)
    return _run_pass(&job, CNF_BACKWARD_WEIGHT, func, xa, da, None, shape, first, out, num_threads)


def conv2d_backward_bias(dy, *, data_format="channels_last", out=None, num_threads=None):
    """Gradient of `conv2d` with respect to its bias: `dy` summed over images and pixels.

    Parameters
    ----------
    dy : array_like, (N, OH, OW, K)
        Gradient of the output; (N, K, OH, OW) with ``data_format="channels_first"``.
    out, num_threads
        As in `conv2d`.

    Returns
    -------
    ndarray, (K,)
    """
    cdef str func = "conv2d_backward_bias"
    cdef bint first = is_channels_first(data_format, func)
    cdef cnp.ndarray da = _last(as_array(dy, func, "dy"), func, "dy", first)
    return column_sums(func, da, None, None, out, num_threads)
