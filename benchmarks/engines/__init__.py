"""The libraries that are compared, one module each: ``version()`` and ``prepare(case, arrays, threads, variant)``.

``prepare`` returns ``(call, fetch)``: ``call()`` is what is timed, ``fetch(call())`` its result as a channels-last or HWIO
array. It may choose the library's best layout and may do beforehand whatever a network does once (compile, reorder weights).
It raises ``Unsupported`` where the library has no such operation.
"""

import os
import time

import numpy as np


class Unsupported(Exception):
    """The library has no such operation."""


# PyTorch's allocator gives big blocks back to the system at once and pays for fresh pages in every call otherwise.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(2 << 30)}

# name: (module, variant, environment)
ENGINES = {
    "cnnfast": ("cnnfast", "auto", {}),
    "cnnfast-direct": ("cnnfast", "direct", {}),
    "cnnfast-avx2": ("cnnfast", "auto", {"CNNFAST_MAX_ISA": "avx2"}),
    "numpy": ("numpy", None, {}),
    "torch-nhwc": ("torch", "channels_last", TUNED_MALLOC),
    "torch-nchw": ("torch", "contiguous", TUNED_MALLOC),
    "onnxruntime": ("onnxruntime", None, {}),
    "openvino": ("openvino", "f32", {}),
    "openvino-default": ("openvino", "default", {}),
    "ncnn": ("ncnn", None, {}),
}


def environment(name, threads):
    """The environment of an engine's process."""
    count = {k: str(threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **count, "TF_CPP_MIN_LOG_LEVEL": "3", **(ENGINES[name][2] if name in ENGINES else {})}


def quickest(calls, seconds=0.03):
    """The call that takes least time: for a library that leaves the choice of its layout to the user."""
    if len(calls) == 1:
        return calls[0]
    best = {}
    for call in calls * 2:
        call()
        start = end = time.perf_counter()
        count = 0
        while end - start < seconds:
            call()
            count, end = count + 1, time.perf_counter()
        best[call] = min(best.get(call, 1e9), (end - start) / count)
    return min(best, key=best.get)


def planar(a):
    """NHWC to NCHW; a matrix stays as it is."""
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a
