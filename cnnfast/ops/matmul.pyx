"""Matrix products and dense layers: 1x1 convolutions by other names, on the same kernels.

A product with a transposed right operand is a backward pass to the input (A B^T), so that one is read in place. A transposed
left operand is copied: as a backward pass to the weight (A^T B) it would be summed in another order, and bits may not
depend on strides. Dense layers do without matrix tiles: a sample's bits may not depend on how many there are."""

import numpy as np

cimport numpy as cnp

from cnnfast.ops.check cimport as_array, as_like, deliver, result, share_memory
from cnnfast.ops.columns cimport column_sums
from cnnfast.ops.conv2d cimport activation_code, need_tiles, perform
from cnnfast.ops.cpu cimport (
    CNF_AUTO, CNF_BACKWARD_INPUT, CNF_BACKWARD_WEIGHT, CNF_DIRECT, CNF_FORWARD, CNF_LINEAR, CNF_SPLIT, cnf_conv2d,
    cnf_conv2d_job, cnf_matmul_splits, kernels
)
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport unrepeatable

cnp.import_array()


cdef void _pixels(cnf_conv2d *s, Py_ssize_t rows, Py_ssize_t c, Py_ssize_t k) noexcept:
    """(rows, c) x (c, k) as a 1x1 convolution over a line of `rows` pixels."""
    s.n = s.h = s.oh = 1
    s.w = s.ow = rows
    s.c, s.k = c, k
    s.kh = s.kw = s.sh = s.sw = s.dh = s.dw = s.groups = 1
    s.pt = s.pl = 0


cdef int _product(str func, int which, Py_ssize_t rows, Py_ssize_t c, Py_ssize_t k, cnp.ndarray a, cnp.ndarray b,
                  object bias, int activation, int algorithm, cnp.ndarray y, object num_threads) except -1:
    cdef cnf_conv2d_job job
    _pixels(&job.shape, rows, c, k)
    job.mean = job.scale = job.shift = job.residual = NULL
    job.activation = activation
    job.algorithm = algorithm
    job.x = cnp.PyArray_DATA(a)
    job.w = cnp.PyArray_DATA(b)
    job.bias = cnp.PyArray_DATA(<cnp.ndarray>bias) if bias is not None else NULL
    job.y = cnp.PyArray_DATA(y)
    return perform(&job, which, cnp.PyArray_TYPE(a), func, num_threads)


cdef bint _is_transposed(object a):
    """Whether the last two axes of a 2-D array lie in Fortran order, aligned and native: readable in place."""
    return isinstance(a, cnp.ndarray) and (<object>a).ndim == 2 and cnp.PyArray_IS_F_CONTIGUOUS(<cnp.ndarray>a) and \
        not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>a)


cdef int _wanted(object algorithm) except -1:
    if algorithm == "direct":
        return CNF_DIRECT
    if algorithm == "split":
        return CNF_SPLIT
    raise ValueError(f"matmul: algorithm must be 'direct' or 'split', got {algorithm!r}")


cdef int _chosen(int wanted, Py_ssize_t rows, Py_ssize_t terms, Py_ssize_t columns, int typenum) except -1:
    """The algorithm of one product of this geometry."""
    if wanted == CNF_SPLIT:
        need_tiles(typenum, "matmul")
        if terms >= 1 << 15:
            raise ValueError(f"matmul: algorithm 'split' needs sums of less than 32768 terms, got {terms}")
        return CNF_SPLIT
    if wanted == CNF_AUTO and kernels(typenum).conv2d_split != NULL and cnf_matmul_splits(rows, terms, columns):
        return CNF_SPLIT
    return CNF_DIRECT


cdef int _matmul2d(object a, object b, cnp.ndarray y, int algorithm, object num_threads) except -1:
    """y = a @ b for 2-D arrays with no extent 0."""
    if _plain_product(a, b, y, algorithm, num_threads) is not None:
        return 0
    cdef Py_ssize_t m = a.shape[0], k = a.shape[1], n = b.shape[1]
    cdef cnp.ndarray aa, ba
    if _is_transposed(b):
        aa = as_array(a, "matmul", "a", 2)
        ba = as_array(b.T, "matmul", "b", 2)
        return _product("matmul", CNF_BACKWARD_INPUT, m, n, k, aa, ba, None, CNF_LINEAR, algorithm, y, num_threads)
    ba = as_array(b, "matmul", "b", 2)
    aa = as_array(a, "matmul", "a", 2)
    return _product("matmul", CNF_FORWARD, m, k, n, aa, ba, None, CNF_LINEAR, algorithm, y, num_threads)


