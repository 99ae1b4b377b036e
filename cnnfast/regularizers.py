"""Penalties on weights and on the outputs of layers, by Keras's names: the loss grows by the penalty, the gradient by its
derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import ops
from .ops.tape import not_replayable, revise
from .registry import Configurable, lookup, table_of


class Regularizer(Configurable):
    """``regularizer(weight)`` is the penalty; `gradient` its derivative.

    On a layer's output the penalty is divided by the size of the batch.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """A plan knows how hard it regularizes outputs."""
        revise()
        super().__setattr__(name, value)

    def __call__(self, weight: np.ndarray) -> float:
        raise NotImplementedError

    def gradient(self, weight: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def of_output(self, y: np.ndarray) -> np.ndarray:
        """Return the penalty of a layer's output, in an array that a plan fills again."""
        not_replayable()
        return np.array(self(y) / len(y))

    def output_gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return `dy` and the gradient of that."""
        not_replayable()
        return dy + (self.gradient(y) / len(y)).astype(dy.dtype)


class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w²)``."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        for name, value in (("l1", l1), ("l2", l2)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} must be finite and not negative, got {value!r}")
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, weight: np.ndarray) -> float:
        penalty = self.l1 * np.abs(weight).sum(dtype=np.float64) if self.l1 else 0.0
        return float(penalty + (self.l2 * np.square(weight).sum(dtype=np.float64) if self.l2 else 0.0))

    def gradient(self, weight: np.ndarray) -> np.ndarray:
        gradient = (2 * self.l2) * weight
        return gradient + self.l1 * np.sign(weight) if self.l1 else gradient


    def of_output(self, y: np.ndarray) -> np.ndarray:
        return ops.penalty(y, self.l1 / len(y), self.l2 / len(y))

    def output_gradient(self, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ops.penalty_backward(dy, y, self.l1 / len(y), self.l2 / len(y))


class L1(L1L2):
    """``l1 * sum(|w|)``."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """``l2 * sum(w²)``."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


TABLE = {**table_of(L1, L2, L1L2), "l1": L1, "l2": L2, "l1_l2": L1L2}


def get(identifier: Any) -> Regularizer | None:
    """Return the regularizer that `identifier` means: "l2", an object, a description; None stays None."""
    return None if identifier is None else lookup("regularizer", identifier, Regularizer, TABLE)
