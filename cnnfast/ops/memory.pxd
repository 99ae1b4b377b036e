cimport numpy as cnp

# A new C-contiguous array from the pool (contents undefined). Raises NumPy's MemoryError text if there is no memory.
cdef cnp.ndarray empty(int ndim, const cnp.npy_intp *shape, int typenum)

cdef struct cnf_span:        # a block's life: what it covers of an arena, and by a clock when it was taken and given back
    size_t begin, end
    Py_ssize_t taken, freed  # freed: -1 if never
    size_t own               # where it would begin if no two blocks had an address in common
    Py_ssize_t home          # the block in whose place it lies, or -1

# Memory that one recording has for itself: what is freed is used again, lowest first, so that its size is the most that was
# in use at one time. Reserved as addresses, touched as needed.
cdef class Arena:
    cdef char *base
    cdef readonly size_t size      # bytes that were in use at most
    cdef size_t reserved, advised  # addresses; those of them that are to be large pages
    cdef list holes                # [begin, end) below `size`, in order
    cdef cnf_span *spans           # of all that was ever taken, in that order
    cdef Py_ssize_t count, room
    cdef const Py_ssize_t *clock
    cdef bint open
    cdef void *take(self, size_t size) except? NULL
    cdef int give(self, void *data) except -1
    cdef int close(self) except -1
    cdef size_t add(self, size_t size, Py_ssize_t freed) except? 0
    cdef int shrink(self) except -1
    cdef size_t _find(self, size_t size) except? 0
    cdef int _add_hole(self, size_t begin, size_t end) except -1

# What this thread allocates comes from `arena` instead of the pool; None ends that.
cdef void allocate_from(Arena arena) noexcept

# A block of workspace, 64-byte aligned, given back to the pool (or to the arena it is from) when the object goes.
cdef class Block:
    cdef void *data
    cdef size_t size
    cdef int shelf
    cdef Arena arena

cdef Block block(size_t size)
