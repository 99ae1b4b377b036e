cimport numpy as cnp

# A new C-contiguous array from the pool (contents undefined). Raises NumPy's MemoryError text if there is no memory.
cdef cnp.ndarray empty(int ndim, const cnp.npy_intp *shape, int typenum)

# A block of workspace, 64-byte aligned, given back to the pool when the object goes.
cdef class Block:
    cdef void *data
    cdef size_t size

cdef Block block(size_t size)
