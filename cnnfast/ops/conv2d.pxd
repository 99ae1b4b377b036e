cimport numpy as cnp

from cnnfast.ops.cpu cimport cnf_conv2d_job

cdef int activation_code(object activation, str func) except -1

# Raise unless the kernels in use split numbers of this type.
cdef int need_tiles(int typenum, str func) except -1

# Plan one pass (CNF_FORWARD, ...) of a filled job, take its workspace from the pool, run it.
cdef int perform(cnf_conv2d_job *job, int which, int typenum, str func, object num_threads) except -1
