"""Which kernels run: the ISA is chosen once at import, lowered by ``CNNFAST_MAX_ISA``."""

import os
import time
from contextlib import contextmanager

from libc.stdint cimport uint32_t, uint64_t
cimport numpy as cnp

cdef extern from "cnf.h" nogil:
    enum:
        CNF_ISA_COUNT
        CNF_F32
        CNF_F64
    const cnf_kernels *cnf_table[4][2]
    const char *cnf_isa_names[4]
    const char *cnf_kernel_names[]
    int cnf_isa_of(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_edx, uint64_t xcr0)
    int cnf_isa_detect()
    void cnf_pause()

cdef int _best = cnf_isa_detect()
cdef int _isa = _best

_NAMES = tuple(cnf_isa_names[i].decode() for i in range(CNF_ISA_COUNT))


cdef const cnf_kernels *kernels(int typenum) noexcept nogil:
    return cnf_table[_isa][CNF_F64 if typenum == cnp.NPY_DOUBLE else CNF_F32]


def pauses(double microseconds):
    """How often a waiting loop goes round in that time: a pause takes 10 ns on one CPU and 50 ns on the next."""
    cdef int _i
    cdef double best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        for _i in range(200):
            cnf_pause()
        best = min(best, time.perf_counter() - start)
    return max(1, min(100_000, int(microseconds * 1e-6 * 200 / max(best, 1e-9))))


def available_isas():
    """Names of the instruction sets this CPU can run, lowest first."""
    return _NAMES[: _best + 1]


cpdef object current_isa():
    """Name of the instruction set in use."""
    return _NAMES[_isa]


def kernel_names():
    """Names of all kernels, in the order of the one list (``csrc/cnf_kernels.inc``)."""
    names = []
    cdef int i = 0
    while cnf_kernel_names[i] != NULL:
        names.append(cnf_kernel_names[i].decode())
        i += 1
    return names


def kernel_addresses(isa, dtype):
    """Address of each kernel there is, by name, for an instruction set and "float32" or "float64"."""
    cdef const size_t *table = <const size_t *>cnf_table[_NAMES.index(isa)][("float32", "float64").index(dtype)]
    return {name: table[i] for i, name in enumerate(kernel_names()) if table[i]}


@contextmanager
def using_isa(name):
    """Run a block on a lower instruction set (for tests and benchmarks; holds for the whole process)."""
    global _isa
    cdef int before = _isa
    _isa = _index(name)
    try:
        yield
    finally:
        _isa = before


def isa_for(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint64_t xcr0, uint32_t leaf7_edx=0):
    """The instruction set a CPU with these CPUID leaf 1/7 words and this XCR0 would use."""
    return _NAMES[cnf_isa_of(leaf1_ecx, leaf7_ebx, leaf7_edx, xcr0)]


def _index(name):
    if name not in available_isas():
        raise ValueError(f"using_isa: name must be one of {', '.join(available_isas())} on this CPU, got {name!r}")
    return _NAMES.index(name)


cdef _lower_by_environment():
    global _isa
    wanted = os.environ.get("CNNFAST_MAX_ISA")
    if wanted is None or wanted == "":
        return
    if wanted not in _NAMES:
        raise ImportError(f"cnnfast: CNNFAST_MAX_ISA must be one of {', '.join(_NAMES)}, got {wanted!r}")
    _isa = min(_best, _NAMES.index(wanted))


_lower_by_environment()
