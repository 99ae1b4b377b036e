"""What tests of kernels share: arrays between forbidden pages, fills with exact sums, bounds derived from the arithmetic."""

import ctypes
import math
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _protect(address, length, access):
    if _libc.mprotect(address, length, access):
        raise OSError(ctypes.get_errno(), "mprotect failed")


def _between_pages(nbytes, at):
    """Memory of `nbytes` that touches a page without access at one end and has one near the other; its room, its bytes."""
    room = -(-nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _protect(address, PAGE, 0)
    _protect(address + PAGE + room, PAGE, 0)
    offset = PAGE if at == "start" else PAGE + room - nbytes
    return (address + PAGE, room), np.frombuffer(memory, np.uint8, nbytes, offset)


def guarded(array, at="end", readonly=True):
    """C-order copy of `array`: reading or writing one byte past its `at` side, or writing it when `readonly`, is SIGSEGV."""
    assert at in ("start", "end")
    array = np.asarray(array)
    (address, room), data = _between_pages(array.nbytes, at)
    copy = data.view(array.dtype).reshape(array.shape)
    copy[...] = array
    if readonly:
        copy.flags.writeable = False
        _protect(address, room, mmap.PROT_READ) if room else None
    return copy


def guarded_empty(shape, dtype, at="end"):
    """Writable guarded array for `out=`. It starts as NaN (integers: as -1 or the largest), so that a gap shows."""
    dtype = np.dtype(dtype)
    return guarded(np.full(shape, np.nan if dtype.kind == "f" else ~np.zeros((), dtype), dtype), at, readonly=False)


def integers(rng, shape, dtype=np.float32, magnitude=4):
    """Integers in [-magnitude, magnitude] as floats: sums of their products are exact (below 2**24 in float32)."""
    return rng.integers(-magnitude, magnitude + 1, shape).astype(dtype)


def wide(array):
    """`array` in a type with more digits, for a reference whose own rounding is out of the picture."""
    array = np.asarray(array)
    return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


def specials(dtype):
    """What breaks kernels: both zeros, infinities, NaN, denormals, the smallest, largest and 1e38-like values, of both signs."""
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.tiny / 3, info.tiny, info.eps, 1e-3, 0.5, 1.0, 2.5, 30.0, 88.0, 89.0, 104.0, 200.0,
                710.0, 746.0, 1e5, 1e38, info.max / 2, info.max, np.inf]  # fmt: skip
    return np.array([*positive, *(-value for value in positive), np.nan], dtype)


def gamma(n, dtype):
    """Higham's n*u / (1 - n*u): the largest relative error of `n` successive roundings to nearest."""
    nu = n * np.finfo(dtype).eps / 2
    return nu / (1 - nu)


def sum_bound(magnitude, n, dtype):
    """Error allowed to a sum of `n` products in any order, `magnitude` being the same sum of absolute values."""
    return gamma(n + 2, dtype) * np.asarray(magnitude) + n * float(np.finfo(dtype).smallest_subnormal)


def assert_exact(actual, expected):
    """Same shape and equal values; NaN equals NaN, and -0.0 equals 0.0."""
    assert_within(actual, expected, 0.0)


def assert_within(actual, expected, bound):
    """``|actual - expected| <= bound`` for each element; NaN and infinities must be the same ones."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape} instead of {expected.shape}"
    with np.errstate(invalid="ignore"):
        wrong = ~((actual == expected) | (np.abs(actual - expected) <= bound) | (np.isnan(actual) & np.isnan(expected)))
        wrong |= ~np.isfinite(expected) & ~np.isnan(expected) & (actual != expected)
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        limit = np.broadcast_to(bound, wrong.shape)[first]
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} elements are wrong, first at {first}: "
            f"got {actual[first]!r} instead of {expected[first]!r}, allowed error {float(limit):.3g}"
        )


def assert_same_bits(actual, expected):
    """Same dtype, shape and bits."""
    actual, expected = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    bits = f"u{actual.itemsize}"
    different = np.argwhere(actual.reshape(expected.shape).view(bits) != expected.view(bits))
    assert not len(different), f"{len(different)} of {actual.size} elements differ in bits, first at {different[0]}"


def assert_meaningful(array):
    """A test whose expected values are nearly all equal proves little."""
    values, counts = np.unique(np.asarray(array), return_counts=True)
    assert array.size < 8 or (len(values) > 1 and counts.max() < 0.95 * array.size), (
        "nearly all expected values are equal"
    )


def ulps(actual, expected):
    """Distance of `actual` from the wider `expected`, in units of the last place of `actual`'s type."""
    spacing = np.spacing(np.abs(np.asarray(expected).astype(actual.dtype)))
    return np.abs(actual.astype(expected.dtype) - expected) / spacing


def run_python(code, *, timeout=240, **environment):
    """Run `code` in a fresh interpreter that sees this tree and `tests/`; None removes a variable."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, **environment}
    env = {name: value for name, value in env.items() if value is not None}
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)


def strange_views(array):
    """The same values behind every kind of memory an array can have: ``(name, view)``."""
    array = np.ascontiguousarray(array)
    yield "C order", array
    yield "F order", np.asfortranarray(array)
    yield "reversed", array[(slice(None, None, -1),) * array.ndim].copy()[(slice(None, None, -1),) * array.ndim]
    steps = np.zeros([2 * n for n in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
    steps[...] = array
    yield "every second", steps
    axes = tuple(range(1, array.ndim)) + (0,) if array.ndim > 1 else (0,)
    yield "permuted", np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    raw[:] = array.view(np.uint8).reshape(-1) if array.size else raw
    yield "misaligned", raw.view(array.dtype).reshape(array.shape)
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    fixed = array.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed


def ugly_size(rng, low, high):
    """Log-uniform size in [low, high], so that tails, single elements and full blocks are all met."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))
