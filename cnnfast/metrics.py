"""What evaluation counts, by Keras's names. A metric gathers batch after batch and gives a number, or one a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import losses, ops
from .arrays import as_array
from .registry import Configurable, argument_names, lookup, snake_case, table_of


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

    def result(self) -> Any:
        """Return the value over all batches since `reset_state`: a float, or a list of them for a list of thresholds."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Start anew."""
        raise NotImplementedError

    def get_state(self) -> dict[str, Any]:
        """Return what has been gathered so far as plain JSON."""
        fields = set(vars(self)) - set(argument_names(type(self)))
        return {name: _plain(value) for name, value in vars(self).items() if name in fields}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        for name, value in state.items():
            setattr(self, name, np.asarray(value) if isinstance(value, list) else value)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.update_state(as_array(y_true), as_array(y_pred), None if sample_weight is None else as_array(sample_weight))
        return self.result()


class _Mean(Metric):
    """The mean of a value for each sample, weighted if asked."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reset_state(self) -> None:
        self.total = self.count = 0.0

    def update_state(self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        self.add(self.values(as_array(y_true), as_array(y_pred)), sample_weight)

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
        if isinstance(value, float) and isinstance(sample_weight, int):  # of a training step: NumPy takes 30 us
            self.total += value * sample_weight
            self.count += sample_weight
        else:
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

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
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


class SparseTopKCategoricalAccuracy(_Mean):
    """Fraction of samples whose integer label is among the `k` largest outputs."""

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = k

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        labels = _labels(y_true, y_pred).astype(np.int64)
        return _in_top(labels, y_pred, self.k)


class TopKCategoricalAccuracy(SparseTopKCategoricalAccuracy):
    """Fraction of samples whose one-hot target is among the `k` largest outputs."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _in_top(y_true.argmax(-1), y_pred, self.k)


class _LossMetric(_Mean):
    """A loss as a metric."""

    def __init__(self, loss: losses.Loss, name: str | None = None) -> None:
        super().__init__(name)
        self._loss = loss

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return self._loss.forward(self._loss.targets(y_true, y_pred.shape, y_pred.dtype), y_pred)[0]

    def get_state(self) -> dict[str, Any]:
        return {"total": self.total, "count": self.count}


