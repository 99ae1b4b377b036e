"""A pool for outputs and workspaces: the first touch of fresh memory costs more than many a kernel, so blocks are reused.

Blocks are kept by size class, a bounded total of them; all bookkeeping happens under the GIL."""

from libc.stdlib cimport free
cimport numpy as cnp

cnp.import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **out, size_t alignment, size_t size)

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/mman.h>
    static void cnf_huge(void *p, size_t size) { if (size >= (4u << 20)) madvise(p, size, MADV_HUGEPAGE); }
    #else
    static void cnf_huge(void *p, size_t size) { (void)p; (void)size; }
    #endif
    """
    void cnf_huge(void *p, size_t size) nogil

cdef size_t SMALL = 16 << 10   # NumPy's own allocator serves these well
cdef size_t LIMIT = 1 << 30    # bytes kept for reuse
cdef size_t kept = 0
cdef dict shelves = {}         # size class -> list of free addresses


cdef size_t size_class(size_t size) noexcept nogil:
    """Sizes are rounded up to 1/8 of a power of two: at most 12.5 % is wasted, and near sizes share blocks."""
    cdef size_t step = 4096
    while step * 16 <= size:
        step *= 2
    return (size + step - 1) // step * step


cdef class Block:
    def __cinit__(self):
        self.data = NULL

    def __dealloc__(self):
        global kept
        if self.data == NULL:
            return
        if shelves is not None and kept + self.size <= LIMIT:
            shelf = shelves.setdefault(self.size, [])
            shelf.append(<size_t>self.data)
            kept += self.size
        else:
            free(self.data)


cdef Block block(size_t size):
    global kept
    cdef Block b = Block.__new__(Block)
    size = size_class(size if size else 1)
    b.size = size
    shelf = shelves.get(size)
    if shelf:
        b.data = <void *><size_t>shelf.pop()
        kept -= size
        return b
    cdef size_t alignment = (2 << 20) if size >= (4 << 20) else 64
    if posix_memalign(&b.data, alignment, size) != 0:
        clear_cache()
        if posix_memalign(&b.data, alignment, size) != 0:
            b.data = NULL
            raise MemoryError(f"Unable to allocate {_human(size)} of workspace")
    cnf_huge(b.data, size)
    return b


cdef cnp.ndarray empty(int ndim, const cnp.npy_intp *shape, int typenum):
    cdef double size = 8 if typenum == cnp.NPY_DOUBLE else 1 if typenum == cnp.NPY_UBYTE else 4
    cdef int i
    for i in range(ndim):
        size *= shape[i]
    if size < SMALL or size > 9e18:
        return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, typenum, 0)
    cdef Block b
    try:
        b = block(<size_t>size)
    except MemoryError:
        dims = tuple([shape[i] for i in range(ndim)])
        dtype = "float64" if typenum == cnp.NPY_DOUBLE else "float32"
        raise MemoryError(
            f"Unable to allocate {_human(size)} for an array with shape {dims} and data type {dtype}"
        ) from None
    cdef cnp.ndarray a = cnp.PyArray_SimpleNewFromData(ndim, <cnp.npy_intp *>shape, typenum, b.data)
    cnp.set_array_base(a, b)
    return a


def _human(size):
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024 or unit == "PiB":
            return f"{size:.3g} {unit}"
        size /= 1024


def clear_cache():
    """Give the memory that is kept for reuse back to the system (arrays in use are not touched).

    Returns
    -------
    int
        Bytes released.
    """
    global kept
    cdef size_t released = kept
    for size, shelf in list(shelves.items()):
        while shelf:
            free(<void *><size_t>shelf.pop())
            kept -= <size_t>size
    shelves.clear()
    return released


def cached_bytes():
    """Bytes kept for reuse."""
    return kept
