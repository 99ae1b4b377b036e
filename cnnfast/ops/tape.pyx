"""What a thread's ops run, written down once and run again: no Python between them, and memory of its own.

Every op ends in `threads.run`, which does tasks of a job: a kernel and a plain struct of shapes and pointers. A `Tape` keeps
copies of these, in order, while the ops compute as always. All they allocate meanwhile comes from the tape's arena, where
blocks are used again as soon as they are free, so its layout is what liveness allows. Running the tape repeats the very same
kernel calls on the very same addresses: the same bits as the ops.

Only what runs by kernels is repeated. What an op or a layer computes in another way (a copy into another layout, NumPy)
says so by `not_replayable`, and then the tape is of no use.
"""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_dropout, cnf_kernel, cnf_kernels, kernels
from cnnfast.ops.memory cimport Arena, allocate_from, empty
from cnnfast.ops.threads cimport execute, listen, unrepeatable, was_unrepeatable

cnp.import_array()

cdef extern from *:
    """
    static _Thread_local void *cnf_tape_open;
    static void cnf_open_tape(void *tape) { cnf_tape_open = tape; }
    static void *cnf_opened_tape(void) { return cnf_tape_open; }
    """
    void cnf_open_tape(void *tape) nogil
    void *cnf_opened_tape() nogil

cdef struct Entry:
    cnf_kernel *kernel
    void *job
    Py_ssize_t tasks
    int workers

cdef struct Roll:
    Entry *entries
    Py_ssize_t count, room
    bint broken  # something happened that can't be repeated


cdef void _note(void *tape, cnf_kernel *kernel, const void *job, size_t size, Py_ssize_t tasks, int workers) noexcept nogil:
    cdef Roll *roll = <Roll *>tape
    cdef Entry *grown
    cdef void *copy
    if roll.count == roll.room:
        grown = <Entry *>realloc(roll.entries, (roll.room * 2 + 32) * sizeof(Entry))
        if grown == NULL:
            roll.broken = True
            return
        roll.entries, roll.room = grown, roll.room * 2 + 32
    copy = malloc(size)
    if copy == NULL:
        roll.broken = True
        return
    memcpy(copy, job, size)
    roll.entries[roll.count] = Entry(kernel, copy, tasks, workers)
    roll.count += 1


def not_replayable():
    """Say that what this thread does just now is not done by kernels."""
    unrepeatable()


def hold(array):
    """Return `array`, which is not the pool's, and let the open tape, if there is one, keep it alive."""
    if cnf_opened_tape() != NULL:
        (<Tape><object>cnf_opened_tape()).held.append(array)
    return array


cdef class Tape:
    """Context manager: inside it, what this thread's ops run is recorded. May be entered again, to go on.

    Attributes
    ----------
    usable : bool
        Whether everything so far can be run again.
    bytes : int
        Size of its memory.
    """

    cdef Roll roll
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
        cdef Py_ssize_t i
        cdef Entry *entry
        if not 0 <= begin <= end <= self.roll.count:
            raise IndexError(f"Tape.run: there are jobs 0 to {self.roll.count}, got {begin} to {end}")
        with nogil:
            for i in range(begin, end):
                entry = &self.roll.entries[i]
                execute(entry.kernel, entry.job, entry.tasks, entry.workers)

    def set_step(self, step):
        """Give the dropout jobs another step to draw by."""
        cdef Py_ssize_t i
        cdef Entry *entry
        for i in range(self.roll.count):
            entry = &self.roll.entries[i]
            if entry.kernel == kernels(cnp.NPY_FLOAT).dropout or entry.kernel == kernels(cnp.NPY_DOUBLE).dropout:
                (<cnf_dropout *>entry.job).step = step
