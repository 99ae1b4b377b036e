"""Random numbers that are a function of (seed, step) alone: the same for any number of threads, and again after a resume."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport uint64_t

from cnnfast.ops.check cimport integer, number
from cnnfast.ops.cpu cimport CNF_FLAGS, CNF_INTEGERS, CNF_UNIFORM, cnf_random, kernels
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport run

from cnnfast.ops.tape import hold

cnp.import_array()

cdef Py_ssize_t CHUNK = 4096  # numbers of a task
cdef Py_ssize_t MOST = 1 << 52  # of whole numbers that are drawn


cdef uint64_t _word(object value, str func, str name) except? 0:
    if isinstance(value, (bool, np.bool_, np.ndarray)) or not hasattr(value, "__index__"):
        raise TypeError(f"{func}: {name} must be an int, got {value!r}")
    if value.__index__() < 0:
        raise ValueError(f"{func}: {name} must be not negative, got {value}")
    if value.__index__() >= 2**64:
        raise ValueError(f"{func}: {name} must be in 0 <= {name} < 2**64, got {value}")
    return value.__index__()


cdef tuple _shape(object shape, str func):
    try:
        return tuple([integer(n, func, "shape", 0) for n in shape])
    except TypeError as error:
        raise error if str(error).startswith(func) else TypeError(
            f"{func}: shape must be a sequence of ints, got {shape!r}") from None


cdef list _numbers(object value, tuple shape, str func, str name):
    """One number for all, or one for each index of the first axis."""
    if not isinstance(value, (list, tuple)):
        return [number(value, func, name)]
    if not shape or len(value) != shape[0]:
        raise ValueError(f"{func}: {name} must be a number, or one for each index of the first axis of {shape}, got {value!r}")
    return [number(v, func, name) for v in value]


cdef list _bounds(object low, object high, tuple shape, str func):
    """(lowest, highest) pairs, one or one for each index of the first axis."""
    lows, highs = _numbers(low, shape, func, "low"), _numbers(high, shape, func, "high")
    count = max(len(lows), len(highs))
    return list(zip(lows * (count // len(lows)) if lows else [], highs * (count // len(highs)) if highs else []))


cdef object _draw(str func, tuple shape, list bounds, int kind, int typenum, object seed, object step,
                  object num_threads):
    cdef cnf_random job
    cdef cnp.npy_intp dims[64]
    cdef Py_ssize_t i, tasks
    cdef cnp.ndarray both = hold(np.array(bounds, np.float64).reshape(-1, 2).T.copy()), y
    job.seed, job.step, job.kind = _word(seed, func, "seed"), _word(step, func, "step"), kind
    if len(shape) > 64:
        raise ValueError(f"{func}: shape must have at most 64 axes, got {len(shape)}")
    for i in range(len(shape)):
        dims[i] = shape[i]
    y = empty(<int>len(shape), dims, typenum)
    job.n, job.chunk = cnp.PyArray_SIZE(y), CHUNK
    if job.n > 0:
        job.row = job.n // cnp.PyArray_DIM(both, 1)
        job.y = cnp.PyArray_DATA(y)
        job.low = <double *>cnp.PyArray_DATA(both)
        job.high = job.low + cnp.PyArray_DIM(both, 1)
        tasks = (job.n + CHUNK - 1) // CHUNK
        run(func, kernels(cnp.NPY_FLOAT if typenum == cnp.NPY_FLOAT else cnp.NPY_DOUBLE).random_uniform, &job, tasks, 8.0 * job.n,
            num_threads)
    return y if shape else y[()]


def random_uniform(shape, low=0.0, high=1.0, *, seed, step, dtype="float64", num_threads=None):
    """Numbers from `low` up to `high`, all equally likely.

    The upper 53 bits (float32: 24) of the words of Philox4x64-10 (Salmon et al., SC 2011) under the key ``(seed, step)``,
    whose counter begins at 1.

    Parameters
    ----------
    shape : sequence of int
    low, high : float or sequence of float
        ``low <= high``; in a sequence, those of each index of the first axis.
    seed, step : int
        64-bit unsigned.
    dtype : {"float64", "float32"}
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "random_uniform"
    size = _shape(shape, func)
    bounds = _bounds(low, high, size, func)
    for a, b in bounds:
        if a > b:
            raise ValueError(f"{func}: low must be at most high, got {a} and {b}")
    if dtype not in ("float64", "float32", np.float64, np.float32):
        raise ValueError(f"{func}: dtype must be float32 or float64, got {dtype!r}")
    typenum = cnp.NPY_FLOAT if np.dtype(dtype) == np.float32 else cnp.NPY_DOUBLE
    return _draw(func, size, bounds, CNF_UNIFORM, typenum, seed, step, num_threads)


def random_integers(shape, low, high, *, seed, step, num_threads=None):
    """Whole numbers from `low` to ``high - 1``, all equally likely: those below `random_uniform`'s.

    Parameters
    ----------
    shape : sequence of int
    low, high : int or sequence of int
        ``low < high``, both within 2**52 of 0; in a sequence, those of each index of the first axis.
    seed, step : int
        64-bit unsigned.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        int64.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "random_integers"
    size = _shape(shape, func)
    for name, value in (("low", low), ("high", high)):
        for v in value if isinstance(value, (list, tuple)) else (value,):
            if abs(integer(v, func, name, -MOST)) > MOST:
                raise ValueError(f"{func}: {name} must be at most 2**52, got {v}")
    bounds = _bounds(low, high, size, func)
    for a, b in bounds:
        if not a < b:
            raise ValueError(f"{func}: low must be below high, got {int(a)} and {int(b)}")
    return _draw(func, size, bounds, CNF_INTEGERS, cnp.NPY_INT64, seed, step, num_threads)


def random_bernoulli(shape, p=0.5, *, seed, step, num_threads=None):
    """True with probability `p`: where `random_uniform` is below it.

    Parameters
    ----------
    shape : sequence of int
    p : float or sequence of float
        From 0 to 1; in a sequence, that of each index of the first axis.
    seed, step : int
        64-bit unsigned.
    num_threads : int, optional
        Exactly so many threads instead of the default.

    Returns
    -------
    ndarray
        bool.

    Raises
    ------
    ValueError, TypeError
        If an argument breaks one of the rules.
    """
    cdef str func = "random_bernoulli"
    size = _shape(shape, func)
    chances = _numbers(p, size, func, "p")
    for chance in chances:
        if not 0 <= chance <= 1:
            raise ValueError(f"{func}: p must be in 0 <= p <= 1, got {chance}")
    return _draw(func, size, [(0.0, chance) for chance in chances], CNF_FLAGS, cnp.NPY_BOOL, seed, step, num_threads)
