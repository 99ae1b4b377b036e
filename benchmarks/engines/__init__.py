"""The libraries that are compared, one module each: ``version()``, ``prepare(case, arrays, threads, variant)`` for one
kernel and ``prepare_network(name, mode, x, labels, threads, variant)`` for a network of `benchmarks.zoo`.

Both return ``(call, fetch)``: ``call()`` is what is timed, ``fetch(call())`` its result as a channels-last or HWIO array, the
logits, or the loss of a training step. They may choose the library's best layout and may do beforehand whatever a network
does once (compile, reorder weights). They raise ``Unsupported`` where the library has no such operation.
"""

import os
import time

import numpy as np


class Unsupported(Exception):
    """The library has no such operation."""


# Every peer gets it: otherwise malloc gives big blocks back to the system and each call pays for fresh pages.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(2 << 30)}
COMPILED = {**TUNED_MALLOC, "TORCHINDUCTOR_COMPILE_THREADS": "1"}

# name: (module, variant, environment)
KERNELS = {
    "cnnfast": ("cnnfast", "auto", {}),
    "cnnfast-direct": ("cnnfast", "direct", {}),
    "cnnfast-avx2": ("cnnfast", "auto", {"CNNFAST_MAX_ISA": "avx2"}),
    "cnnfast-avx512": ("cnnfast", "auto", {"CNNFAST_MAX_ISA": "avx512"}),
    "numpy": ("numpy", None, TUNED_MALLOC),
    "torch-nhwc": ("torch", "channels_last", TUNED_MALLOC),
    "torch-nchw": ("torch", "contiguous", TUNED_MALLOC),
    "onnxruntime": ("onnxruntime", None, TUNED_MALLOC),
    "openvino": ("openvino", "f32", TUNED_MALLOC),
    "openvino-default": ("openvino", "default", TUNED_MALLOC),  # may compute in bfloat16
    "ncnn": ("ncnn", None, TUNED_MALLOC),
}
NETWORKS = {
    "cnnfast": ("cnnfast", "auto", {}),
    "cnnfast-avx2": ("cnnfast", "auto", {"CNNFAST_MAX_ISA": "avx2"}),
    "cnnfast-avx512": ("cnnfast", "auto", {"CNNFAST_MAX_ISA": "avx512"}),
    "numpy": ("numpy", None, TUNED_MALLOC),
    "torch-nhwc": ("torch", "channels_last", TUNED_MALLOC),
    "torch-nchw": ("torch", "contiguous", TUNED_MALLOC),
    "torch-compile-nhwc": ("torch", "channels_last compiled", COMPILED),
    "torch-compile-nchw": ("torch", "contiguous compiled", COMPILED),
    "keras": ("keras", "graph", TUNED_MALLOC),
    "keras-jit": ("keras", "jit", TUNED_MALLOC),
    "onnxruntime": ("onnxruntime", None, TUNED_MALLOC),
    "openvino": ("openvino", "f32", TUNED_MALLOC),
    "openvino-default": ("openvino", "default", TUNED_MALLOC),
    "ncnn": ("ncnn", None, TUNED_MALLOC),
}
FAMILIES = {"kernels": KERNELS, "networks": NETWORKS}


def environment(extra, threads):
    """The environment of an engine's process."""
    count = {k: str(threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **count, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **extra}


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
