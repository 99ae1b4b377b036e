"""What a thread's ops run, written down once and run again: no Python between them, and memory of its own.

Every op ends in `threads.run`, which does tasks of a job: a kernel and a plain struct of shapes and pointers. A `Tape` keeps
copies of these, in order, while the ops compute as always. All they allocate meanwhile comes from the tape's arena. Running
the tape repeats the very same kernel calls: the same bits as the ops.

Only what runs by kernels is repeated. What an op or a layer computes in another way (a copy into another layout, NumPy)
says so by `not_replayable`, and then the tape is of no use.

`Tape.fuse` joins neighbours on a complete tape that a kernel can do in one pass over memory: a frame of zeros and the
convolution in it, a depthwise convolution and the 1x1 convolution after it, what follows a convolution (batch norm, a
residual, ReLU, a pooling), what follows batch norm, and going back through a ReLU. A map that only the next job reads is
then never written. The joint kernels have the bits of the separate ones, save that a frame's zeros times an infinite weight
are NaN and a convolution's own padding is not.

While jobs are joined, every block has addresses of its own, which nothing lies at, so that only what they name decides. Then
memory is laid out anew, by which jobs name a block still: as little of it as possible, for what is used again at once is in
the caches (mobilenet_v2, one image: 11 MB as recorded, 7 laid out anew). A job that goes through a map element by element, or
adds one, writes over it if nobody reads it again (training steps on a Zen 5: mobilenet_v2 0.94 of the time, resnet50 0.97).
"""

from collections import OrderedDict

cimport cython
cimport numpy as cnp
from cpython.dict cimport PyDict_GetItemWithError
from cpython.ref cimport PyObject
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcpy, memmove

from cnnfast.ops.cpu cimport (
    CNF_BACKWARD_INPUT, CNF_CLIP, CNF_DIRECT, CNF_FORWARD, CNF_LINEAR, CNF_LINES, CNF_PLANAR, CNF_RELU, CNF_SPLIT, cnf_conv2d_job,
    cnf_conv2d_plan, cnf_conv2d_pool_gradient, cnf_conv2d_pool_lines, cnf_depthwise_plan, cnf_depthwise_walks, cnf_dropout,
    cnf_elementwise, cnf_kernel, cnf_kernels, cnf_norm, cnf_pad2d_job, cnf_pool2d_job, cnf_random, cnf_stores_once, current_isa,
    kernels
)
from cnnfast.ops.locks cimport StepLock
from cnnfast.ops.memory cimport Arena, allocate_from, cnf_span, empty
from cnnfast.ops.threads cimport cnf_work, execute, get_num_threads, listen, unrepeatable, was_unrepeatable

cnp.import_array()

cdef extern from *:
    """
    static _Thread_local void *cnf_tape_open;
    static void cnf_open_tape(void *tape) { cnf_tape_open = tape; }
    static void *cnf_opened_tape(void) { return cnf_tape_open; }
    /* Addresses that no pointer has: as numbers they are no sizes, as doubles no numbers. */
    #define CNF_NOWHERE ((size_t)(0x7ff5 * (UINT64_C(1) << 48)))
    """
    const size_t CNF_NOWHERE
    void cnf_open_tape(void *tape) nogil
    void *cnf_opened_tape() nogil

cdef int _largest_first(const void *a, const void *b) noexcept nogil:
    """What stays where it is comes first of all."""
    cdef const cnf_span *x = (<const cnf_span **>a)[0]
    cdef const cnf_span *y = (<const cnf_span **>b)[0]
    cdef size_t m = x.end - x.begin, n = y.end - y.begin
    if (x.freed < 0) != (y.freed < 0):
        return -1 if x.freed < 0 else 1
    if m != n:
        return -1 if m > n else 1
    return -1 if x.own < y.own else x.own > y.own


cdef struct Roll:
    cnf_work *entries
    Py_ssize_t count, room
    bint broken  # something happened that can't be repeated


cdef void _note(void *tape, cnf_kernel *kernel, const void *job, size_t size, Py_ssize_t tasks, int workers) noexcept nogil:
    cdef Roll *roll = <Roll *>tape
    cdef cnf_work *grown
    cdef void *copy
    if kernel == kernels(cnp.NPY_FLOAT).max_pool2d_check or kernel == kernels(cnp.NPY_DOUBLE).max_pool2d_check:
        return  # the indices will be those of the forward pass again
    if roll.count == roll.room:
        grown = <cnf_work *>realloc(roll.entries, (roll.room * 2 + 32) * sizeof(cnf_work))
        if grown == NULL:
            roll.broken = True
            return
        roll.entries, roll.room = grown, roll.room * 2 + 32
    copy = malloc(size)
    if copy == NULL:
        roll.broken = True
        return
    memcpy(copy, job, size)
    roll.entries[roll.count] = cnf_work(kernel, copy, size, tasks, workers)
    roll.count += 1


cdef bint _is_framed(const cnf_pad2d_job *pad, Py_ssize_t n, Py_ssize_t h, Py_ssize_t w, Py_ssize_t c) noexcept nogil:
    """Whether these are the maps with their frames: a dense layer may see the same memory as rows."""
    return n == pad.n and h == pad.top + pad.h + pad.bottom and w == pad.left + pad.w + pad.right and c == pad.c


