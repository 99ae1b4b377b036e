"""Optimiser steps, in place over one flat block of parameters: Keras 3's formulas, one pass over memory."""

import numpy as np

cimport numpy as cnp
from libc.math cimport pow, sqrt
from libc.string cimport memset

from cnnfast.ops.check cimport as_array, as_same, check_out, integer, number, share_memory
from cnnfast.ops.cpu cimport cnf_kernel, cnf_optimizer, kernels
from cnnfast.ops.elementwise cimport CHUNK
from cnnfast.ops.threads cimport run

cnp.import_array()


cdef double _at_least_0(object value, str func, str name) except? -1.0:
    cdef double x = number(value, func, name)
    if x < 0:
        raise ValueError(f"{func}: {name} must not be negative, got {value!r}")
    return x


cdef double _fraction(object value, str func, str name) except? -1.0:
    cdef double x = number(value, func, name)
    if not 0 <= x < 1:
        raise ValueError(f"{func}: {name} must be in 0 <= {name} < 1, got {value!r}")
    return x


cdef int _step(str func, cnf_kernel *kernel, cnf_optimizer *job, double cost, object param, object grad,
               object m, str m_name, object v, object num_threads, object more=None, str more_name="") except -1:
    """Runs a job whose numbers are set. Arrays whose memory is not plain are stepped in a copy that is written back."""
    cdef cnp.ndarray p, g
    changing = [(a, name) for a, name in ((param, "param"), (m, m_name), (v, "v"), (more, more_name))
                if a is not None]
    for i, (a, name) in enumerate(changing):
        for b, other in changing[:i]:
            if share_memory(a, b):
                raise ValueError(f"{func}: {name} must not overlap {other}")
    p = _plain(param, None, func, "param")
    g = as_same(grad, p, func, "grad")
    ma = _plain(m, p, func, m_name) if m is not None else None
    va = _plain(v, p, func, "v") if v is not None else None
    more_a = _plain(more, p, func, more_name) if more is not None else None
    for a, _ in changing:
        if share_memory(a, g):
            g = <cnp.ndarray>g.copy()
    job.param, job.grad = cnp.PyArray_DATA(p), cnp.PyArray_DATA(g)
    job.m = cnp.PyArray_DATA(<cnp.ndarray>ma) if m is not None else NULL
    job.v = cnp.PyArray_DATA(<cnp.ndarray>va) if v is not None else NULL
    job.more = cnp.PyArray_DATA(<cnp.ndarray>more_a) if more is not None else NULL
    job.n, job.chunk = cnp.PyArray_SIZE(p), CHUNK
    cdef Py_ssize_t tasks = (job.n + CHUNK - 1) // CHUNK
    run(func, kernel, job, tasks, cost * job.n, num_threads)
    for work, a in ((p, param), (ma, m), (va, v), (more_a, more)):
        if work is not a:
            a[...] = work
    return 0


cdef cnp.ndarray _plain(object a, cnp.ndarray like, str func, str name):
    """`a`, which changes in place, or a copy with plain memory."""
    if not isinstance(a, np.ndarray) or isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{func}: {name} must be a numpy array, for it changes in place, got {type(a).__name__}")
    cdef cnp.ndarray work = as_array(a, func, name) if like is None else as_same(a, like, func, name)
    check_out(a, func, cnp.PyArray_TYPE(work))
    return work


def sgd_step(param, grad, velocity=None, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0, num_threads=None):
    """A step of stochastic gradient descent, in place.

    Without `velocity`, ``param -= lr * grad``. With it, ``velocity = momentum * velocity - lr * grad``, then
    ``param += velocity`` or with `nesterov` ``param += momentum * velocity - lr * grad``.

    Parameters
    ----------
    param : ndarray
        float32 or float64, any shape; changed.
    grad : array_like
        Shape and dtype of `param`.
    velocity : ndarray, optional
        State of the momentum, zeros before the first step; changed.
    lr : float
        Learning rate, not negative.
    momentum : float
        In 0 <= momentum < 1.
    nesterov : bool
        Look ahead (Sutskever et al., ICML 2013).
    weight_decay : float
        Decoupled: ``param -= param * weight_decay * lr`` comes first.
    num_threads : int, optional
        Exactly so many threads instead of the default.
    """
    cdef str func = "sgd_step"
    cdef cnf_optimizer job
    memset(&job, 0, sizeof(job))
    job.rate = _at_least_0(lr, func, "lr")
    job.momentum = _fraction(momentum, func, "momentum")
    job.decay = _at_least_0(weight_decay, func, "weight_decay") * job.rate
    job.nesterov = bool(nesterov)
    if velocity is None and job.momentum != 0:
        raise ValueError(f"{func}: velocity must be given if momentum is not 0, got momentum {momentum!r}")
    _step(func, kernels(_typenum(param)).sgd_step, &job, 0.5, param, grad, velocity, "velocity", None, num_threads)