cdef bint _is_place(object out, int ndim, const cnp.npy_intp *dims, int typenum, cnp.ndarray x, cnp.ndarray w) except -1:
    """Whether a result may be written to `out` as it is made."""
    cdef int i
    if type(out) is not cnp.ndarray:
        return False
    cdef cnp.ndarray y = <cnp.ndarray>out
    if cnp.PyArray_TYPE(y) != typenum or cnp.PyArray_NDIM(y) != ndim or not cnp.PyArray_ISCARRAY(y):
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(y, i) != dims[i]:
            return False
    return not share_memory(x, y) and not share_memory(w, y)


cdef cnp.ndarray _plain_product(object a, object b, object out, int wanted, object num_threads):
    """a @ b for the common case, two plain arrays of up to two axes that fit, b perhaps transposed, without further questions;
    else None."""
    cdef cnp.ndarray x, w, y
    cdef cnp.npy_intp dims[2]
    cdef cnp.npy_intp m = 1, n = 1, k
    cdef int typenum, rows, columns, algorithm
    if type(a) is not cnp.ndarray or type(b) is not cnp.ndarray:
        return None
    x, w = <cnp.ndarray>a, <cnp.ndarray>b
    typenum = cnp.PyArray_TYPE(x)
    if (typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE) or cnp.PyArray_TYPE(w) != typenum:
        return None
    rows, columns = cnp.PyArray_NDIM(x) - 1, cnp.PyArray_NDIM(w) - 1  # axes of the result
    if not (0 <= rows <= 1 and 0 <= columns <= 1 and rows + columns > 0):
        return None
    k = cnp.PyArray_DIM(x, rows)
    if k == 0 or cnp.PyArray_DIM(w, 0) != k:
        return None
    if not (cnp.PyArray_IS_C_CONTIGUOUS(x) and cnp.PyArray_ISBEHAVED_RO(x)):
        return None
    if not (cnp.PyArray_ISONESEGMENT(w) and cnp.PyArray_ISBEHAVED_RO(w)):
        return None
    if rows:
        dims[0] = m = cnp.PyArray_DIM(x, 0)
    if columns:
        dims[rows] = n = cnp.PyArray_DIM(w, 1)
    if m == 0 or n == 0:
        return None
    algorithm = _chosen(wanted, m, k, n, typenum)
    if out is None:
        y = empty(rows + columns, dims, typenum)
    elif _is_place(out, rows + columns, dims, typenum, x, w):
        y = <cnp.ndarray>out
    else:
        return None
    if cnp.PyArray_IS_C_CONTIGUOUS(w):
        _product("matmul", CNF_FORWARD, m, k, n, x, w, None, CNF_LINEAR, algorithm, y, num_threads)
    else:
        _product("matmul", CNF_BACKWARD_INPUT, m, n, k, x, w, None, CNF_LINEAR, algorithm, y, num_threads)
    return y


cdef object _spread(object x, tuple lead):
    return x if x.shape[:-2] == lead else np.broadcast_to(x, lead + x.shape[-2:])


cdef int _matmuls(object a, object b, cnp.ndarray y, int algorithm, object num_threads) except -1:
    """y = a @ b for arrays with the same leading axes and no extent 0."""
    if y.ndim == 2:
        return _matmul2d(a, b, y, algorithm, num_threads)
    for a_part, b_part, y_part in zip(a, b, y):
        _matmuls(a_part, b_part, y_part, algorithm, num_threads)
    return 0


cdef object _operand(object x, str name):
    """The array behind x with its strides kept (as_array, called later, would straighten them)."""
    if isinstance(x, cnp.ndarray) and not isinstance(x, np.ma.MaskedArray):
        if cnp.PyArray_TYPE(<cnp.ndarray>x) in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE) and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>x):
            return x
    return as_array(x, "matmul", name)


def matmul(a, b, *, out=None, num_threads=None):
    """Matrix product by NumPy's rules: 2-D, batched (leading axes broadcast), and 1-D operands.

    Parameters
    ----------
    a, b : array_like
        (..., M, K) and (..., K, N), float32 or float64, of one dtype. The bits do not depend on their strides.
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray, (..., M, N)
        Its bits do not depend on the thread count, nor on the leading axes. A row's bits depend on that row of `a` and on `b`
        alone, but on a processor with AMX, where large float32 products, by M, K and N, are sums of bfloat16 products, as
        precise; `dense` does without.

    Raises
    ------
    TypeError
        An operand is not float32/float64, or the dtypes differ.
    ValueError
        Inner extents differ, an operand is 0-D, or leading axes do not broadcast.
    """
    return _product_by(a, b, CNF_AUTO, out, num_threads)


