"""What evaluation counts, by Keras's names. A metric gathers batch after batch and gives one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Configurable, lookup, snake_case, table_of


class Metric(Configurable):
    """Base class: `update_state` for each batch, `result`, `reset_state`.

    Parameters
    ----------
    name : str, optional
        Key in `History.history`.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.reset_state()

    def update_state(self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Take in one batch."""
        raise NotImplementedError

    def result(self) -> float:
        """Return the value over all batches since `reset_state`."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Start anew."""
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        self.update_state(np.asarray(y_true), np.asarray(y_pred), sample_weight)
        return self.result()


class _Mean(Metric):
    """The mean of a value for each sample, weighted if asked."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reset_state(self) -> None:
        self.total = self.count = 0.0

    def update_state(self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        self.add(self.values(np.asarray(y_true), np.asarray(y_pred)), sample_weight)

    def add(self, values: np.ndarray, sample_weight: Any = None) -> None:
        values = np.asarray(values, np.float64)
        if sample_weight is None:
            self.total += float(values.sum())
            self.count += values.size
            return
        weight = np.asarray(sample_weight, np.float64)
        weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)), values.shape)
        self.total += float((values * weight).sum())
        self.count += float(weight.sum())

    def result(self) -> float:
        return self.total / self.count if self.count else 0.0


class Mean(_Mean):
    """The mean of the numbers that `update_state(value, weight)` was given."""

    def update_state(self, value: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        self.add(np.asarray(value), sample_weight)


class SparseCategoricalAccuracy(_Mean):
    """Fraction of samples whose largest output is that of their integer label; of equal outputs the first counts."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _labels(y_true, y_pred) == y_pred.argmax(-1)


class CategoricalAccuracy(_Mean):
    """Fraction of samples whose largest output is that of their one-hot target."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return y_true.argmax(-1) == y_pred.argmax(-1)


class BinaryAccuracy(_Mean):
    """Fraction of outputs on the right side of `threshold`."""

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = threshold

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return ((y_pred > self.threshold) == (_like(y_true, y_pred) > 0.5)).mean(-1)


class MeanSquaredError(_Mean):
    """Mean of ``(y_true - y_pred)²``."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.square(_like(y_true, y_pred) - y_pred.astype(np.float64)).mean(-1)


class MeanAbsoluteError(_Mean):
    """Mean of ``|y_true - y_pred|``."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(_like(y_true, y_pred) - y_pred.astype(np.float64)).mean(-1)


def _labels(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Integer labels without the axis of length 1 that they may have."""
    return y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true


def _like(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets with the axis of length 1 that outputs have."""
    return y_true[..., None] if y_true.ndim == y_pred.ndim - 1 else y_true


TABLE = table_of(
    SparseCategoricalAccuracy, CategoricalAccuracy, BinaryAccuracy, MeanSquaredError, MeanAbsoluteError,
    mse=MeanSquaredError, mae=MeanAbsoluteError,
)  # fmt: skip


def get(identifier: Any) -> Metric:
    """Return the metric that `identifier` means."""
    return lookup("metric", identifier, Metric, TABLE)


def for_network(identifier: Any, y_true: np.ndarray, y_pred: np.ndarray) -> Metric:
    """Return the metric for these targets and outputs; "accuracy" and "acc" choose theirs, as in Keras.

    One output is binary; targets with an axis less than the outputs, or one that is 1 long, are labels; the rest one-hot.
    """
    if identifier not in ("accuracy", "acc"):
        metric = get(identifier)
    elif y_pred.shape[-1] == 1:
        metric = BinaryAccuracy()
    elif y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        metric = SparseCategoricalAccuracy()
    else:
        metric = CategoricalAccuracy()
    if isinstance(identifier, str):
        metric.name = identifier
    return metric
