"""Batches from what `fit`, `evaluate` and `predict` are given: arrays, or anything that yields batches.

Arrays are cut and shuffled batch by batch, so a memory-mapped file larger than memory streams through, and cast where they go
into the network. There is no thread to do so beside the step, for there is nothing to gain: LeNet's 64 images take 10 us of
3.7 ms, 32 images of 224 x 224 x 3 bytes 1.3 ms of a step of 100 to 500 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .arrays import is_array_like
from .ops.check import any_array


class Batch(NamedTuple):
    """Inputs, targets and weights of some samples."""

    x: np.ndarray
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


class ArrayBatches:
    """Batches of whole arrays; every epoch may have its own order."""

    def __init__(self, function: str, x: Any, y: Any = None, sample_weight: Any = None, batch_size: Any = None) -> None:
        self.x = any_array(x, function, "x")
        self.y = None if y is None else any_array(y, function, "y")
        self.batch_size = 32 if batch_size is None else whole(function, "batch_size", batch_size, 1)
        if self.x.dtype.kind not in "fiub":
            raise TypeError(f"{function}: x must be numbers, got dtype {self.x.dtype}")
        if self.x.ndim == 0 or len(self.x) == 0:
            raise ValueError(f"{function}: Found array with 0 sample(s) (shape={self.x.shape})")
        if self.y is not None and (self.y.ndim == 0 or len(self.y) != len(self.x)):
            samples = len(self.y) if self.y.ndim else "no"
            raise ValueError(f"{function}: x has {len(self.x)} samples, y has {samples}")
        self.sample_weight = None if sample_weight is None else weights(function, sample_weight, len(self.x))

    @property
    def samples(self) -> int:
        return len(self.x)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def epoch(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield all batches, in `order` (indices) if given."""
        for start in range(0, self.samples, self.batch_size):
            part: Any = slice(start, start + self.batch_size)
            yield self.take(part if order is None else order[part])

    def take(self, part: Any) -> Batch:
        """Return the samples of a slice or of indices."""
        y, w = (None if a is None else a[part] for a in (self.y, self.sample_weight))
        return Batch(np.asarray(self.x[part]), y, w)

    def split(self, function: str, fraction: Any) -> tuple[ArrayBatches, ArrayBatches]:
        """Return the first samples and the last `fraction` of them, as Keras does."""
        if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
            raise ValueError(f"{function}: validation_split must be 0 <= validation_split < 1, got {fraction!r}")
        at = int(self.samples * (1 - fraction))
        if at in (0, self.samples):
            raise ValueError(
                f"{function}: validation_split={fraction} leaves no sample for training or none for validation "
                f"of {self.samples}"
            )
        parts = []
        for part in (slice(None, at), slice(at, None)):
            x, y, w = self.take(part)
            parts.append(ArrayBatches(function, x, y, w, self.batch_size))
        return parts[0], parts[1]


class IterableBatches:
    """Batches that somebody else makes: (x, y), (x, y, sample_weight), or x alone for `predict`."""

    def __init__(self, function: str, batches: Iterable[Any], steps: int | None, steps_name: str) -> None:
        self.function, self.batches = function, batches
        self.is_endless = iter(batches) is batches  # an iterator: walked once, across epochs
        self.iterator: Iterator[Any] | None = None
        if steps is None and (isinstance(batches, (itertools.cycle, itertools.count, itertools.repeat))):
            raise ValueError(f"{function}: {steps_name} is needed: x never ends")

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def epoch(self, order: np.ndarray | None = None) -> Iterator[Batch]:
        """Yield the batches of one epoch; an iterator goes on where it stopped."""
        if self.is_endless and self.iterator is None:
            self.iterator = iter(self.batches)
        iterator = self.iterator if self.iterator is not None else iter(self.batches)
        for number, item in enumerate(iterator, 1):
            yield self.check(item, number)

    def check(self, item: Any, number: int) -> Batch:
        where = f"{self.function}: batch {number}"
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(parts) <= 3 or (len(parts) == 1 and self.function != "predict"):
            raise ValueError(f"{where}: must be (x, y) or (x, y, sample_weight), got {len(parts)} parts")
        try:
            whole_batch = ArrayBatches(where, *parts)
        except ValueError as error:
            raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from None
        return Batch(whole_batch.x, whole_batch.y, whole_batch.sample_weight)


Batches = ArrayBatches | IterableBatches


def batches(
    function: str, x: Any, y: Any = None, sample_weight: Any = None, batch_size: Any = None, steps: int | None = None,
    steps_name: str = "steps",
) -> Batches:  # fmt: skip
    """Return the batches of `x` (arrays with `y`, or an iterable of batches without)."""
    if y is None and function != "predict" and isinstance(x, Iterable) and not is_array_like(x):
        if sample_weight is not None or batch_size is not None:
            name = "sample_weight" if sample_weight is not None else "batch_size"
            raise ValueError(f"{function}: {name} can't be given for batches that are made already")
        return IterableBatches(function, x, steps, steps_name)
    if function == "predict" and _yields_batches(x):
        return IterableBatches(function, x, steps, steps_name)
    if x is None:
        raise ValueError(f"{function}: x is missing")
    if y is None and function != "predict":
        raise ValueError(f"{function}: y is missing")
    return ArrayBatches(function, x, y, sample_weight, batch_size)


def _yields_batches(x: Any) -> bool:
    return isinstance(x, Iterable) and not is_array_like(x) and not isinstance(x, (list, tuple))


def weights(function: str, sample_weight: Any, samples: int) -> np.ndarray:
    """Return one weight for each sample."""
    w = any_array(sample_weight, function, "sample_weight")
    if w.dtype.kind not in "fiub":
        raise TypeError(f"{function}: sample_weight must be numbers, got dtype {w.dtype}")
    if w.ndim != 1 or len(w) != samples:
        raise ValueError(f"{function}: sample_weight must have shape ({samples},), got {w.shape}")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        bad = int((~(np.isfinite(w) & (w >= 0))).argmax())
        raise ValueError(f"{function}: sample_weight must be finite and not negative, got {w[bad]} at sample {bad}")
    if not w.any():
        raise ValueError(f"{function}: sample_weight must not be all zero")
    return w


def class_weights(function: str, class_weight: Mapping[int, float], y: np.ndarray) -> np.ndarray:
    """Return the weight of each sample's class; a class that is not named weighs 1."""
    if not isinstance(class_weight, Mapping):
        raise TypeError(f"{function}: class_weight must be a dict of label to weight, got {class_weight!r}")
    for label, weight in class_weight.items():
        if not (isinstance(weight, (int, float)) and 0 <= weight < float("inf")):
            raise ValueError(f"{function}: class_weight must be finite and not negative, got {weight!r} for {label!r}")
    if y.ndim > 1 and y.shape[-1] > 1:
        y = y.argmax(-1)
    labels = np.round(y.reshape(len(y), -1)[:, 0] if y.ndim > 1 else y).astype(np.int64)
    return np.array([class_weight.get(int(label), 1.0) for label in labels])


def whole(function: str, name: str, value: Any, least: int) -> int:
    """Return an int of at least `least`."""
    if isinstance(value, (bool, float)) or not hasattr(value, "__index__"):
        raise TypeError(f"{function}: {name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{function}: {name} must be {'positive' if least == 1 else f'at least {least}'}, got {value}")
    return int(value)
