"""What keeps a network's weights whole in a training step: locks that Ctrl-C can't leave held, as what takes and gives them is C
and an interrupt comes between Python's instructions; and blocks that it can't break.

All bookkeeping happens under the GIL. Who waits looks again every 50 us and hears interrupts meanwhile, before it holds
anything.
"""

import threading

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "unistd.h" nogil:
    int usleep(unsigned int microseconds)

cdef extern from "signal.h" nogil:
    int SIGINT
    int send "raise"(int number)

cdef extern from *:
    """
    #include <signal.h>
    static volatile sig_atomic_t cnf_interrupted;
    static void cnf_note_interrupt(int number) { (void)number; cnf_interrupted = 1; }
    static int cnf_take_interrupt(void) { int noted = cnf_interrupted; cnf_interrupted = 0; return noted; }
    """
    ctypedef void (*Handler "PyOS_sighandler_t")(int number)
    Handler PyOS_setsig(int number, Handler handler)
    void cnf_note_interrupt(int number)
    int cnf_take_interrupt()


cdef class uninterrupted:
    """Context manager: holds Ctrl-C back until the block has ended. Only the main thread hears it at all."""

    cdef Handler before
    cdef bint holds

    def __enter__(self):
        self.holds = threading.get_ident() == threading.main_thread().ident
        if self.holds:
            self.before = PyOS_setsig(SIGINT, cnf_note_interrupt)

    def __exit__(self, *_):
        if self.holds:
            PyOS_setsig(SIGINT, self.before)
            if cnf_take_interrupt():
                send(SIGINT)


cdef int _rest() except -1:
    with nogil:
        usleep(50)
    return PyErr_CheckSignals()


cdef class _Side:
    """Context manager: inside as a reader or as the writer."""

    cdef StepLock lock
    cdef bint writes

    def __enter__(self):
        cdef StepLock lock = self.lock
        if not self.writes:
            while lock.busy or lock.waiting:
                _rest()
            lock.readers += 1
            return
        lock.waiting += 1
        try:
            while lock.busy or lock.readers:
                _rest()
            lock.busy = True
        finally:
            lock.waiting -= 1

    def __exit__(self, *_):
        if self.writes:
            self.lock.busy = False
        else:
            self.lock.readers -= 1


cdef class StepLock:
    """Any number of readers (`predict`), or one writer (the end of a training step). A waiting writer goes first."""

    def reading(self):
        """Return a context manager."""
        cdef _Side side = _Side.__new__(_Side)
        side.lock, side.writes = self, False
        return side

    def writing(self):
        """Return a context manager."""
        cdef _Side side = _Side.__new__(_Side)
        side.lock, side.writes = self, True
        return side


cdef class _Turn:
    """Context manager: inside as the only one."""

    cdef Once once
    cdef str message

    def __enter__(self):
        if self.once.taken:
            raise RuntimeError(self.message)
        self.once.taken = True

    def __exit__(self, *_):
        self.once.taken = False


cdef class Once:
    """One at a time; nobody waits."""

    cdef bint taken

    def alone(self, str message):
        """Return a context manager that raises a RuntimeError of this message if somebody is inside."""
        cdef _Turn turn = _Turn.__new__(_Turn)
        turn.once, turn.message = self, message
        return turn
