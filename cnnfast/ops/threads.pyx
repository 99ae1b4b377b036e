"""The only place where threads are: how many, and the one parallel region in which all jobs are done (csrc/crew.h)."""

import os
import re
import threading
import warnings
from contextlib import contextmanager

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, threadid
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static _Thread_local void *cnf_listener_now, *cnf_tape_now;
    static void cnf_listen(void *listener, void *tape) { cnf_listener_now = listener; cnf_tape_now = tape; }
    static void *cnf_listening(void) { return cnf_listener_now; }
    static void *cnf_tape(void) { return cnf_tape_now; }
    static _Thread_local int cnf_mark;
    static void cnf_set_mark(int mark) { cnf_mark = mark; }
    static int cnf_get_mark(void) { return cnf_mark; }
    static int cnf_busy; /* threads of this process that compute, or wait for those of their team */
    /* So many of `workers` as leave no more than `limit` busy, one at least. */
    static int cnf_enter(int workers, int limit) {
        int before = __atomic_fetch_add(&cnf_busy, workers, __ATOMIC_RELAXED), given = limit - before;
        if (before == 0 || given >= workers) return workers;
        if (given < 1) given = 1;
        __atomic_fetch_sub(&cnf_busy, workers - given, __ATOMIC_RELAXED);
        return given;
    }
    static void cnf_leave(int workers) { __atomic_fetch_sub(&cnf_busy, workers, __ATOMIC_RELAXED); }
    /* A team waits for more, awake, for 0.2-0.5 ms; to wake it from its sleep takes 15-30 us, and 2 if it does not. It is awake
     * where it has been used within 0.1 ms, or one call follows another so closely that waking it once is worth it. */
    static _Thread_local int64_t cnf_seen; /* when there last was a call, or a team had done its work */
    static _Thread_local int cnf_stream;   /* calls since, each soon after the one before */
    enum { CNF_STREAM = 4 };
    static int64_t cnf_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
    }
    static int cnf_awake(void) {
        const int64_t before = cnf_seen;
        cnf_seen = cnf_now();
        cnf_stream = cnf_seen - before > 100000 ? 0 : cnf_stream < CNF_STREAM ? cnf_stream + 1 : CNF_STREAM;
        return cnf_stream == CNF_STREAM;
    }
    static void cnf_used(void) { cnf_seen = cnf_now(), cnf_stream = CNF_STREAM; }
    #ifdef _OPENMP
    #include <omp.h>
    #include <pthread.h>
    static _Thread_local int cnf_known = 1; /* team size that this thread is known to get */
    static size_t cnf_stack; /* bytes that libgomp gives a thread, 0 for the system's default */
    static void cnf_set_stack(size_t bytes) { cnf_stack = bytes; }
    static void *cnf_wait(void *gate) {
        pthread_mutex_lock(gate);
        pthread_mutex_unlock(gate);
        return NULL;
    }
    /* libgomp ends the process when a thread cannot be created (RLIMIT_NPROC, RLIMIT_AS, cgroup pids): before a team grows,
     * try with threads of our own how many there can be. */
    static int cnf_affordable(int workers) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        pthread_t threads[256];
        pthread_attr_t attributes;
        int made = 0;
        if (workers <= cnf_known) return workers;
        pthread_attr_init(&attributes);
        if (cnf_stack) pthread_attr_setstacksize(&attributes, cnf_stack); /* too small a size is ignored there as here */
        pthread_mutex_lock(&gate);
        while (made < workers - 1 && made < 256 && !pthread_create(&threads[made], &attributes, cnf_wait, &gate)) made++;
        pthread_mutex_unlock(&gate);
        pthread_attr_destroy(&attributes);
        for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
        if (made + 1 > cnf_known) cnf_known = made + 1;
        return made + 1;
    }
    /* A team that outlives fork() would leave the child waiting for threads it does not have: release it before. */
    static void cnf_before_fork(void) { omp_pause_resource_all(omp_pause_hard); }
    static void cnf_in_child(void) { cnf_known = 1, cnf_busy = 0; }
    static void cnf_register_fork(void) { pthread_atfork(cnf_before_fork, NULL, cnf_in_child); }
    static const int cnf_openmp = _OPENMP;
    #else
    static int omp_get_max_threads(void) { return 1; }
    static int omp_get_num_threads(void) { return 1; }
    static int cnf_affordable(int workers) { return workers; }
    static void cnf_set_stack(size_t bytes) { (void)bytes; }
    static void cnf_register_fork(void) {}
    static const int cnf_openmp = 0;
    #endif
    """
    void cnf_listen(void *listener, void *tape) nogil
    void *cnf_listening() nogil
    void *cnf_tape() nogil
    void cnf_set_mark(int mark) nogil
    int cnf_get_mark() nogil
    const int cnf_openmp
    void cnf_set_stack(size_t bytes)
    int omp_get_max_threads() nogil
    int omp_get_num_threads() nogil
    int cnf_affordable(int workers) nogil
    int cnf_enter(int workers, int limit) nogil
    bint cnf_awake() nogil
    void cnf_used() nogil
    void cnf_leave(int workers) nogil
    void cnf_register_fork()

cdef extern from "crew.h" nogil:
    ctypedef struct cnf_progress:
        Py_ssize_t drawn, done
    ctypedef struct cnf_crew:
        pass
    void cnf_set_flush(bint flush)
    void cnf_crew_open(cnf_crew *crew, const cnf_work *work, cnf_progress *progress, Py_ssize_t count, int threads, int cpus)
    bint cnf_crew_begin(cnf_crew *crew)
    void cnf_crew_work(cnf_crew *crew, int worker, int team)
    void cnf_crew_close(cnf_crew *crew)

cdef int MAX_THREADS = 256 if cnf_openmp else 1
cdef double NANOSECONDS_PER_THREAD = 15e3  # below this much work for each, waking a thread costs more than it gives
cdef double NANOSECONDS_PER_THREAD_AWAKE = 5e3
cdef double NANOSECONDS_PER_THREAD_TAPED = 2e3  # between jobs nothing is done but these
cdef double BRIEF = 8e3  # nanoseconds of work up to which the GIL is kept: to let go of it and to take it again costs 100


def _quota(root="/sys/fs/cgroup"):
    """CPUs that the cgroup's quota grants (v2 or v1), or None."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = []
            for name in files:
                with open(os.path.join(root, name)) as file:
                    words += file.read().split()
            quota, period = float(words[0]), float(words[1])
            if quota > 0 and period > 0:
                return max(1, int(-(-quota // period)))
        except (OSError, ValueError, IndexError):
            continue
    return None


def _available():
    """CPUs this process may use: affinity and cgroup quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    quota = _quota()
    return max(1, min(count, quota or count, MAX_THREADS))


def _default():
    text = os.environ.get("CNNFAST_NUM_THREADS")
    if text:
        try:
            count = int(text)
        except ValueError:
            count = 0
        if count >= 1:
            return min(count, MAX_THREADS)
        warnings.warn(f"CNNFAST_NUM_THREADS must be a positive int, got {text!r}; ignored", RuntimeWarning, stacklevel=2)
    return max(1, min(_cpus, omp_get_max_threads()))


cdef int _cpus = _available()
cdef int _limit = _default()
cdef bint _passive = os.environ.get("OMP_WAIT_POLICY", "").strip().lower() == "passive"  # then teams do not wait awake
cdef int _openmp_limit = omp_get_max_threads()


class _Local(threading.local):
    limit = None  # of a `threads` block


_local = _Local()


def _checked(count, func):
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{func}: num_threads must be an int or None, got {count!r}")
    count = count.__index__()
    if count < 1:
        raise ValueError(f"{func}: num_threads must be positive, got {count}")
    return min(count, MAX_THREADS)


def set_num_threads(num_threads):
    """Set how many threads an op may use in this process.

    Parameters
    ----------
    num_threads : int
        At least 1; more than 256 counts as 256 (in a build without OpenMP, more than 1 as 1). Results do not depend on
        it, not even in the last bit. Threads of your own that call ops at the same time share it, with one each at least.

    Raises
    ------
    TypeError, ValueError
        If it is not a positive int.
    """
    global _limit
    _limit = _checked(num_threads, "set_num_threads")


cpdef object get_num_threads():
    """How many threads an op may use: the innermost `threads` block, `set_num_threads`, ``CNNFAST_NUM_THREADS``,
    ``OMP_NUM_THREADS``, or the CPUs this process may use (affinity and cgroup quota). A lower limit that was set for this
    Python thread through OpenMP since (`threadpoolctl`) is obeyed."""
    own = _local.limit
    if own is not None:
        return own
    cdef int granted = omp_get_max_threads()
    return granted if granted < _openmp_limit and granted < _limit else _limit


@contextmanager
def threads(num_threads):
    """Context manager: ops called by this Python thread inside the block use at most `num_threads` threads."""
    count = _checked(num_threads, "threads")
    before = _local.limit
    _local.limit = count
    try:
        yield
    finally:
        _local.limit = before


def openmp_version():
    """The OpenMP version built in, such as 201511, or 0 for a single-threaded build."""
    return cnf_openmp


cdef bint _flush = False


def set_flush_denormals(flush):
    """Set whether kernels compute with denormal numbers (below 1.2e-38 in float32) as with zero, in this process.

    They are kept by default, as IEEE 754 says, which costs up to a hundredfold time where there are many. Flushed, they are so
    on the thread that calls and on all that help; the rules of the caller's own arithmetic stay as they are. What only moves
    values, such as a pool, may pass them on. On x86; elsewhere they are kept.

    Parameters
    ----------
    flush : bool

    Raises
    ------
    TypeError
        If it is not a bool.
    """
    global _flush
    if not isinstance(flush, bool):
        raise TypeError(f"set_flush_denormals: flush must be True or False, got {flush!r}")
    _flush = flush
    cnf_set_flush(flush)


def get_flush_denormals():
    """Whether kernels take denormal numbers for zero; see `set_flush_denormals`."""
    return _flush


cdef int thread_count(object num_threads, Py_ssize_t tasks, double work, str func) except -1:
    cdef Py_ssize_t count
    cdef bint awake
    cdef double least = NANOSECONDS_PER_THREAD_TAPED
    if num_threads is not None:
        count = _checked(num_threads, func)
    elif work < 2 * NANOSECONDS_PER_THREAD_TAPED:
        return 1
    else:
        awake = cnf_awake() and not _passive and _limit <= _cpus  # more than that are soon sent to sleep
        if cnf_listening() == NULL:
            least = NANOSECONDS_PER_THREAD_AWAKE if awake else NANOSECONDS_PER_THREAD
        count = get_num_threads()
        if work < count * least:
            count = <Py_ssize_t>(work / least)
    return <int>max(1, min(count, tasks))


cdef bint _tracing = False
cdef set _ran = set()


@contextmanager
def tracing():
    """Yield a set that gathers the address of every kernel run in the block (for the test that walks the list)."""
    global _tracing
    _ran.clear()
    _tracing = True
    try:
        yield _ran
    finally:
        _tracing = False


cdef void unrepeatable() noexcept nogil:
    cnf_set_mark(1)


cdef bint was_unrepeatable() noexcept nogil:
    cdef bint mark = cnf_get_mark()
    cnf_set_mark(0)
    return mark


cdef void listen(cnf_listener listener, void *tape) noexcept nogil:
    cnf_listen(<void *>listener, tape)


cdef int run(str func, cnf_kernel *kernel, const cnf_job *job, Py_ssize_t tasks, double work, object num_threads) except -1:
    return run_on(thread_count(num_threads, tasks, work, func), kernel, job, tasks, work)


cdef int run_on(int workers, cnf_kernel *kernel, const cnf_job *job, Py_ssize_t tasks, double work) except -1:
    cdef cnf_work step = cnf_work(kernel, <void *>job, sizeof(cnf_job), tasks, workers)
    return run_all(&step, 1, work)


cdef int run_all(const cnf_work *steps, Py_ssize_t count, double work) except -1:
    cdef cnf_listener listener = <cnf_listener>cnf_listening()
    cdef Py_ssize_t i
    cdef int workers = 1
    for i in range(count):
        workers = max(workers, steps[i].workers)
        if listener != NULL:
            listener(cnf_tape(), steps[i].kernel, steps[i].job, steps[i].size, steps[i].tasks, steps[i].workers)
    if workers == 1 and work < BRIEF:
        return execute(steps, count)
    with nogil:
        return execute(steps, count)


cdef int execute(const cnf_work *steps, Py_ssize_t count) except -1 nogil:
    cdef Py_ssize_t i
    cdef int workers = 1, busy
    cdef bint was_at_work = False
    cdef cnf_crew crew
    cdef cnf_progress few[8]
    cdef cnf_progress *progress = few
    if _tracing:
        with gil:
            _ran.update([<size_t>steps[i].kernel for i in range(count) if steps[i].kernel != NULL])
    for i in range(count):
        if steps[i].kernel != NULL and steps[i].workers > workers:
            workers = steps[i].workers
    if count * workers > 8:
        progress = <cnf_progress *>calloc(count * workers, sizeof(cnf_progress))
        if progress == NULL and count > 1:
            for i in range(count):
                execute(&steps[i], 1)
            return 0
        if progress == NULL:
            workers, progress = 8, few
    if progress == few:
        memset(few, 0, count * workers * sizeof(cnf_progress))
    workers = busy = cnf_enter(workers, _limit)
    if workers > 1:
        workers = cnf_affordable(workers)
    cnf_crew_open(&crew, steps, progress, count, workers, _cpus)
    try:
        while cnf_crew_begin(&crew):
            if was_at_work:
                _hear_signals()
            was_at_work = True
            if workers == 1:
                cnf_crew_work(&crew, 0, 1)
            else:
                with parallel(num_threads=workers):
                    cnf_crew_work(&crew, threadid(), omp_get_num_threads())
    finally:
        cnf_crew_close(&crew)
        cnf_leave(busy)
        if workers > 1:
            cnf_used()
        if progress != few:
            free(progress)
    return 0


cdef int _hear_signals() except -1 with gil:
    return PyErr_CheckSignals()


def _stack():
    """Bytes of a thread's stack as libgomp reads them from the environment, 0 if it does not."""
    for name in ("OMP_STACKSIZE", "GOMP_STACKSIZE"):
        match = re.fullmatch(r"\s*(\d+)\s*([bkmg]?)\s*", os.environ.get(name, ""), re.ASCII | re.IGNORECASE)
        if match:
            size = int(match[1]) << {"b": 0, "": 10, "k": 10, "m": 20, "g": 30}[match[2].lower()]
            if size < 2**63:
                return size
    return 0


cnf_set_stack(_stack())
cnf_register_fork()
