"""Losses and their gradients, one value a row of classes (or an element), not averaged over the batch.

The gradients take `dloss`, the gradient of each of those values: ``1 / N`` everywhere for the mean over N rows."""

import numpy as np

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

from cnnfast.ops.check cimport any_array, as_array, as_like, as_same, deliver, number, result
from cnnfast.ops.cpu cimport cnf_kernel, cnf_rows, kernels
from cnnfast.ops.elementwise cimport elementwise
from cnnfast.ops.rows cimport rows_along, run_rows

cnp.import_array()


cdef double _smoothing(object value, str func) except? -1.0:
    cdef double s = number(value, func, "label_smoothing")
    if not 0 <= s < 1:
        raise ValueError(f"{func}: label_smoothing must be in 0 <= label_smoothing < 1, got {value!r}")
    return s


cdef cnp.ndarray _target(cnf_rows *job, object target, cnp.ndarray x, str func):
    """Labels, put into the job after a check, or probabilities shaped as x: the array that keeps them alive."""
    cdef Py_ssize_t i
    cdef const ptrdiff_t *labels
    cdef cnp.ndarray t
    given = any_array(target, func, "target")
    if given.dtype.kind not in "iu":
        if given.dtype.kind != "f":
            raise TypeError(
                f"{func}: target must be integer labels or probabilities of dtype {x.dtype}, got {given.dtype}")
        t = as_like(target, x, func, "target")
        if not cnp.PyArray_SAMESHAPE(t, x):
            raise ValueError(
                f"{func}: target must have shape {(<object>x).shape} (probabilities) or be integer labels of shape "
                f"{(<object>x).shape[:-1]}, got {t.dtype} of shape {(<object>t).shape}")
        return t
    if given.shape != (<object>x).shape[:-1]:
        raise ValueError(
            f"{func}: target must have shape {(<object>x).shape[:-1]} (integer labels) or be probabilities of shape "
            f"{(<object>x).shape} and dtype {x.dtype}, got {given.dtype} of shape {given.shape}")
    t = <cnp.ndarray>np.array(given, dtype=np.intp, order="C", copy=True)  # ours: nobody changes it after the check
    labels = <const ptrdiff_t *>cnp.PyArray_DATA(t)
    for i in range(cnp.PyArray_SIZE(t)):
        if not 0 <= labels[i] < job.length:  # a uint64 beyond intp has become negative
            index = i if t.ndim < 2 else tuple(int(k) for k in np.unravel_index(i, given.shape))
            raise ValueError(f"{func}: label {given.flat[i]} at index {index} is outside 0...{job.length - 1}")
    job.labels = labels
    return t


cdef cnp.ndarray _dloss(cnf_rows *job, object dloss, cnp.ndarray x, str func):
    """The gradient of the losses, a value a row of x, put into the job."""
    cdef cnp.ndarray d = as_like(dloss, x, func, "dloss")
    if (<object>d).shape != (<object>x).shape[:-1]:
        raise ValueError(f"{func}: dloss must have shape {(<object>x).shape[:-1]}, got {(<object>d).shape}")
    job.loss = cnp.PyArray_DATA(d)
    return d


cdef object _losses(str func, cnf_kernel *kernel, cnf_rows *job, double cost, cnp.ndarray x, cnp.ndarray t,
                    object out, object num_threads):
    """Runs a job from x and its target t to a loss a row."""
    cdef cnp.ndarray losses = result(out, func, cnp.PyArray_NDIM(x) - 1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), (x, t))
    job.x = cnp.PyArray_DATA(x)
    job.z = cnp.PyArray_DATA(t)
    job.loss = cnp.PyArray_DATA(losses)
    run_rows(func, kernel, job, cost, num_threads)
    return deliver(losses, out)


def softmax_cross_entropy(logits, target, *, label_smoothing=0.0, out=None, num_threads=None):
    """Cross-entropy between `target` and the softmax of `logits`, by log-sum-exp: finite logits never overflow.

    Parameters
    ----------
    logits : array_like
        float32 or float64, shape (..., C).
    target : array_like
        Integer labels in [0, C), shape (...); or probabilities, shape and dtype of `logits`.
    label_smoothing : float
        ``s`` in 0 <= s < 1: the target becomes ``target * (1 - s) + s / C``.
    out : tuple of two ndarrays, optional
        Where to write the losses and the probabilities.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    losses : ndarray
        Shape (...), in nats.
    probabilities : ndarray
        ``softmax(logits)``, which the backward op takes.

    Raises
    ------
    ValueError
        A label outside [0, C), shapes that do not fit, `label_smoothing` out of range.
    TypeError
        A target that is neither integers nor of the dtype of `logits`.
    """
    cdef str func = "softmax_cross_entropy"
    cdef cnp.ndarray x = as_array(logits, func, "logits"), t, losses, p
    cdef cnf_rows job
    rows_along(&job, x, -1, func)
    t = _target(&job, target, x, func)
    job.a = _smoothing(label_smoothing, func)
    if out is None:
        out = (None, None)
    elif not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(f"{func}: out must be a tuple of two arrays, got {type(out).__name__}")
    cdef int ndim = cnp.PyArray_NDIM(x), typenum = cnp.PyArray_TYPE(x)
    losses = result(out[0], func, ndim - 1, cnp.PyArray_DIMS(x), typenum, (x, t, out[1]))
    p = result(out[1], func, ndim, cnp.PyArray_DIMS(x), typenum, (x, t, out[0]))
    job.x, job.z = cnp.PyArray_DATA(x), cnp.PyArray_DATA(t)
    job.y, job.loss = cnp.PyArray_DATA(p), cnp.PyArray_DATA(losses)
    run_rows(func, kernels(typenum).softmax_cross_entropy, &job, 1.5, num_threads)
    return deliver(losses, out[0]), deliver(p, out[1])


