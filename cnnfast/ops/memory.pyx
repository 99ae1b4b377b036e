"""A pool for outputs and workspaces: the first touch of fresh memory costs more than many a kernel, so blocks are reused.

Blocks are kept by size class, a bounded total of them; all bookkeeping happens under the GIL."""

cimport cython
cimport numpy as cnp
from libc.stdlib cimport free, realloc

cnp.import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **out, size_t alignment, size_t size)

cdef extern from *:
    """
    static _Thread_local void *cnf_arena_now;
    static void cnf_set_arena(void *arena) { cnf_arena_now = arena; }
    static void *cnf_arena(void) { return cnf_arena_now; }
    #ifdef __unix__
    #include <sys/mman.h>
    #ifndef MAP_NORESERVE
    #define MAP_NORESERVE 0
    #endif
    static void *cnf_reserve(size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
    static void cnf_release(void *p, size_t size) { if (size) munmap(p, size); }
    #else
    static void *cnf_reserve(size_t size) { (void)size; return NULL; }
    static void cnf_release(void *p, size_t size) { (void)p; (void)size; }
    #endif
    #ifdef __linux__
    static void cnf_huge(void *p, size_t size) { madvise(p, size, MADV_HUGEPAGE); } /* of whole pages */
    #else
    static void cnf_huge(void *p, size_t size) { (void)p; (void)size; }
    #endif
    """
    void cnf_huge(void *p, size_t size) nogil
    void cnf_set_arena(void *arena) nogil
    void *cnf_arena() nogil
    void *cnf_reserve(size_t size) nogil
    void cnf_release(void *p, size_t size) nogil

cdef size_t HUGE = 2 << 20     # a large page
cdef size_t SMALL = 16 << 10   # NumPy's own allocator serves these well
cdef size_t LIMIT = 1 << 30    # bytes kept for reuse
cdef size_t kept = 0
cdef enum:
    CLASSES = 64 * 16
cdef void *shelves[CLASSES]    # of each size class the free block put there last; its first word says which was before it


cdef int size_class(size_t *size) noexcept nogil:
    """Sizes are rounded up to 1/8 of a power of two: at most 12.5 % is wasted, and near sizes share blocks."""
    cdef size_t step = 4096, steps
    cdef int doubled = 0
    while step * 16 < size[0]:
        step *= 2
        doubled += 1
    steps = (size[0] + step - 1) // step
    size[0] = steps * step
    return doubled * 16 + <int>steps - 1


