from cnnfast.ops.cpu cimport (
    cnf_conv2d_job, cnf_copy, cnf_dropout, cnf_elementwise, cnf_group_norm, cnf_image, cnf_kernel, cnf_norm, cnf_optimizer,
    cnf_pad2d_job, cnf_pool2d_job, cnf_random, cnf_rows, cnf_upsample2d
)

ctypedef fused cnf_job:
    cnf_conv2d_job
    cnf_copy
    cnf_dropout
    cnf_elementwise
    cnf_group_norm
    cnf_image
    cnf_norm
    cnf_optimizer
    cnf_pad2d_job
    cnf_pool2d_job
    cnf_random
    cnf_rows
    cnf_upsample2d

cpdef object get_num_threads()

# How many workers a call uses: `num_threads` as given (None: few for little work), at most one a task.
# `work` is an estimate in nanoseconds on one thread. Raises for a bad `num_threads`.
cdef int thread_count(object num_threads, Py_ssize_t tasks, double work, str func) except -1

cdef extern from "cnf.h" nogil:
    ctypedef struct cnf_work:  # a job whose type is forgotten
        cnf_kernel *kernel  # NULL: nothing to do
        void *job
        size_t size  # of the job
        Py_ssize_t tasks
        int workers

# Runs tasks 0 ... tasks-1 of a job on as many threads as `thread_count` says. What this thread records (tape.pyx), it records
# here. Between tasks, every 100 ms, signals are heard: raises what their handlers raise, such as KeyboardInterrupt, and then
# some tasks are not done.
cdef int run(str func, cnf_kernel *kernel, const cnf_job *job, Py_ssize_t tasks, double work, object num_threads) except -1

# The same on `workers` threads (worker numbers 0 ... workers-1), for each of which there is workspace.
cdef int run_on(int workers, cnf_kernel *kernel, const cnf_job *job, Py_ssize_t tasks, double work) except -1

# Several jobs, one after another: one parallel region is cheaper than one each. `work` is that of all together.
cdef int run_all(const cnf_work *steps, Py_ssize_t count, double work) except -1

# The same without the GIL, recorded nowhere.
cdef int execute(const cnf_work *steps, Py_ssize_t count) except -1 nogil

# Where `run` of this thread also writes down what it does: a function and what it is given first, or NULL.
ctypedef void (*cnf_listener)(void *tape, cnf_kernel *kernel, const void *job, size_t size, Py_ssize_t tasks,
                              int workers) noexcept nogil
cdef void listen(cnf_listener listener, void *tape) noexcept nogil

# What this thread does just now is not done by kernels, so a recording can't repeat it; asking takes the mark away.
cdef void unrepeatable() noexcept nogil
cdef bint was_unrepeatable() noexcept nogil
