"""Copies between memory of any layout, as jobs that can be recorded."""

cimport numpy as cnp
from libc.string cimport memset

from cnnfast.ops.cpu cimport CNF_AXES, kernels
from cnnfast.ops.memory cimport empty
from cnnfast.ops.threads cimport run, unrepeatable

cnp.import_array()

cdef Py_ssize_t CHUNK = 16384  # elements of a task, about
cdef Py_ssize_t ALONG = 16  # rows of a transposition's tile (copy.inc)


cdef bint _usable(cnp.ndarray a) noexcept:
    """Whether it is of float32 or float64 and all elements lie where an array of these has some."""
    cdef int i, typenum = cnp.PyArray_TYPE(a)
    if (typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE) or not cnp.PyArray_ISBEHAVED_RO(a):
        return False
    for i in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, i) % cnp.PyArray_ITEMSIZE(a) != 0:
            return False
    return True


cdef Py_ssize_t plan_copy(cnf_copy *job, cnp.ndarray x, cnp.ndarray y) except -2:
    cdef Py_ssize_t shape[64]
    cdef Py_ssize_t source[64]
    cdef Py_ssize_t target[64]
    cdef Py_ssize_t n, s, t, size = cnp.PyArray_ITEMSIZE(x), blocks, tasks = 1
    cdef int i, j, count = 0, row
    if not _usable(x) or not _usable(y) or cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(y):
        return -1
    for i in range(cnp.PyArray_NDIM(x)):  # sorted by the target's strides: writing goes forward
        n, s, t = cnp.PyArray_DIM(x, i), cnp.PyArray_STRIDE(x, i) // size, cnp.PyArray_STRIDE(y, i) // size
        if n == 1:
            continue
        j = count
        while j > 0 and abs(target[j - 1]) < abs(t):
            shape[j], source[j], target[j] = shape[j - 1], source[j - 1], target[j - 1]
            j -= 1
        shape[j], source[j], target[j] = n, s, t
        count += 1
    i = 0
    while i + 1 < count:  # axes that are one
        if source[i] == source[i + 1] * shape[i + 1] and target[i] == target[i + 1] * shape[i + 1]:
            shape[i] *= shape[i + 1]
            source[i], target[i] = source[i + 1], target[i + 1]
            for j in range(i + 1, count - 1):
                shape[j], source[j], target[j] = shape[j + 1], source[j + 1], target[j + 1]
            count -= 1
            i = max(0, i - 1)
        else:
            i += 1
    if count > CNF_AXES:
        return -1
    if count > 2 and source[count - 1] != 1 and source[count - 1] != 0:  # rows are where the source lies in one piece
        row = count - 2
        for i in range(count - 1):
            if source[i] == 1:
                row = i
        shape[row], shape[count - 2] = shape[count - 2], shape[row]
        source[row], source[count - 2] = source[count - 2], source[row]
        target[row], target[count - 2] = target[count - 2], target[row]
    memset(job, 0, sizeof(job[0]))
    for i in range(CNF_AXES):
        j = count - CNF_AXES + i
        job.shape[i] = shape[j] if j >= 0 else 1
        job.from_[i] = source[j] if j >= 0 else 0
        job.to[i] = target[j] if j >= 0 else 0
    if count == 0:  # one element
        job.from_[CNF_AXES - 1] = job.to[CNF_AXES - 1] = 1
    job.chunk = (max(1, CHUNK // job.shape[CNF_AXES - 1]) + ALONG - 1) // ALONG * ALONG
    blocks = (job.shape[CNF_AXES - 2] + job.chunk - 1) // job.chunk
    for i in range(CNF_AXES - 2):
        tasks *= job.shape[i]
    return tasks * blocks


cdef int copy_into(cnp.ndarray y, cnp.ndarray x, object num_threads=None, str func="copy") except -1:
    cdef cnf_copy job
    cdef Py_ssize_t tasks
    if cnp.PyArray_SIZE(y) == 0:
        return 0
    tasks = plan_copy(&job, x, y)
    if tasks < 0:
        unrepeatable()
        (<object>y)[...] = x
        return 0
    job.x, job.y = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
    return run(func, kernels(cnp.PyArray_TYPE(y)).strided_copy, &job, tasks, 0.4 * cnp.PyArray_SIZE(y), num_threads)


cdef cnp.ndarray copied(cnp.ndarray x):
    cdef cnp.ndarray y
    if cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(x) != cnp.NPY_DOUBLE:  # indices
        unrepeatable()
        return <cnp.ndarray>(<object>x).copy()
    y = empty(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x))
    copy_into(y, x)
    return y


def contiguous(x):
    """Return `x` (float32 or float64) if it is C-contiguous, else its values in a new array that is."""
    cdef cnp.ndarray a = x
    return a if cnp.PyArray_IS_C_CONTIGUOUS(a) else copied(a)