def _matmul_by(a, b, algorithm, *, out=None, num_threads=None):
    """`matmul` by "direct" sums or by "split" ones, for tests and measurements."""
    return _product_by(a, b, _wanted(algorithm), out, num_threads)


cdef object _product_by(object a, object b, int chosen, object out, object num_threads):
    cdef cnp.ndarray y = _plain_product(a, b, out, chosen, num_threads)
    if y is not None:
        return y
    a, b = _operand(a, "a"), _operand(b, "b")
    if a.dtype != b.dtype:
        raise TypeError(f"matmul: b must have the dtype of the other arrays, {a.dtype}, got {b.dtype}")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: {'a' if a.ndim == 0 else 'b'} must have at least 1 dimension, got a 0-D array")
    row, column = a.ndim == 1, b.ndim == 1
    a2, b2 = a[None, :] if row else a, b[:, None] if column else b
    if a2.shape[-1] != b2.shape[-2]:
        raise ValueError(f"matmul: {a.shape} @ {b.shape}: {a2.shape[-1]} != {b2.shape[-2]}")
    lead = a2.shape[:-2]
    if b2.shape[:-2] not in (lead, ()):
        try:
            lead = np.broadcast_shapes(lead, b2.shape[:-2])
        except ValueError:
            raise ValueError(f"matmul: leading axes must broadcast, got {a.shape} @ {b.shape}") from None
    full = lead + (a2.shape[-2], b2.shape[-1])
    shape = lead + (() if row else full[-2:-1]) + (() if column else full[-1:])
    if len(shape) > 32:
        raise ValueError(f"matmul: at most 32 dimensions, got {len(shape)}")
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray>a)
    cdef cnp.npy_intp dims[32]
    for i, extent in enumerate(shape):
        dims[i] = extent
    y = result(out, "matmul", <int>len(shape), dims, typenum, (a, b))
    y2 = y.reshape(full)
    chosen = _chosen(chosen, full[-2], a2.shape[-1], full[-1], typenum)
    if y.size == 0:
        pass
    elif a2.shape[-1] == 0:
        unrepeatable()
        y.fill(0)
    elif not lead:
        _matmul2d(a2, b2, y2, chosen, num_threads)
    elif b2.ndim == 2 and a2.flags.c_contiguous:  # one b for all: one tall product
        _matmul2d(a2.reshape(-1, a2.shape[-1]), b2, y2.reshape(-1, full[-1]), chosen, num_threads)
    else:
        _matmuls(_spread(a2, lead), _spread(b2, lead), y2, chosen, num_threads)
    return deliver(y, out)


def dense(x, weight, bias=None, *, activation=None, out=None, num_threads=None):
    """A fully connected layer: activation(x @ weight + bias), in one pass.

    Parameters
    ----------
    x : array_like, (..., IN)
        float32 or float64.
    weight : array_like, (IN, OUT)
    bias : array_like, (OUT,), optional
    activation : None, "relu" or "sigmoid"
    out : ndarray, optional
        Where to write the result.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray, (..., OUT)
    """
    cdef str func = "dense"
    cdef cnp.ndarray xa = as_array(x, func, "x")
    cdef cnp.ndarray wa = as_like(weight, xa, func, "weight", 2)
    cdef cnp.ndarray ba = None
    cdef int code = activation_code(activation, func), nd = cnp.PyArray_NDIM(xa), i
    cdef Py_ssize_t units = cnp.PyArray_DIM(wa, 0), outs = cnp.PyArray_DIM(wa, 1)
    cdef cnp.npy_intp dims[32]
    if nd < 1 or nd > 32:
        raise ValueError(f"{func}: x must have 1 to 32 dimensions, got shape {(<object>xa).shape}")
    if cnp.PyArray_DIM(xa, nd - 1) != units:
        raise ValueError(f"{func}: weight expects {units} inputs, x has {cnp.PyArray_DIM(xa, nd - 1)} "
                         f"(x {(<object>xa).shape}, weight {(<object>wa).shape})")
    if units < 1 or outs < 1:
        raise ValueError(f"{func}: weight must have at least 1 input and 1 output, got shape {(<object>wa).shape}")
    if bias is not None:
        ba = as_like(bias, xa, func, "bias")
        if cnp.PyArray_NDIM(ba) != 1 or cnp.PyArray_DIM(ba, 0) != outs:
            raise ValueError(f"{func}: bias must have shape {(outs,)}, got {(<object>ba).shape}")
    for i in range(nd):
        dims[i] = cnp.PyArray_DIM(xa, i)
    dims[nd - 1] = outs
    cdef cnp.ndarray y = result(out, func, nd, dims, cnp.PyArray_TYPE(xa), (xa, wa, ba))
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(xa) // units
    if rows:
        _product(func, CNF_FORWARD, rows, units, outs, xa, wa, ba, code, CNF_DIRECT, y, num_threads)
    return deliver(y, out)