def softmax_cross_entropy_backward(dloss, probabilities, target, *, label_smoothing=0.0, out=None, num_threads=None):
    """Gradient of `softmax_cross_entropy` with respect to the logits: ``dloss * (probabilities * sum(t) - t)``.

    Parameters
    ----------
    dloss : array_like
        Gradient of each loss, shape (...).
    probabilities : array_like
        From the forward op, shape (..., C).
    target, label_smoothing
        As given to the forward op.
    out : ndarray, optional
        Where to write the result; may be `probabilities`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `probabilities`.
    """
    cdef str func = "softmax_cross_entropy_backward"
    cdef cnp.ndarray p = as_array(probabilities, func, "probabilities"), t, d
    cdef cnf_rows job
    rows_along(&job, p, -1, func)
    t = _target(&job, target, p, func)
    d = _dloss(&job, dloss, p, func)
    job.a = _smoothing(label_smoothing, func)
    return _gradient(func, kernels(cnp.PyArray_TYPE(p)).softmax_cross_entropy_backward, &job, 0.6, p, t, d, out, num_threads)


cdef object _gradient(str func, cnf_kernel *kernel, cnf_rows *job, double cost, cnp.ndarray x, cnp.ndarray t,
                      cnp.ndarray d, object out, object num_threads):
    """Runs a job from x, its target t and the losses' gradient d to the gradient of x, which may lie in x but not in d."""
    cdef cnp.ndarray dx = result(out, func, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), (x, t, d), x)
    job.x, job.z, job.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(t), cnp.PyArray_DATA(dx)
    run_rows(func, kernel, job, cost, num_threads)
    return deliver(dx, out)


def cross_entropy(probabilities, target, *, out=None, num_threads=None):
    """``-sum(target * log(probabilities))`` over the last axis, for a network whose end is not a softmax of logits.

    Nothing is clipped: a target class of probability 0 costs inf, and 0 * log(0) is 0.

    Parameters
    ----------
    probabilities : array_like
        float32 or float64, shape (..., C).
    target : array_like
        Integer labels in [0, C), shape (...); or probabilities, shape and dtype of `probabilities`.
    out : ndarray, optional
        Where to write the losses.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (...), in nats.
    """
    cdef str func = "cross_entropy"
    cdef cnp.ndarray p = as_array(probabilities, func, "probabilities"), t
    cdef cnf_rows job
    rows_along(&job, p, -1, func)
    t = _target(&job, target, p, func)
    return _losses(func, kernels(cnp.PyArray_TYPE(p)).cross_entropy, &job, 1.0, p, t, out, num_threads)


def cross_entropy_backward(dloss, probabilities, target, *, out=None, num_threads=None):
    """Gradient of `cross_entropy` with respect to the probabilities: ``-dloss * target / probabilities``.

    Parameters
    ----------
    dloss : array_like
        Gradient of each loss, shape (...).
    probabilities, target
        As given to the forward op.
    out : ndarray, optional
        Where to write the result; may be `probabilities`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `probabilities`.
    """
    cdef str func = "cross_entropy_backward"
    cdef cnp.ndarray p = as_array(probabilities, func, "probabilities"), t, d
    cdef cnf_rows job
    rows_along(&job, p, -1, func)
    t = _target(&job, target, p, func)
    d = _dloss(&job, dloss, p, func)
    return _gradient(func, kernels(cnp.PyArray_TYPE(p)).cross_entropy_backward, &job, 0.6, p, t, d, out, num_threads)


