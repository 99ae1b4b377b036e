from cnnfast.ops.cpu cimport cnf_kernel

# How many workers a call uses: `num_threads` as given (None: few for little work), at most one a task.
# `work` is an estimate in nanoseconds on one thread. Raises for a bad `num_threads`.
cdef int thread_count(object num_threads, Py_ssize_t tasks, double work, str func) except -1

# Runs tasks 0 ... tasks-1 of a job on `workers` threads (worker numbers 0 ... workers-1).
cdef void run(cnf_kernel *kernel, const void *job, Py_ssize_t tasks, int workers) noexcept nogil