cdef bint _pools(const cnf_pool2d_job *pool, const cnf_conv2d_job *conv) noexcept nogil:
    """Whether the pool's maps are what the convolution makes."""
    return pool.shape.n == conv.shape.n and pool.shape.h == conv.shape.oh and pool.shape.w == conv.shape.ow \
        and pool.shape.c == conv.shape.k


def not_replayable():
    """Say that what this thread does just now is not done by kernels."""
    unrepeatable()


def hold(array):
    """Return `array`, which is not the pool's, and let the open tape, if there is one, keep it alive."""
    if cnf_opened_tape() != NULL:
        (<Tape><object>cnf_opened_tape()).held.append(array)
    return array


@cython.no_gc_clear  # the arena is told to forget the clock
cdef class Tape:
    """Context manager: inside it, what this thread's ops run is recorded. May be entered again, to go on.

    Attributes
    ----------
    usable : bool
        Whether everything so far can be run again.
    bytes : int
        Size of its memory.
    fused : int
        How many passes over memory `fuse` has saved.
    """

    cdef Roll roll
    cdef readonly Py_ssize_t fused
    cdef Arena arena
    cdef list held

    def __cinit__(self):
        self.held = []
        self.roll.entries = NULL
        self.roll.count = self.roll.room = 0
        self.roll.broken = False
        self.arena = Arena()
        self.arena.clock = &self.roll.count

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.roll.count):
            free(self.roll.entries[i].job)
        free(self.roll.entries)
        if self.arena is not None:
            self.arena.clock = NULL

    def __enter__(self):
        if cnf_opened_tape() != NULL:
            raise RuntimeError("Tape: this thread records already")
        was_unrepeatable()
        cnf_open_tape(<void *>self)
        listen(_note, &self.roll)
        allocate_from(self.arena)
        return self

    def __exit__(self, *_):
        self.roll.broken = was_unrepeatable() or self.roll.broken
        cnf_open_tape(NULL)
        listen(NULL, NULL)
        allocate_from(None)

    def __len__(self):
        return self.roll.count

    @property
    def usable(self):
        return not self.roll.broken

    @property
    def bytes(self):
        return self.arena.size

    def buffer(self, cnp.ndarray like):
        """Return an array in the tape's memory, of the shape and dtype of `like` (float32 or float64)."""
        return empty(cnp.PyArray_NDIM(like), cnp.PyArray_DIMS(like), cnp.PyArray_TYPE(like))

    def close(self):
        """End the recording for good: arrays that lie in its memory keep their places."""
        self.arena.close()

    def run(self, Py_ssize_t begin, Py_ssize_t end):
        """Run the jobs of a stretch again, without the GIL."""
        if not 0 <= begin <= end <= self.roll.count:
            raise IndexError(f"Tape.run: there are jobs 0 to {self.roll.count}, got {begin} to {end}")
        with nogil:
            execute(&self.roll.entries[begin], end - begin)

    def set_step(self, step):
        """Give the jobs that draw another step to draw by."""
        cdef Py_ssize_t i
        cdef int typenum
        for typenum in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE):
            for i in range(self.roll.count):
                if self._is(i, kernels(typenum).dropout):
                    (<cnf_dropout *>self.roll.entries[i].job).step = step
                elif self._is(i, kernels(typenum).random_uniform):
                    (<cnf_random *>self.roll.entries[i].job).step = step

    # --- fusion ------------------------------------------------------------------------------------------------------

    def fuse(self):
        """Join neighbouring jobs, once everything is recorded, and lay out memory for what is left."""
        cdef cnf_span **placed = NULL
        if self.arena.count and sizeof(size_t) == 8:
            placed = <cnf_span **>malloc(2 * (self.arena.count + self.roll.count) * sizeof(placed[0]))  # what fusion adds, too
        if placed == NULL:
            return  # it is of use as it is
        try:
            self._spread()
            self._join(kernels(cnp.NPY_FLOAT), 4)
            self._join(kernels(cnp.NPY_DOUBLE), 8)
        finally:
            self._settle(placed)
            free(placed)

    cdef int _join(self, const cnf_kernels *table, Py_ssize_t itemsize) except -1:
        cdef Py_ssize_t i
        for i in range(self.roll.count):
            self._take_frame(i, table)
            self._leave_frame(i, table, itemsize)
        for i in range(self.roll.count):
            self._finish_norm(i, table)
        for i in range(self.roll.count):
            self._finish_conv(i, table, itemsize)
        for i in range(self.roll.count):
            self._feed_conv(i, table, itemsize)
        for i in range(self.roll.count):
            self._go_back(i, table)
        for i in range(self.roll.count):
            self._pool_weights(i, table, itemsize)
        for i in range(self.roll.count):
            self._pool_conv(i, table, itemsize)
        return self._foresee(table, itemsize)

    cdef int _spread(self) except -1:
        """Give every block addresses of its own."""
        cdef size_t *words
        cdef size_t at, k
        cdef cnf_span *span
        cdef Py_ssize_t i, n
        for i in range(self.roll.count):
            words = <size_t *>self.roll.entries[i].job
            for k in range(self.roll.entries[i].size // sizeof(size_t)):
                at = words[k] - <size_t>self.arena.base
                if at >= self.arena.size:
                    continue
                for n in range(self.arena.count - 1, -1, -1):
                    span = &self.arena.spans[n]
                    if span.taken <= i and (span.freed > i or span.freed < 0) and span.begin <= at < span.end:
                        words[k] = CNF_NOWHERE + span.own + (at - span.begin)
                        break
        return 0

    cdef int _settle(self, cnf_span **placed) except -1:
        """Give blocks that jobs still name the lowest addresses that are free from the first such job to the last, large blocks
        first. What was never given back is in somebody's hands and stays."""
        cdef Py_ssize_t i, n, at, count = 0, blocks = self.arena.count
        cdef cnf_span *spans = self.arena.spans
        cdef cnf_span *span
        cdef size_t size, begin
        for n in range(blocks):
            spans[n].taken = -1 if spans[n].freed < 0 else self.roll.count
        for i in range(self.roll.count):
            if self.roll.entries[i].kernel != NULL:
                self._live(i, <size_t *>self.roll.entries[i].job, self.roll.entries[i].size)
                self._live_within(i, kernels(cnp.NPY_FLOAT))
                self._live_within(i, kernels(cnp.NPY_DOUBLE))
        self._overwrite(kernels(cnp.NPY_FLOAT))
        self._overwrite(kernels(cnp.NPY_DOUBLE))
        for n in range(blocks):
            placed[blocks + n] = &spans[n]
        qsort(placed + blocks, blocks, sizeof(placed[0]), _largest_first)
        self.arena.size = 0
        for n in range(blocks, 2 * blocks):
            span = placed[n]
            if span.taken == self.roll.count:
                continue  # nobody names it
            size, begin, at = span.end - span.begin, 0, 0
            if span.freed < 0:
                begin = span.begin
            else:
                for i in range(count):
                    if placed[i].begin >= begin + size:
                        break
                    if placed[i].freed < 0 or (placed[i].taken <= span.freed and span.taken <= placed[i].freed):
                        begin = max(begin, placed[i].end)
            while at < count and placed[at].begin < begin:
                at += 1
            memmove(placed + at + 1, placed + at, (count - at) * sizeof(placed[0]))
            placed[at] = span
            count += 1
            span.begin, span.end = begin, begin + size
            self.arena.size = max(self.arena.size, span.end)
        for n in range(blocks):
            if spans[n].home >= 0:
                spans[n].begin, spans[n].end = spans[spans[n].home].begin, spans[spans[n].home].end
        for i in range(self.roll.count):
            self._place(<size_t *>self.roll.entries[i].job, self.roll.entries[i].size)
        return self.arena.shrink()

    cdef int _live(self, Py_ssize_t i, const size_t *words, size_t size) except -1:
        """Job i names these."""
        cdef cnf_span *span
        cdef size_t k
        for k in range(size // sizeof(size_t)):
            span = self._span(<void *>words[k])
            if span != NULL and span.freed >= 0:
                if span.taken == self.roll.count:
                    span.taken = i
                span.freed = i
        return 0

    cdef int _live_within(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        """Job i names what the jobs do that it does on its way."""
        cdef cnf_conv2d_job *conv = <cnf_conv2d_job *>self.roll.entries[i].job
        cdef const cnf_pool2d_job *pool = NULL
        if self._is(i, table.conv2d_direct) or self._is(i, table.conv2d_split) \
                or self._is(i, table.conv2d_backward_weight_direct):
            pool = conv.pool
            if conv.before != NULL:
                self._live(i, <const size_t *>conv.before, sizeof(cnf_conv2d_job))
            if conv.sums != NULL:
                self._live(i, <const size_t *>conv.sums, sizeof(cnf_norm))
        if pool != NULL:
            self._live(i, <const size_t *>pool, sizeof(cnf_pool2d_job))
        return 0

    cdef int _overwrite(self, const cnf_kernels *table) except -1:
        """Results go where the job reads, each in its turn, what nobody reads after it: that is in a cache, and a store elsewhere
        would fetch what it overwrites."""
        cdef cnf_norm *norm
        cdef cnf_conv2d_job *conv
        cdef cnf_elementwise *simple
        cdef cnf_dropout *dropout
        cdef Py_ssize_t i
        for i in range(self.roll.count):
            norm, conv = <cnf_norm *>self.roll.entries[i].job, <cnf_conv2d_job *>self.roll.entries[i].job
            simple, dropout = <cnf_elementwise *>self.roll.entries[i].job, <cnf_dropout *>self.roll.entries[i].job
            if self._is(i, table.batch_norm_sums):
                self._move_in(i, norm.gated, norm.dy)
            elif self._is(i, table.batch_norm_backward):
                self._move_in(i, norm.y, norm.dy) or self._move_in(i, norm.y, norm.x)
            elif self._is(i, table.batch_norm):
                self._move_in(i, norm.y, norm.x) or self._move_in(i, norm.y, norm.residual)
            elif (self._is(i, table.conv2d_direct) or self._is(i, table.conv2d_split)) and cnf_stores_once(conv, CNF_FORWARD) \
                    or self._is(i, table.conv2d_backward_input_direct) and cnf_stores_once(conv, CNF_BACKWARD_INPUT):
                self._move_in(i, conv.y, conv.residual)
            elif self._is(i, table.dropout):
                self._move_in(i, dropout.y, dropout.x)
            elif self._is_elementwise(i, table):
                self._move_in(i, simple.y, simple.x) or self._move_in(i, simple.y, simple.z)
        return 0

    cdef bint _is_elementwise(self, Py_ssize_t i, const cnf_kernels *table) noexcept:
        cdef cnf_kernel *const *kernel = &table.exp  # the first of them in the list, up to the last
        while kernel <= &table.moving_average:
            if self._is(i, kernel[0]):
                return True
            kernel += 1
        return False

    cdef bint _move_in(self, Py_ssize_t i, const void *y, const void *x):
        """Let block y live where block x does, if job i is the first to name the one and the last to name the other, once."""
        cdef cnf_span *old = self._span(x)
        cdef cnf_span *new = self._span(y)
        cdef const size_t *words = <const size_t *>self.roll.entries[i].job
        cdef size_t k
        cdef Py_ssize_t names = 0
        if old == NULL or new == NULL or old.freed != i or new.taken != i or new.end - new.begin != old.end - old.begin \
                or <size_t>x != CNF_NOWHERE + old.own or <size_t>y != CNF_NOWHERE + new.own:
            return False
        for k in range(self.roll.entries[i].size // sizeof(size_t)):
            names += self._span(<const void *>words[k]) == old
        if names != 1:
            return False
        new.home = old.home if old.home >= 0 else old - self.arena.spans
        self.arena.spans[new.home].freed = new.freed
        new.taken = self.roll.count  # it needs no place of its own
        return True

    cdef int _place(self, size_t *words, size_t size) except -1:
        cdef cnf_span *span
        cdef size_t k
        for k in range(size // sizeof(size_t)):
            span = self._span(<void *>words[k])
            if span != NULL:
                words[k] = <size_t>self.arena.base + span.begin + (words[k] - CNF_NOWHERE - span.own)
        return 0

    cdef cnf_span *_span(self, const void *p) noexcept:
        """The block that an address of its own lies in, or NULL."""
        cdef cnf_span *spans = self.arena.spans
        cdef size_t at = <size_t>p - CNF_NOWHERE
        cdef Py_ssize_t low = 0, high = self.arena.count, middle
        if at >= spans[high - 1].own + (spans[high - 1].end - spans[high - 1].begin):
            return NULL
        while high - low > 1:
            middle = (low + high) // 2
            if spans[middle].own <= at:
                low = middle
            else:
                high = middle
        return &spans[low]

    cdef int _foresee(self, const cnf_kernels *table, Py_ssize_t itemsize) except -1:
        """Weights that are more than a last level of cache holds come from memory in every run: they are fetched early."""
        cdef cnf_conv2d_job *conv
        cdef Py_ssize_t i
        cdef dict weights = {}
        cdef list jobs = []
        for i in range(self.roll.count):
            conv = <cnf_conv2d_job *>self.roll.entries[i].job
            if not self._convolves(i, table):
                continue
            weights[<size_t>conv.w] = conv.shape.kh * conv.shape.kw * conv.shape.c // conv.shape.groups * conv.shape.k
            jobs.append(i)
        if sum(weights.values()) * itemsize > 1 << 24:
            for i in jobs:
                (<cnf_conv2d_job *>self.roll.entries[i].job).ahead = 1
        return 0

    cdef Py_ssize_t _next(self, Py_ssize_t i) noexcept:
        i += 1
        while i < self.roll.count and self.roll.entries[i].kernel == NULL:
            i += 1
        return i if i < self.roll.count else -1

    cdef bint _is(self, Py_ssize_t i, cnf_kernel *kernel) noexcept:
        return i >= 0 and kernel != NULL and self.roll.entries[i].kernel == kernel

    cdef bint _convolves(self, Py_ssize_t i, const cnf_kernels *table) noexcept:
        return self._is(i, table.conv2d_direct) or self._is(i, table.conv2d_grouped) or self._is(i, table.winograd) \
            or self._is(i, table.conv2d_split)

    cdef bint _dies(self, const void *p, Py_ssize_t last):
        """Whether no job after `last` has to do with the block at `p` before it is given back."""
        cdef cnf_span *span = self._span(p)
        cdef Py_ssize_t k
        if span == NULL or span.freed < 0 or <size_t>p != CNF_NOWHERE + span.own:
            return False  # somebody has it still
        for k in range(last + 1, span.freed):
            if self._names(k, span):
                return False
        return True

    cdef bint _names(self, Py_ssize_t i, const cnf_span *span) noexcept:
        """Whether a pointer into this block is among the words of job i."""
        cdef size_t *words = <size_t *>self.roll.entries[i].job
        cdef size_t k, begin = CNF_NOWHERE + span.own, end = begin + (span.end - span.begin)
        if self.roll.entries[i].kernel != NULL:
            for k in range(self.roll.entries[i].size // sizeof(size_t)):
                if begin <= words[k] < end:
                    return True
        return False

    cdef int _keep(self, const void *p, Py_ssize_t last) except -1:
        """The block at `p` is in use until job `last` now."""
        cdef cnf_span *span = self._span(p)
        if span != NULL and span.freed >= 0:
            span.freed = max(span.freed, last + 1)
        return 0

    cdef int _take_frame(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        """A frame of zeros that only convolutions read becomes their padding."""
        cdef cnf_pad2d_job *pad = <cnf_pad2d_job *>self.roll.entries[i].job
        cdef cnf_conv2d_job *conv
        cdef cnf_kernel *kernel
        cdef cnf_span *frame
        cdef Py_ssize_t k
        if not self._is(i, table.pad2d) or pad.value != 0 or self._span(pad.x) == NULL:
            return 0
        frame = self._span(pad.y)
        if frame == NULL or frame.freed < 0:
            return 0
        readers = [k for k in range(i + 1, frame.freed) if self._names(k, frame)]
        for k in readers:
            kernel, conv = self.roll.entries[k].kernel, <cnf_conv2d_job *>self.roll.entries[k].job
            if not (kernel == table.conv2d_direct or kernel == table.depthwise or kernel == table.conv2d_backward_weight_direct
                    or kernel == table.depthwise_backward_weight or kernel == table.conv2d_backward_weight_sum):
                return 0
            if conv.transposed or conv.x != pad.y or conv.w == pad.y:
                return 0
            if conv.shape.kh * conv.shape.kw == 1 or not _is_framed(pad, conv.shape.n, conv.shape.h, conv.shape.w, conv.shape.c):
                return 0
        if not readers:
            return 0
        for k in readers:
            conv = <cnf_conv2d_job *>self.roll.entries[k].job
            conv.x = pad.x
            conv.shape.h, conv.shape.w = pad.h, pad.w
            conv.shape.pt += pad.top
            conv.shape.pl += pad.left
        self._keep(pad.x, readers[-1])
        self.roll.entries[i].kernel = NULL
        self.fused += 1
        return 0

    cdef int _leave_frame(self, Py_ssize_t i, const cnf_kernels *table, size_t itemsize) except -1:
        """The gradient to a map in a frame: the frame's is not computed."""
        cdef cnf_work *entry = &self.roll.entries[i]
        cdef cnf_pad2d_job *pad
        cdef cnf_conv2d_job job
        cdef Py_ssize_t j = self._next(i)
        cdef bint turned = self._is(i, table.depthwise)
        cdef bint gathers = self._is(i, table.depthwise_backward_input) or self._is(i, table.conv2d_backward_input_direct)
        if not self._is(j, table.pad2d_backward) or not (turned or gathers):
            return 0
        pad = <cnf_pad2d_job *>self.roll.entries[j].job
        memcpy(&job, entry.job, sizeof(job))
        if turned != <bint>job.transposed or pad.x != job.y or not self._dies(job.y, j):
            return 0
        if not (_is_framed(pad, job.shape.n, job.shape.oh, job.shape.ow, job.shape.k) if turned else
                _is_framed(pad, job.shape.n, job.shape.h, job.shape.w, job.shape.c)):
            return 0
        if turned:  # as it is seen from dy
            job.shape.oh, job.shape.ow = pad.h, pad.w
            job.shape.pt -= pad.top
            job.shape.pl -= pad.left
            cnf_depthwise_plan(&job, CNF_FORWARD, itemsize)
        else:
            job.shape.h, job.shape.w = pad.h, pad.w
            job.shape.pt += pad.top
            job.shape.pl += pad.left
            if self._is(i, table.depthwise_backward_input):
                cnf_depthwise_plan(&job, CNF_BACKWARD_INPUT, itemsize)
            else:
                cnf_conv2d_plan(&job, CNF_BACKWARD_INPUT, itemsize, table.lanes, entry.workers)
        if job.scratch_bytes > (<cnf_conv2d_job *>entry.job).scratch_bytes or job.tasks < 1:
            return 0
        job.y = pad.y
        memcpy(entry.job, &job, sizeof(job))
        entry.tasks, entry.workers = job.tasks, <int>min(<Py_ssize_t>entry.workers, job.tasks)
        self.roll.entries[j].kernel = NULL
        self.fused += 1
        return 0

    cdef Py_ssize_t _absorb(self, Py_ssize_t i, const cnf_kernels *table, void **y, const void **residual, ptrdiff_t *activation,
                            double *ceiling):
        """Lets job i, which ends in these, take over an addition or a ReLU that follows; returns whether it did."""
        cdef Py_ssize_t j = self._next(i)
        cdef cnf_elementwise *after
        cdef bint clips = self._is(j, table.clipped_relu)
        if activation[0] != CNF_LINEAR or not (clips or self._is(j, table.relu) or self._is(j, table.add)):
            return False
        after = <cnf_elementwise *>self.roll.entries[j].job
        if clips and not (after.a == 0 and after.b == 0 and after.c >= 0):
            return False
        if clips or self._is(j, table.relu):
            if after.x != y[0]:
                return False
        elif residual[0] != NULL or (after.x == y[0]) == (after.z == y[0]):
            return False
        if not self._dies(y[0], j):
            return False
        if clips:
            activation[0], ceiling[0] = CNF_CLIP, after.c
        elif self._is(j, table.relu):
            activation[0] = CNF_RELU
        else:
            residual[0] = after.z if after.x == y[0] else after.x
            activation[0] = after.mode
        y[0] = after.y
        self.roll.entries[j].kernel = NULL
        self.fused += 1
        return True

    cdef int _finish_norm(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        cdef cnf_norm *norm = <cnf_norm *>self.roll.entries[i].job
        if self._is(i, table.batch_norm):
            while self._absorb(i, table, &norm.y, &norm.residual, &norm.activation, &norm.ceiling):
                pass
        return 0

    cdef int _finish_conv(self, Py_ssize_t i, const cnf_kernels *table, Py_ssize_t itemsize) except -1:
        cdef cnf_kernel *kernel = self.roll.entries[i].kernel
        cdef cnf_conv2d_job *conv = <cnf_conv2d_job *>self.roll.entries[i].job
        cdef cnf_norm *norm
        cdef Py_ssize_t tile, j, channels
        cdef bint back
        if not (self._convolves(i, table) or self._is(i, table.depthwise) or self._is(i, table.conv2d_backward_input_direct)):
            return 0
        tile = self._next(i)
        j = self._next(tile) if self._is(tile, table.batch_norm_tile) else -1
        if self._is(j, table.batch_norm) and conv.activation == CNF_LINEAR and conv.residual == NULL and conv.scale == NULL:
            norm = <cnf_norm *>self.roll.entries[j].job
            back = kernel == table.conv2d_backward_input_direct or kernel == table.conv2d_grouped and conv.transposed
            channels = conv.shape.c if back else conv.shape.k
            if norm.channels != channels:
                return 0  # a layer between them sees the same memory in another shape
            if norm.residual == conv.y:
                return 0  # what is normalised is added again, too
            if norm.x == conv.y and self._dies(conv.y, j) and (<cnf_norm *>self.roll.entries[tile].job).tiled == norm.tiled:
                conv.mean = norm.tiled
                conv.scale = <char *>norm.tiled + norm.period * itemsize
                conv.shift = <char *>norm.tiled + 2 * norm.period * itemsize
                conv.residual, conv.activation, conv.ceiling, conv.y = norm.residual, norm.activation, norm.ceiling, norm.y
                free(norm)
                self._keep(conv.x, j)
                self.roll.entries[j] = self.roll.entries[i]  # after its scale is known
                self.roll.entries[i] = cnf_work(NULL, NULL, 0, 0, 0)
                self.fused += 1
                return 0
        while self._absorb(i, table, &conv.y, &conv.residual, &conv.activation, &conv.ceiling):
            pass
        return 0

    cdef int _feed_conv(self, Py_ssize_t i, const cnf_kernels *table, size_t itemsize) except -1:
        """A depthwise convolution and the 1x1 convolution after it, whose strips it makes: 32 channels to 64 at 112 x 112, 16
        images, 8.0 -> 6.7 ms."""
        cdef cnf_conv2d_job *first = <cnf_conv2d_job *>self.roll.entries[i].job
        cdef cnf_conv2d_job *conv
        cdef Py_ssize_t j = self._next(i)
        if not self._is(i, table.depthwise) or first.transposed or first.residual != NULL \
                or not cnf_depthwise_walks(&first.shape, itemsize) or first.shape.sh * first.shape.sw != 1:
            return 0  # strided, the pixels of a strip come in faster than the prefetcher follows
        while self._is(j, table.batch_norm_tile) or self._is(j, table.split_weights):
            j = self._next(j)
        if not self._is(j, table.conv2d_direct) and not self._is(j, table.conv2d_split):
            return 0
        conv = <cnf_conv2d_job *>self.roll.entries[j].job
        if conv.x != first.y or conv.shape.kh * conv.shape.kw * conv.shape.sh * conv.shape.sw * conv.shape.groups != 1 \
                or conv.shape.pt or conv.shape.pl or conv.col_tasks != 1 or conv.algorithm not in (CNF_DIRECT, CNF_SPLIT) \
                or conv.residual == first.y:
            return 0
        if conv.shape.n != first.shape.n or conv.shape.oh != first.shape.oh or conv.shape.ow != first.shape.ow \
                or conv.shape.h != conv.shape.oh or conv.shape.w != conv.shape.ow or conv.shape.c != first.shape.k:
            return 0
        if not self._dies(first.y, j):
            return 0
        self._keep(first.x, j)
        conv.before = first
        self.roll.entries[i].kernel = NULL
        self.fused += 1
        return 0

    cdef int _pool_conv(self, Py_ssize_t i, const cnf_kernels *table, size_t itemsize) except -1:
        """A convolution that shares lines, and the pooling after it, which takes a band of lines before it has left the core."""
        cdef cnf_work *entry = &self.roll.entries[i]
        cdef cnf_conv2d_job *conv = <cnf_conv2d_job *>entry.job
        cdef cnf_pool2d_job *pool
        cdef cnf_conv2d_job job
        cdef int workers
        cdef Py_ssize_t j = self._next(i)
        if not self._is(i, table.conv2d_direct) or not self._is(j, table.max_pool2d):
            return 0
        if conv.algorithm not in (CNF_LINES, CNF_PLANAR) or conv.transposed or conv.shape.groups > 1 or conv.residual != NULL:
            return 0
        pool = <cnf_pool2d_job *>self.roll.entries[j].job
        if pool.x != conv.y or not _pools(pool, conv):
            return 0
        if pool.shape.pt or pool.shape.pl or pool.shape.pb or pool.shape.pr or pool.shape.dh > 1 \
                or pool.shape.kh > pool.shape.sh or not self._dies(conv.y, j):
            return 0
        if (pool.shape.oh - 1) * pool.shape.sh + pool.shape.kh > pool.shape.h:
            return 0  # a window that no band has
        memcpy(&job, conv, sizeof(job))
        cnf_conv2d_pool_lines(&job, pool.shape.sh, itemsize)
        workers = <int>min(<Py_ssize_t>entry.workers, job.tasks)
        job.scratch = <void *>(CNF_NOWHERE + self.arena.add(job.scratch_bytes * workers, j + 1))
        job.pool = pool
        memcpy(conv, &job, sizeof(job))
        entry.tasks, entry.workers = job.tasks, workers
        self.roll.entries[j].kernel = NULL
        self.fused += 1
        return 0

    cdef int _go_back(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        if self._is(i, table.max_pool2d_backward):
            self._pool_back(i, table)
        elif self._is(i, table.relu_backward):
            self._norm_back(i, table)
        return 0

    cdef int _pool_back(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        """max_pool2d_backward and the ReLU before the pool: the mask is that of the pooled map."""
        cdef cnf_pool2d_job *pool = <cnf_pool2d_job *>self.roll.entries[i].job
        cdef cnf_pool2d_job *forward = NULL
        cdef cnf_elementwise *relu
        cdef cnf_norm *sums
        cdef cnf_norm *merge
        cdef Py_ssize_t f, j = self._next(i)
        for f in range(i - 1, -1, -1):
            if self._is(f, table.max_pool2d) and (<cnf_pool2d_job *>self.roll.entries[f].job).indices == pool.indices:
                forward = <cnf_pool2d_job *>self.roll.entries[f].job
                break
        if forward == NULL or pool.output != NULL:
            return 0
        if not self._dies(pool.y, self._next(j) if self._is(j, table.column_sum) else j):  # which ends in a job that merges
            return 0
        if self._is(j, table.relu_backward):
            relu = <cnf_elementwise *>self.roll.entries[j].job
            if relu.x == pool.y and relu.z == forward.x:
                pool.output, pool.y = forward.y, relu.y
                self.roll.entries[j].kernel = NULL
                self.fused += 1
        elif self._is(j, table.column_sum):
            sums = <cnf_norm *>self.roll.entries[j].job
            if sums.x == pool.y and sums.output != NULL and sums.output == forward.x:
                pool.output, pool.y = forward.y, sums.y
                sums.x, sums.output, sums.y = sums.y, NULL, NULL
                merge = <cnf_norm *>self.roll.entries[self._next(j)].job
                merge.x, merge.output, merge.y = sums.x, NULL, NULL  # which has no eyes for them, but they would be kept
                self.fused += 1
        return 0

    cdef int _pool_weights(self, Py_ssize_t i, const cnf_kernels *table, Py_ssize_t itemsize) except -1:
        """max_pool2d_backward whose map only goes to the weights, and the bias, of a first convolution: these make it for
        themselves, a band at a time, and take both sums of it in L1 (64 maps of 26 x 26 x 32, two threads of a Zen 3: 720 and
        585 us)."""
        cdef cnf_pool2d_job *pool = <cnf_pool2d_job *>self.roll.entries[i].job
        cdef cnf_conv2d_job *conv
        cdef cnf_norm *sums = NULL
        cdef cnf_span *span
        cdef Py_ssize_t k, w = -1, s = -1
        if not self._is(i, table.max_pool2d_backward):
            return 0
        span = self._span(pool.y)
        if span == NULL or not self._dies(pool.y, span.freed):
            return 0
        readers = [k for k in range(i + 1, span.freed) if self._names(k, span)]
        for k in readers:
            if self._is(k, table.conv2d_backward_weight_direct):
                w = k
            elif self._is(k, table.column_sum):
                s = k
            elif not (self._is(k, table.column_sum_merge) or self._is(k, table.conv2d_backward_weight_sum)):
                return 0
        if w < 0:
            return 0
        conv = <cnf_conv2d_job *>self.roll.entries[w].job
        if conv.algorithm not in (CNF_LINES, CNF_PLANAR) or conv.w != pool.y or conv.x == pool.y or not _pools(pool, conv):
            return 0
        if s >= 0:
            sums = <cnf_norm *>self.roll.entries[s].job
            if sums.x != pool.y or sums.output != NULL or sums.chunks != conv.splits \
                    or sums.band != conv.row_chunk * conv.shape.ow * conv.shape.k:
                return 0
        for k in readers:
            if self._is(k, table.conv2d_backward_weight_sum):
                (<cnf_conv2d_job *>self.roll.entries[k].job).w = NULL
            elif k != w:
                (<cnf_norm *>self.roll.entries[k].job).x = NULL
        cnf_conv2d_pool_gradient(conv, itemsize)
        conv.scratch = <void *>(CNF_NOWHERE + self.arena.add(conv.scratch_bytes * self.roll.entries[w].workers, max(w, s) + 1))
        conv.pool, conv.sums, conv.w = pool, sums, NULL
        if s >= 0:
            self.roll.entries[s].kernel = NULL
            if s < w:  # before its sums are merged
                self.roll.entries[s], self.roll.entries[w] = self.roll.entries[w], self.roll.entries[s]
        self._keep(pool.x, readers[-1])
        self._keep(pool.indices, readers[-1])
        self._keep(pool.output, readers[-1])
        pool.y = NULL
        self.roll.entries[i].kernel = NULL
        self.fused += 1
        return 0

    cdef int _norm_back(self, Py_ssize_t i, const cnf_kernels *table) except -1:
        """relu_backward and batch_norm_backward after it: dy is masked where it is read."""
        cdef cnf_elementwise *relu = <cnf_elementwise *>self.roll.entries[i].job
        cdef cnf_norm *sums
        cdef cnf_norm *dx
        cdef cnf_norm *norm
        cdef const void *output = relu.z
        cdef Py_ssize_t tile = self._next(i), s, merge, b, f
        if not self._is(tile, table.batch_norm_tile):
            return 0
        s = self._next(tile)
        if not self._is(s, table.batch_norm_sums):
            return 0
        merge = self._next(s)
        b = self._next(merge) if self._is(merge, table.batch_norm_merge_sums) else -1
        if not self._is(b, table.batch_norm_backward):
            return 0
        sums, dx = <cnf_norm *>self.roll.entries[s].job, <cnf_norm *>self.roll.entries[b].job
        if sums.dy != relu.y or dx.dy != relu.y or sums.activation != CNF_LINEAR or sums.gated != NULL:
            return 0
        for f in range(i - 1, -1, -1):
            norm = <cnf_norm *>self.roll.entries[f].job
            if self._is(f, table.batch_norm) and norm.y == relu.z:
                if norm.activation == CNF_RELU and norm.residual == NULL and norm.x == sums.x and norm.mean == sums.mean \
                        and norm.var == sums.var and norm.weight == sums.weight and norm.eps == sums.eps:
                    (<cnf_norm *>self.roll.entries[tile].job).bias = norm.bias
                    output = NULL  # x, which is read anyway, tells where it was positive
                break
        if self._dies(relu.y, b):
            dx.dy, dx.output, dx.activation = relu.x, output, CNF_RELU
        else:  # somebody reads the masked gradient: it is written on the way
            sums.gated = relu.y
        sums.dy, sums.output, sums.activation = relu.x, output, CNF_RELU
        (<cnf_norm *>self.roll.entries[merge].job).dy = NULL  # which would be kept for it
        self.roll.entries[i].kernel = NULL
        self.fused += 1
        return 0


# --- ready to run ------------------------------------------------------------------------------------------------------------

cdef class Replay:
    """A stretch of a tape as a function: it copies what it is given to `x`, runs, and returns `y`, which the next run overwrites.

    Parameters
    ----------
    tape : Tape
    begin, end : int
        Of the stretch.
    x : ndarray
        In the tape's memory; what is given is cast to its dtype.
    y : object
        What the stretch computes, as its first run returned it.
    """

    cdef Tape tape
    cdef Py_ssize_t begin, end
    cdef cnp.ndarray x
    cdef object y

    def __init__(self, Tape tape not None, Py_ssize_t begin, Py_ssize_t end, cnp.ndarray x not None, y):
        self.tape, self.begin, self.end, self.x, self.y = tape, begin, end, x, y

    def __call__(self, cnp.ndarray x not None):
        if cnp.PyArray_ISCARRAY_RO(x) and cnp.PyArray_ISCARRAY_RO(self.x) and x.descr is self.x.descr \
                and cnp.PyArray_SAMESHAPE(x, self.x):
            memcpy(cnp.PyArray_DATA(self.x), cnp.PyArray_DATA(x), cnp.PyArray_NBYTES(x))
        else:
            self.x[...] = x
        self.tape.run(self.begin, self.end)
        return self.y


INFERENCE = ("infer", False, False)  # as `plans.infer` asks for it: no logits, no penalties

cdef long long _revision = 0


def revision():
    """Number of the latest revision."""
    return _revision


def revise():
    """Say that a layer, or where its weights live, has changed: keys made before are never made again."""
    global _revision
    _revision += 1


cdef tuple _key(object x, tuple more):
    return (x.shape, get_num_threads(), current_isa(), _revision) + more


cdef object _pop(object idle, tuple key):
    cdef PyObject *plans = PyDict_GetItemWithError(idle, key)
    if plans == NULL or not <list>plans:
        return None
    if len(idle) > 1:
        idle.move_to_end(key)
    return (<list>plans).pop()


cdef class Shelf:
    """Complete plans of one network that nobody uses just now, by a key of what they were made for.

    Attributes
    ----------
    idle : OrderedDict
        Key: list of plans. The latest last.
    lock : StepLock
        Of the network's weights.
    """

    cdef readonly object idle
    cdef readonly StepLock lock

    def __init__(self, StepLock lock not None):
        self.idle = OrderedDict()
        self.lock = lock

    def key(self, x, tuple more not None):
        """Return a key: of inputs like `x`, as things are now, and `more`."""
        return _key(x, more)

    def pop(self, tuple key not None):
        """Take a plan that is idle, or None. Two threads never get the same: nothing comes in between."""
        return _pop(self.idle, key)

    def infer(self, x):
        """Return a new array, the outputs for `x`, if a plan for them is idle and the weights are free; else None.

        There is nothing wrong with `x`, then: the plan was made for one like it.
        """
        cdef StepLock lock = self.lock
        cdef PyObject *plans
        if type(x) is not cnp.ndarray or not (cnp.PyArray_ISINTEGER(x) or cnp.PyArray_ISFLOAT(x)) or lock.busy or lock.waiting:
            return None
        cdef tuple key = _key(x, INFERENCE)
        plan = _pop(self.idle, key)
        if plan is None:
            return None
        lock.readers += 1
        try:
            y = cnp.PyArray_NewCopy(plan.forward(x), cnp.NPY_CORDER)
        finally:
            lock.readers -= 1
        plans = PyDict_GetItemWithError(self.idle, key)
        if plans != NULL:  # nor is it given back after an exception: its tape may end anywhere
            (<list>plans).append(plan)
        return y