def adam_step(param, grad, m, v, *, lr, beta_1, beta_2, eps, step, weight_decay=0.0, largest=None, num_threads=None):
    """A step of Adam (Kingma & Ba, arXiv 1412.6980), in place; with `weight_decay` of AdamW (arXiv 1711.05101).

    ``m += (grad - m) * (1 - beta_1)``, ``v += (grad**2 - v) * (1 - beta_2)``, then
    ``param -= lr * sqrt(1 - beta_2**step) / (1 - beta_1**step) * m / (sqrt(v) + eps)``; with `largest`, which is made
    ``maximum(largest, v)``, that in the place of ``v`` (AMSGrad; Reddi et al., ICLR 2018).

    Parameters
    ----------
    param : ndarray
        float32 or float64, any shape; changed.
    grad : array_like
        Shape and dtype of `param`.
    m, v : ndarray
        Running means of the gradient and of its square, zeros before the first step; changed.
    lr : float
        Learning rate, not negative.
    beta_1, beta_2 : float
        How much of the means stays, 0 <= beta < 1.
    eps : float
        Not negative.
    step : int
        1 for the first step.
    weight_decay : float
        Decoupled: ``param -= param * weight_decay * lr`` comes first.
    largest : ndarray, optional
        The largest `v` so far, zeros before the first step; changed.
    num_threads : int, optional
        Exactly so many threads instead of the default.
    """
    cdef str func = "adam_step"
    cdef cnf_optimizer job
    cdef double first = _fraction(beta_1, func, "beta_1"), second = _fraction(beta_2, func, "beta_2")
    cdef double count = <double>integer(step, func, "step", 1), rate = _at_least_0(lr, func, "lr")
    memset(&job, 0, sizeof(job))
    job.rate = rate * sqrt(1 - pow(second, count)) / (1 - pow(first, count))
    job.momentum, job.memory = 1 - first, 1 - second
    job.eps = _at_least_0(eps, func, "eps")
    job.decay = _at_least_0(weight_decay, func, "weight_decay") * rate
    if m is None or v is None:
        raise TypeError(f"{func}: m and v must be numpy arrays, got None")
    _step(func, kernels(_typenum(param)).adam_step, &job, 0.7, param, grad, m, "m", v, num_threads,
          largest, "largest")


def rmsprop_step(param, grad, v, velocity=None, *, lr, rho, eps, momentum=0.0, weight_decay=0.0, mean=None, num_threads=None):
    """A step of RMSprop (Hinton's lecture 6e), in place.

    ``v = rho * v + (1 - rho) * grad**2`` and ``increment = lr * grad / sqrt(v + eps)``; then ``param -= increment``, or with
    `velocity` ``velocity = momentum * velocity + increment`` and ``param -= velocity``. With `mean`,
    ``mean = rho * mean + (1 - rho) * grad`` and ``v - mean**2`` divides in the place of ``v``.

    Parameters
    ----------
    param : ndarray
        float32 or float64, any shape; changed.
    grad : array_like
        Shape and dtype of `param`.
    v : ndarray
        Running mean of the squared gradient, zeros before the first step; changed.
    velocity : ndarray, optional
        State of the momentum, zeros before the first step; changed.
    lr : float
        Learning rate, not negative.
    rho : float
        How much of `v` stays, 0 <= rho < 1.
    eps : float
        Not negative.
    momentum : float
        In 0 <= momentum < 1.
    weight_decay : float
        Decoupled: ``param -= param * weight_decay * lr`` comes first.
    mean : ndarray, optional
        Running mean of the gradient, zeros before the first step; changed.
    num_threads : int, optional
        Exactly so many threads instead of the default.
    """
    cdef str func = "rmsprop_step"
    cdef cnf_optimizer job
    memset(&job, 0, sizeof(job))
    job.rate = _at_least_0(lr, func, "lr")
    job.memory = _fraction(rho, func, "rho")
    job.momentum = _fraction(momentum, func, "momentum")
    job.eps = _at_least_0(eps, func, "eps")
    job.decay = _at_least_0(weight_decay, func, "weight_decay") * job.rate
    if v is None:
        raise TypeError(f"{func}: v must be a numpy array, got None")
    if velocity is None and job.momentum != 0:
        raise ValueError(f"{func}: velocity must be given if momentum is not 0, got momentum {momentum!r}")
    _step(func, kernels(_typenum(param)).rmsprop_step, &job, 0.7, param, grad, velocity, "velocity", v, num_threads,
          mean, "mean")


cdef int _typenum(object param) noexcept:
    """Which kernels: those of param's type, if it is an array at all (checked afterwards)."""
    return cnp.PyArray_TYPE(<cnp.ndarray>param) if isinstance(param, np.ndarray) else cnp.NPY_FLOAT
