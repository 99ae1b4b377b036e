cdef class StepLock:
    cdef int readers, waiting
    cdef bint busy
