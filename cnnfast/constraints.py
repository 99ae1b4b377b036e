"""Rules that weights obey after every step, by Keras's names and formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .registry import Configurable, lookup, table_of

_EPSILON = 1e-7  # Keras's: what keeps a norm of 0 from dividing


class Constraint(Configurable):
    """``constraint(weight)`` is the weight as it should be: of the same shape and dtype."""

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        return np.maximum(weight, 0)


class MinMaxNorm(Constraint):
    """Vectors of weights along `axis` shorter than `min_value` or longer than `max_value` are scaled.

    Parameters
    ----------
    min_value, max_value : float
        Of the Euclidean norm.
    rate : float
        In 0 < rate <= 1: how much of the way is gone at each step.
    axis : int or list of int
        For a Dense kernel 0, the inputs of each unit; for a Conv2D kernel [0, 1, 2], those of each filter.
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int | Sequence[int] = 0
    ) -> None:
        if not 0 <= min_value <= max_value < math.inf:
            raise ValueError(
                f"{type(self).__name__}: it must be that 0 <= min_value <= max_value, got {min_value!r} and {max_value!r}"
            )
        if not 0 < rate <= 1:
            raise ValueError(f"{type(self).__name__}: rate must be in 0 < rate <= 1, got {rate!r}")
        axes: list[Any] = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if not axes or not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
            raise TypeError(f"{type(self).__name__}: axis must be an int or a list of ints, got {axis!r}")
        self.min_value, self.max_value, self.rate = float(min_value), float(max_value), float(rate)
        self.axis: int | Sequence[int] = axes if isinstance(axis, (list, tuple)) else axis

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        norm = _norm(weight, self.axis)
        wanted = self.rate * np.clip(norm, self.min_value, self.max_value) + (1 - self.rate) * norm
        return weight * (wanted / (_EPSILON + norm)).astype(weight.dtype)


class MaxNorm(MinMaxNorm):
    """Vectors of weights along `axis` longer than `max_value` are scaled to it (Srivastava et al., JMLR 2014)."""

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0) -> None:
        super().__init__(0.0, max_value, 1.0, axis)


class UnitNorm(MinMaxNorm):
    """Vectors of weights along `axis` have the length 1."""

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        super().__init__(1.0, 1.0, 1.0, axis)


def _norm(weight: np.ndarray, axis: int | Sequence[int]) -> np.ndarray:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -weight.ndim <= a < weight.ndim for a in axes):
        raise ValueError(f"constraint: axis {axis} is no axis of a weight of shape {weight.shape}")
    return np.sqrt(np.square(weight, dtype=np.float64).sum(axes, keepdims=True))


TABLE = table_of(NonNeg, MinMaxNorm, MaxNorm, UnitNorm)


def get(identifier: Any) -> Constraint | None:
    """Return the constraint that `identifier` means: "max_norm", an object, a description; None stays None."""
    return None if identifier is None else lookup("constraint", identifier, Constraint, TABLE)
