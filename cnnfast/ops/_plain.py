"""What the ops written in Python share: the checks of `check.pyx`, in the same words."""

from __future__ import annotations

from typing import Any

import numpy as np

from .check import any_array, bad_dtype
from .tape import not_replayable

quiet = np.errstate(invalid="ignore", over="ignore")  # as the kernels: NaN and infinity are answers, not warnings


def array(x: Any, func: str, name: str, ndim: int | None = None, like: np.ndarray | None = None) -> np.ndarray:
    """Return `x` as a float32 or float64 array, of `like`'s dtype if there is one; no copy that isn't needed."""
    not_replayable()
    a = np.asarray(any_array(x, func, name))
    if a.dtype.newbyteorder("=") not in (np.float32, np.float64):
        raise bad_dtype(a, func, name)
    if like is not None and a.dtype.newbyteorder("=") != like.dtype:
        raise TypeError(f"{func}: {name} must have the dtype of the other arrays, {like.dtype}, got {a.dtype}")
    if ndim is not None and a.ndim != ndim:
        raise ValueError(f"{func}: {name} must be {ndim}-D, got shape {a.shape}")
    return a.astype(a.dtype.newbyteorder("="), copy=False)


def same(x: Any, like: np.ndarray, func: str, name: str) -> np.ndarray:
    """As `array`, of the shape of `like` too."""
    return shaped(array(x, func, name, like=like), like.shape, func, name)


def shaped(a: np.ndarray, shape: tuple[int, ...], func: str, name: str) -> np.ndarray:
    """Return `a` if it has `shape`."""
    if a.shape != tuple(shape):
        raise ValueError(f"{func}: {name} must have shape {tuple(shape)}, got {a.shape}")
    return a


def last(x: np.ndarray, data_format: str, func: str) -> np.ndarray:
    """View with the channels last."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"{func}: data_format must be 'channels_last' or 'channels_first', got {data_format!r}")
    return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)


def back(y: np.ndarray, data_format: str) -> np.ndarray:
    """Channels-last `y` in the caller's layout, C-contiguous."""
    return np.ascontiguousarray(y if data_format == "channels_last" else np.moveaxis(y, -1, 1))


def deliver(y: np.ndarray, out: Any, func: str) -> np.ndarray:
    """Return `y`, or `out` filled from it."""
    if out is None:
        return y
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"{func}: out must be a numpy array, got {type(out).__name__}")
    if out.dtype != y.dtype:
        raise TypeError(f"{func}: out must have dtype {y.dtype}, got {out.dtype}")
    shaped(out, y.shape, func, "out")
    if not out.flags.writeable:
        raise ValueError(f"{func}: output array is read-only")
    out[...] = y
    return out


def whole(value: Any, func: str, name: str, least: int = 1) -> int:
    """Return an int of at least `least`."""
    if isinstance(value, (bool, np.bool_, np.ndarray)) or not hasattr(value, "__index__"):
        raise TypeError(f"{func}: {name} must be an int, got {value!r}")
    if value.__index__() < least:
        rule = "positive" if least == 1 else "not negative" if least == 0 else f"at least {least}"
        raise ValueError(f"{func}: {name} must be {rule}, got {value}")
    return int(value.__index__())


def number(value: Any, func: str, name: str) -> float:
    """Return a finite float."""
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{func}: {name} must be a number, got {value!r}")
    if not np.isfinite(value):
        raise ValueError(f"{func}: {name} must be finite, got {value!r}")
    return float(value)


def choice(value: Any, func: str, name: str, choices: tuple[str, ...]) -> str:
    """Return one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{func}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value