cdef class Arena:
    def __cinit__(self):
        cdef size_t start, size = <size_t>1 << 36
        self.holes, self.open = [], True
        while size >= <size_t>1 << 26:  # addresses may be rationed (RLIMIT_AS)
            self.base = <char *>cnf_reserve(size)
            if self.base != NULL:
                start = (<size_t>self.base + HUGE - 1) // HUGE * HUGE - <size_t>self.base
                cnf_release(self.base, start)
                self.base += start
                self.reserved = size - start
                return
            size >>= 2
        raise MemoryError("Unable to reserve addresses")

    def __dealloc__(self):
        free(self.spans)
        if self.base != NULL:
            cnf_release(self.base, self.reserved)

    cdef void *take(self, size_t size) except? NULL:
        self.add(size, -1)
        cdef cnf_span *span = &self.spans[self.count - 1]
        try:
            span.begin = self._find(span.end)
        except MemoryError:
            self.count -= 1
            raise
        span.end += span.begin
        return self.base + span.begin

    cdef size_t add(self, size_t size, Py_ssize_t freed) except? 0:
        """A block that has no place yet; returns its own address."""
        cdef cnf_span *grown
        cdef cnf_span *last
        cdef size_t own = 0
        size = (size + 63) // 64 * 64
        if self.count == self.room:
            grown = <cnf_span *>realloc(self.spans, (self.room * 2 + 64) * sizeof(cnf_span))
            if grown == NULL:
                raise MemoryError(f"Unable to allocate {_human(size)}")
            self.spans, self.room = grown, self.room * 2 + 64
        if self.count:
            last = &self.spans[self.count - 1]
            own = last.own + (last.end - last.begin)
        self.spans[self.count] = cnf_span(0, size, self.clock[0] if self.clock != NULL else 0, freed, own, -1)
        self.count += 1
        return own

    cdef size_t _find(self, size_t size) except? 0:
        cdef Py_ssize_t i
        cdef size_t begin, end, whole
        for i in range(len(self.holes)):
            begin, end = self.holes[i]
            if end - begin >= size:
                if end - begin == size:
                    del self.holes[i]
                else:
                    self.holes[i] = begin + size, end
                return begin
        begin = self.size
        if self.holes and self.holes[-1][1] == self.size:  # the last hole grows
            begin = self.holes.pop()[0]
        if size > self.reserved - begin:
            raise MemoryError(f"Unable to allocate {_human(size)}")
        self.size = begin + size
        whole = min((self.size + HUGE - 1) // HUGE * HUGE, self.reserved)
        if self.size > 2 * HUGE and whole > self.advised:
            cnf_huge(self.base + self.advised, whole - self.advised)
            self.advised = whole
        return begin

    cdef int give(self, void *data) except -1:
        cdef size_t begin = <char *>data - self.base
        cdef Py_ssize_t i
        if not self.open:
            return 0
        for i in range(self.count - 1, -1, -1):
            if self.spans[i].begin == begin and self.spans[i].freed < 0:
                self.spans[i].freed = self.clock[0] if self.clock != NULL else 0
                return self._add_hole(begin, self.spans[i].end)
        return 0

    cdef int _add_hole(self, size_t begin, size_t end) except -1:
        cdef Py_ssize_t i
        for i in range(len(self.holes)):
            if self.holes[i][0] > begin:
                break
        else:
            i = len(self.holes)
        if i < len(self.holes) and self.holes[i][0] == end:
            end = self.holes.pop(i)[1]
        if i and self.holes[i - 1][1] == begin:
            i -= 1
            begin = self.holes.pop(i)[0]
        self.holes.insert(i, (begin, end))
        return 0

    cdef int close(self) except -1:
        """Nothing more is taken, or used again when it is given back."""
        self.open = False
        self.clock = NULL
        return 0

    cdef int shrink(self) except -1:
        """What is not in use goes back."""
        cdef size_t kept = (self.size + 4095) // 4096 * 4096
        cnf_release(self.base + kept, self.reserved - kept)
        self.reserved = kept
        if kept == 0:
            self.base = NULL
        return 0


cdef void allocate_from(Arena arena) noexcept:
    cnf_set_arena(<void *>arena if arena is not None else NULL)


@cython.no_gc_clear
cdef class Block:
    def __cinit__(self):
        self.data = NULL

    def __dealloc__(self):
        global kept
        if self.data == NULL:
            return
        if self.arena is not None:
            self.arena.give(self.data)
        elif kept + self.size <= LIMIT:
            (<void **>self.data)[0] = shelves[self.shelf]
            shelves[self.shelf] = self.data
            kept += self.size
        else:
            free(self.data)


cdef Block block(size_t size):
    global kept
    cdef Block b = Block.__new__(Block)
    cdef void *arena = cnf_arena()
    if arena != NULL:
        b.arena = <Arena>arena
        b.size = size if size else 1
        b.data = b.arena.take(b.size)
        return b
    size = size if size else 1
    b.shelf = size_class(&size)
    b.size = size
    if shelves[b.shelf] != NULL:
        b.data = shelves[b.shelf]
        shelves[b.shelf] = (<void **>b.data)[0]
        kept -= size
        return b
    cdef size_t alignment = HUGE if size >= 2 * HUGE else 64
    if posix_memalign(&b.data, alignment, size) != 0:
        clear_cache()
        if posix_memalign(&b.data, alignment, size) != 0:
            b.data = NULL
            raise MemoryError(f"Unable to allocate {_human(size)} of workspace")
    if size >= 2 * HUGE:
        cnf_huge(b.data, size)
    return b


cdef cnp.ndarray empty(int ndim, const cnp.npy_intp *shape, int typenum):
    cdef double size = 4
    if typenum == cnp.NPY_DOUBLE or typenum == cnp.NPY_INT64:
        size = 8
    elif typenum == cnp.NPY_UBYTE or typenum == cnp.NPY_BOOL:
        size = 1
    cdef int i
    for i in range(ndim):
        size *= shape[i]
    if (size < SMALL and cnf_arena() == NULL) or size > 9e18:
        return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp *>shape, typenum, 0)
    cdef Block b
    try:
        b = block(<size_t>size)
    except MemoryError:
        dims = tuple([shape[i] for i in range(ndim)])
        dtype = cnp.PyArray_DescrFromType(typenum)
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
    cdef void *data
    cdef int i
    for i in range(CLASSES):
        while shelves[i] != NULL:
            data = shelves[i]
            shelves[i] = (<void **>data)[0]
            free(data)
    kept = 0
    return released


def cached_bytes():
    """Bytes kept for reuse."""
    return kept