class BinaryCrossentropy(_LossMetric):
    """Mean of `losses.BinaryCrossentropy`."""

    def __init__(self, name: str | None = None, *, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__(losses.BinaryCrossentropy(from_logits, label_smoothing), name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(_LossMetric):
    """Mean of `losses.CategoricalCrossentropy`."""

    def __init__(self, name: str | None = None, *, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__(losses.CategoricalCrossentropy(from_logits, label_smoothing), name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class SparseCategoricalCrossentropy(_LossMetric):
    """Mean of `losses.SparseCategoricalCrossentropy`."""

    def __init__(self, name: str | None = None, *, from_logits: bool = False) -> None:
        super().__init__(losses.SparseCategoricalCrossentropy(from_logits), name)
        self.from_logits = from_logits


class _Confusion(Metric):
    """True and false positives and negatives at each of some thresholds; labels are taken as one-hot.

    With `multi_label` each has a second axis, for the labels.
    """

    _levels: Sequence[float]
    class_id: int | None = None
    top_k: int | None = None
    from_logits: bool = False
    multi_label: bool = False
    num_labels: int | None = None
    label_weights: list[float] | None = None

    def reset_state(self) -> None:
        labels = self.num_labels or len(self.label_weights or ()) or 1  # 1 becomes as many as there are
        shape = (len(self._levels), labels) if self.multi_label else (len(self._levels),)
        self.true_positives, self.false_positives = np.zeros(shape), np.zeros(shape)
        self.true_negatives, self.false_negatives = np.zeros(shape), np.zeros(shape)

    def update_state(self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        y_true, y_pred = as_array(y_true), as_array(y_pred)
        if y_pred.shape[-1] > 1 and (y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1):
            y_true = np.eye(y_pred.shape[-1])[_labels(y_true, y_pred).astype(np.int64)]
        y_true = _like(y_true, y_pred)
        if self.from_logits:
            y_pred = ops.sigmoid(y_pred)
        if self.top_k is not None:
            best = np.argsort(-y_pred, -1, kind="stable")[..., : self.top_k]
            y_all, y_pred = y_pred, np.full(y_pred.shape, -np.inf)
            np.put_along_axis(y_pred, best, np.take_along_axis(y_all, best, -1), -1)
        if self.class_id is not None:
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        weight: np.ndarray = np.ones(y_pred.shape)
        if sample_weight is not None:
            w = np.asarray(sample_weight, np.float64)
            weight = weight * w.reshape(w.shape + (1,) * (weight.ndim - w.ndim))
        if self.label_weights is not None and not self.multi_label:
            weight = weight * self.label_weights
        size = y_pred.shape[-1] if self.multi_label else y_pred.size
        columns = (a.reshape(-1, size).T if self.multi_label else a.reshape(1, -1) for a in (y_true, y_pred, weight))
        counts = np.stack([self._counts(*column) for column in zip(*columns)], -1)
        tp, fn, fp, tn = counts if self.multi_label else counts[..., 0]
        self.true_positives, self.false_negatives = self.true_positives + tp, self.false_negatives + fn
        self.false_positives, self.true_negatives = self.false_positives + fp, self.true_negatives + tn

    def _counts(self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
        """True positives, false negatives, false positives, true negatives at each threshold."""
        below, is_true = np.searchsorted(self._levels, y_pred), y_true > 0.5  # so many thresholds are below each output
        found: list[np.ndarray] = []
        for mask in (is_true, ~is_true):
            counts: np.ndarray = np.bincount(below[mask], weight[mask], len(self._levels) + 1)
            passed = counts[::-1].cumsum()[::-1]
            found += [passed[1:], passed[0] - passed[1:]]
        return found


class Precision(_Confusion):
    """True positives of all that is above the threshold.

    Parameters
    ----------
    thresholds : float or list of float, optional
        From 0 to 1, by default 0.5, or with `top_k` none. For a list, the result is a list too.
    top_k : int, optional
        Only the k largest outputs of a sample count as above it.
    class_id : int, optional
        Look at this output only.
    name : str, optional
    """

    def __init__(
        self, thresholds: float | Sequence[float] | None = None, top_k: int | None = None, class_id: int | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        default = 0.5 if top_k is None else float(np.finfo(np.float64).min)
        levels = [default] if thresholds is None else [thresholds] if isinstance(thresholds, (int, float)) else list(thresholds)
        if not levels or (thresholds is not None and not all(0 <= level <= 1 for level in levels)):
            raise ValueError(f"{type(self).__name__}: thresholds must be numbers from 0 to 1, at least one, got {thresholds!r}")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"{type(self).__name__}: top_k must be a positive int, got {top_k!r}")
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self._levels = sorted(map(float, levels))
        self._places = [self._levels.index(level) for level in levels]
        super().__init__(name)

    def result(self) -> float | list[float]:
        return self._ratio(self.true_positives + self.false_positives)

    def _ratio(self, denominator: np.ndarray) -> float | list[float]:
        values = [float(value) for value in _divided(self.true_positives, denominator)[self._places]]
        return values if len(values) > 1 else values[0]


class Recall(Precision):
    """True positives of all that should be above the threshold; arguments as for `Precision`."""

    def result(self) -> float | list[float]:
        return self._ratio(self.true_positives + self.false_negatives)


class AUC(_Confusion):
    """Area under the ROC or the precision-recall curve, over thresholds evenly spaced from 0 to 1.

    Parameters
    ----------
    num_thresholds : int
    curve : "ROC" or "PR"
        Recall over the rate of false positives, or precision over recall.
    summation_method : "interpolation", "minoring" or "majoring"
        Between two thresholds: the trapezium (for "PR" after Davis & Goadrich, ICML 2006), or the lower or the higher end.
    name : str, optional
    thresholds : list of float, optional
        From 0 to 1, in the place of `num_thresholds` evenly spaced ones; what is below and above all is added.
    multi_label : bool
        The mean of each label's area, y_true and y_pred being (samples, labels); else all outputs are taken together.
    num_labels : int, optional
        With `multi_label`; by default as many as there are.
    label_weights : list of float, optional
        How much each label weighs: its area with `multi_label`, else its outputs.
    from_logits : bool
        Whether y_pred goes into a sigmoid first.
    """

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", summation_method: str = "interpolation",
        name: str | None = None, *, thresholds: Sequence[float] | None = None, multi_label: bool = False,
        num_labels: int | None = None, label_weights: Sequence[float] | None = None, from_logits: bool = False,
    ) -> None:  # fmt: skip
        if thresholds is not None:
            num_thresholds = len(thresholds) + 2
            if not thresholds or not all(0 <= t <= 1 for t in thresholds):
                raise ValueError(f"AUC: thresholds must be numbers from 0 to 1, at least one, got {thresholds!r}")
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                f"AUC: summation_method must be 'interpolation', 'minoring' or 'majoring', got {summation_method!r}"
            )
        if num_thresholds < 3:
            raise ValueError(f"AUC: num_thresholds must be at least 3, got {num_thresholds!r}")
        if curve not in ("ROC", "PR"):
            raise ValueError(f"AUC: curve must be 'ROC' or 'PR', got {curve!r}")
        self.num_thresholds, self.curve, self.summation_method = num_thresholds, curve, summation_method
        self.thresholds, self.from_logits = None if thresholds is None else [float(t) for t in thresholds], bool(from_logits)
        self.multi_label, self.num_labels = bool(multi_label), num_labels
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        if self.label_weights is not None and not all(0 <= w < np.inf for w in self.label_weights):
            raise ValueError(f"AUC: label_weights must be finite and not negative, got {label_weights!r}")
        inner = (i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)) if thresholds is None else sorted(thresholds)
        self._levels = [-1e-7, *inner, 1 + 1e-7]
        super().__init__(name or "auc")

    def update_state(self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        labels = np.shape(y_pred)[-1]
        wanted = {"num_labels": self.num_labels, "label_weights": self.label_weights and len(self.label_weights)}
        for name, count in wanted.items():
            if count is not None and count != labels:
                raise ValueError(f"AUC: {name} says {count} labels, y_pred has {labels}")
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> float:
        counts = self.true_positives, self.false_positives, self.true_negatives, self.false_negatives
        if not self.multi_label:
            return self._area(*counts)
        areas = [self._area(*column) for column in zip(*(count.T for count in counts))]
        weights = self.label_weights or [1.0] * len(areas)
        return float(np.average(areas, weights=weights)) if any(weights) else 0.0

    def _area(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> float:
        recall = _divided(tp, tp + fn)
        if self.curve == "ROC" or self.summation_method != "interpolation":
            x, y = (_divided(fp, fp + tn), recall) if self.curve == "ROC" else (recall, _divided(tp, tp + fp))
            between = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": np.minimum(y[:-1], y[1:]),
                       "majoring": np.maximum(y[:-1], y[1:])}[self.summation_method]  # fmt: skip
            return float(((x[:-1] - x[1:]) * between).sum())
        chosen = tp + fp
        gained, more = tp[:-1] - tp[1:], chosen[:-1] - chosen[1:]
        slope = _divided(gained, more)
        intercept = tp[1:] - slope * chosen[1:]
        both = (chosen[:-1] > 0) & (chosen[1:] > 0)
        log = np.log(np.divide(chosen[:-1], chosen[1:], out=np.ones(len(more)), where=both))
        return float(_divided(slope * (gained + intercept * log), tp[1:] + fn[1:]).sum())


def confusion_matrix(y_true: Any, y_pred: Any, classes: int | None = None) -> np.ndarray:
    """Count the samples of each class by what they were taken for.

    Parameters
    ----------
    y_true, y_pred : array_like of int (samples,)
        Labels, from 0; or (samples, classes), whose largest value is the label.
    classes : int, optional
        By default one more than the largest label.

    Returns
    -------
    ndarray of int (classes, classes)
        ``[i, j]`` is the number of samples of class i that were taken for j.
    """
    true, guessed = (a if a.ndim == 1 else a.argmax(-1) for a in (as_array(y_true), as_array(y_pred)))
    if true.shape != guessed.shape:
        raise ValueError(f"confusion_matrix: y_true has {len(true)} samples, y_pred {len(guessed)}")
    count = int(max(true.max(initial=-1), guessed.max(initial=-1))) + 1 if classes is None else classes
    for name, labels in (("y_true", true), ("y_pred", guessed)):
        if labels.size and not (labels.min() >= 0 and labels.max() < count):
            raise ValueError(f"confusion_matrix: {name} must be labels from 0 to {count - 1}")
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (true.astype(np.int64), guessed.astype(np.int64)), 1)
    return matrix


def _in_top(labels: np.ndarray, y_pred: np.ndarray, k: int) -> np.ndarray:
    score = np.take_along_axis(y_pred, labels[..., None], -1)
    return (y_pred > score).sum(-1) < k


def _divided(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator != 0)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _labels(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Integer labels without the axis of length 1 that they may have."""
    return y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true


def _like(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets with the axis of length 1 that outputs have."""
    return y_true[..., None] if y_true.ndim == y_pred.ndim - 1 else y_true


TABLE = table_of(
    SparseCategoricalAccuracy, CategoricalAccuracy, BinaryAccuracy, MeanSquaredError, MeanAbsoluteError,
    SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy, BinaryCrossentropy, CategoricalCrossentropy,
    SparseCategoricalCrossentropy, Precision, Recall, AUC, auc=AUC, mse=MeanSquaredError, mae=MeanAbsoluteError,
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