def mse_loss(x, target, *, out=None, num_threads=None):
    """Squared error, averaged over the last axis.

    Parameters
    ----------
    x, target : array_like
        float32 or float64, shape (..., C), of one shape and dtype.
    out : ndarray, optional
        Where to write the losses.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape (...).
    """
    cdef cnp.ndarray xa = as_array(x, "mse_loss", "x"), t = as_same(target, xa, "mse_loss", "target")
    cdef cnf_rows job
    rows_along(&job, xa, -1, "mse_loss")
    return _losses("mse_loss", kernels(cnp.PyArray_TYPE(xa)).mse_loss, &job, 0.4, xa, t, out, num_threads)


def mse_loss_backward(dloss, x, target, *, out=None, num_threads=None):
    """Gradient of `mse_loss` with respect to `x`: ``dloss * 2 (x - target) / C``.

    Parameters
    ----------
    dloss : array_like
        Gradient of each loss, shape (...).
    x, target
        As given to the forward op, shape (..., C).
    out : ndarray, optional
        Where to write the result; may be `x`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.
    """
    cdef str func = "mse_loss_backward"
    cdef cnp.ndarray xa = as_array(x, func, "x"), t = as_same(target, xa, func, "target"), d
    cdef cnf_rows job
    rows_along(&job, xa, -1, func)
    d = _dloss(&job, dloss, xa, func)
    return _gradient(func, kernels(cnp.PyArray_TYPE(xa)).mse_loss_backward, &job, 0.5, xa, t, d, out, num_threads)


def sigmoid_cross_entropy(logits, target, *, out=None, num_threads=None):
    """Binary cross-entropy between `target` and the sigmoid of `logits`, element by element.

    Computed as ``max(x, 0) - x * target + log(1 + e**-|x|)``: finite logits never overflow.

    Parameters
    ----------
    logits : array_like
        Before the sigmoid; float32 or float64, any shape.
    target : array_like
        In [0, 1]; shape and dtype of `logits`.
    out : ndarray, optional
        Where to write the losses; may be `logits`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        A loss an element, in nats.
    """
    cdef str func = "sigmoid_cross_entropy"
    cdef cnp.ndarray xa = as_array(logits, func, "logits"), t = as_same(target, xa, func, "target")
    return elementwise(func, kernels(cnp.PyArray_TYPE(xa)).sigmoid_cross_entropy, 1.5, xa, t, None, 0, 0, 0, out, num_threads)


def sigmoid_cross_entropy_backward(dloss, logits, target, *, out=None, num_threads=None):
    """Gradient of `sigmoid_cross_entropy`: ``dloss * (sigmoid(logits) - target)``.

    Parameters
    ----------
    dloss : array_like
        Gradient of each loss; shape and dtype of `logits`.
    logits, target
        As given to the forward op.
    out : ndarray, optional
        Where to write the result; may be `logits`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `logits`.
    """
    cdef str func = "sigmoid_cross_entropy_backward"
    cdef cnp.ndarray xa = as_array(logits, func, "logits")
    cdef cnp.ndarray t = as_same(target, xa, func, "target"), d = as_same(dloss, xa, func, "dloss")
    return elementwise(func, kernels(cnp.PyArray_TYPE(xa)).sigmoid_cross_entropy_backward, 1.0, xa, t, d, 0,
                       0, 0, out, num_threads)


def binary_cross_entropy(p, target, *, out=None, num_threads=None):
    """``-target * log(p) - (1 - target) * log(1 - p)``, element by element.

    Nothing is clipped: certainty in the wrong answer costs inf, and 0 * log(0) is 0.

    Parameters
    ----------
    p : array_like
        Probabilities; float32 or float64, any shape.
    target : array_like
        In [0, 1]; shape and dtype of `p`.
    out : ndarray, optional
        Where to write the losses; may be `p`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        A loss an element, in nats.
    """
    cdef str func = "binary_cross_entropy"
    cdef cnp.ndarray xa = as_array(p, func, "p"), t = as_same(target, xa, func, "target")
    return elementwise(func, kernels(cnp.PyArray_TYPE(xa)).binary_cross_entropy, 2.0, xa, t, None, 0, 0, 0, out, num_threads)


def binary_cross_entropy_backward(dloss, p, target, *, out=None, num_threads=None):
    """Gradient of `binary_cross_entropy`: ``dloss * ((1 - target) / (1 - p) - target / p)``.

    Parameters
    ----------
    dloss : array_like
        Gradient of each loss; shape and dtype of `p`.
    p, target
        As given to the forward op.
    out : ndarray, optional
        Where to write the result; may be `p`.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        Shape and dtype of `p`.
    """
    cdef str func = "binary_cross_entropy_backward"
    cdef cnp.ndarray xa = as_array(p, func, "p")
    cdef cnp.ndarray t = as_same(target, xa, func, "target"), d = as_same(dloss, xa, func, "dloss")
    return elementwise(func, kernels(cnp.PyArray_TYPE(xa)).binary_cross_entropy_backward, 0.8, xa, t, d, 0,
                       0, 0, out, num_threads)
