"""The machine's own limits, measured beside the libraries: FMA peak and copy bandwidth."""

import ctypes
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path


def _library():
    """peak.c, compiled for this machine; GCC or Clang needed."""
    folder = tempfile.mkdtemp(prefix="peak")
    target = os.path.join(folder, "peak.so")
    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread"]
    source = str(Path(__file__).with_name("peak.c"))
    compiler = os.environ.get("CC", "cc").split()
    if subprocess.run([*compiler, *flags, source, "-o", target], capture_output=True).returncode:
        flags.remove("-mprefer-vector-width=512")
        subprocess.run([*compiler, *flags, source, "-o", target], check=True)
    library = ctypes.CDLL(target)
    library.fma_peak.restype = ctypes.c_double
    library.fma_peak.argtypes = [ctypes.c_ssize_t, ctypes.c_int]
    library.copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
    return library


class Machine:
    def __init__(self, threads):
        self.threads, self.library = threads, _library()
        self.repeats = 1000
        while self._fma_seconds(time.process_time)[0] < 2e-3:
            self.repeats *= 2

    def _fma_seconds(self, clock):
        start = clock()
        operations = self.library.fma_peak(self.repeats, self.threads)
        return clock() - start, operations

    def flops(self, seconds=0.1, clock=time.perf_counter):
        """Operations a second, the best of rounds of a few milliseconds: of many, for a virtual machine may put new threads on
        one processor at first."""
        best, end = 0.0, time.perf_counter() + seconds
        while not best or time.perf_counter() < end:
            used, operations = self._fma_seconds(clock)
            best = max(best, operations / used)
        return best

    def copier(self, size):
        """A call that reads and writes `size` bytes in all, as float32 arrays in place."""
        import numpy as np

        half = size // 2
        self.source, self.target = np.ones(half, np.uint8), np.zeros(half, np.uint8)
        source, target = self.source.ctypes.data, self.target.ctypes.data
        return lambda: self.library.copy(source, target, half, self.threads)


def description():
    """The processor, its vector units as far as they matter, and the cores this process may use."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
        model = " ".join(x.split(":")[1].strip() for x in lines[:10] if x.startswith(("cpu family", "model\t")))
        flags = next(x.split(":")[1].split() for x in lines if x.startswith("flags"))
        name = f"{name} (family/model {model})"
    except (OSError, StopIteration):
        pass
    units = [u for u in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile") if u in flags]
    return {"cpu": name, "units": units, "cores": len(os.sched_getaffinity(0)), "system": platform.platform()}


if __name__ == "__main__":
    print(description())
    for count in (1, 2):
        machine = Machine(count)
        print(f"{count} thread(s): {machine.flops() / 1e9:.0f} GFLOP/s")