def dense_backward_input(dy, weight, *, out=None, num_threads=None):
    """Gradient of `dense` (before its activation) with respect to its input.

    Parameters
    ----------
    dy : array_like, (..., OUT)
    weight : array_like, (IN, OUT)
    out, num_threads
        As in `dense`.

    Returns
    -------
    ndarray, (..., IN)
    """
    cdef str func = "dense_backward_input"
    cdef cnp.ndarray da = as_array(dy, func, "dy")
    cdef cnp.ndarray wa = as_like(weight, da, func, "weight", 2)
    cdef int nd = cnp.PyArray_NDIM(da), i
    cdef Py_ssize_t units = cnp.PyArray_DIM(wa, 0), outs = cnp.PyArray_DIM(wa, 1)
    cdef cnp.npy_intp dims[32]
    if nd < 1 or nd > 32 or cnp.PyArray_DIM(da, nd - 1) != outs or units < 1 or outs < 1:
        raise ValueError(f"{func}: dy must have shape (..., {outs}), got {(<object>da).shape} for weight {(<object>wa).shape}")
    for i in range(nd):
        dims[i] = cnp.PyArray_DIM(da, i)
    dims[nd - 1] = units
    cdef cnp.ndarray dx = result(out, func, nd, dims, cnp.PyArray_TYPE(da), (da, wa))
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(da) // outs
    if rows:
        _product(func, CNF_BACKWARD_INPUT, rows, units, outs, da, wa, None, CNF_LINEAR, CNF_DIRECT, dx, num_threads)
    return deliver(dx, out)


def dense_backward_weight(x, dy, *, out=None, num_threads=None):
    """Gradient of `dense` (before its activation) with respect to its weight, summed over all rows.

    Parameters
    ----------
    x : array_like, (..., IN)
    dy : array_like, (..., OUT)
    out, num_threads
        As in `dense`.

    Returns
    -------
    ndarray, (IN, OUT)
    """
    cdef str func = "dense_backward_weight"
    cdef cnp.ndarray xa = as_array(x, func, "x")
    cdef cnp.ndarray da = as_like(dy, xa, func, "dy")
    if xa.ndim < 1 or (<object>xa).shape[:-1] != (<object>da).shape[:-1]:
        raise ValueError(f"{func}: x and dy must have the same leading shape, got {(<object>xa).shape} and {(<object>da).shape}")
    cdef cnp.npy_intp dims[2]
    dims[0], dims[1] = (<object>xa).shape[-1], (<object>da).shape[-1]
    if dims[0] < 1 or dims[1] < 1:
        raise ValueError(f"{func}: x and dy must have at least 1 column, got {(<object>xa).shape} and {(<object>da).shape}")
    cdef cnp.ndarray dw = result(out, func, 2, dims, cnp.PyArray_TYPE(xa), (xa, da))
    cdef Py_ssize_t rows = cnp.PyArray_SIZE(xa) // dims[0]
    if rows:
        _product(func, CNF_BACKWARD_WEIGHT, rows, dims[0], dims[1], xa, da, None, CNF_LINEAR, CNF_DIRECT, dw, num_threads)
    else:
        unrepeatable()
        dw.fill(0)
    return deliver(dw, out)


def dense_backward_bias(dy, *, out=None, num_threads=None):
    """Gradient of `dense` (before its activation) with respect to its bias: `dy` (..., OUT) summed over all rows."""
    cdef str func = "dense_backward_bias"
    cdef cnp.ndarray da = as_array(dy, func, "dy")
    if cnp.PyArray_NDIM(da) < 1 or (<object>da).shape[-1] < 1:
        raise ValueError(f"{func}: dy must have at least 1 column, got shape {(<object>da).shape}")
    return column_sums(func, da, None, None, out, num_threads)
