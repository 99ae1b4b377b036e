"""What training makes small, by Keras's names. A loss is a value for each sample and the gradient of that.

A network that ends with softmax or sigmoid is trained on what goes into that function (its logits), by the loss's twin
with ``from_logits=True``: the logarithm of a probability that has been rounded to 0 is never taken.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from . import activations, ops
from .activations import ActivationFunction
from .arrays import as_array
from .registry import Configurable, lookup, snake_case, table_of

_REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight")


class Loss(Configurable):
    """Base class: ``loss(y_true, y_pred, sample_weight=None)`` is a number.

    A loss of your own defines `forward` and `backward`, and `targets` if its targets are not the shape of the
    network's output.

    Parameters
    ----------
    reduction : str
        "sum_over_batch_size" (the mean), "sum", or "mean_with_sample_weight" (divided by the sum of the weights).
    name : str, optional
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: reduction must be {', '.join(_REDUCTIONS)}, got {reduction!r}")
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)

    def targets(self, y_true: np.ndarray, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
        """Return `y_true` as the loss takes it for outputs of `shape`, or raise the error that says what is wrong."""
        y_true = _numbers(self, y_true, dtype)
        if y_true.ndim == len(shape) - 1 and shape[-1] == 1:
            y_true = y_true[..., None]
        if y_true.shape[1:] != tuple(shape[1:]):
            raise ValueError(f"{self.name}: y has shape {y_true.shape}, the network's output {shape}")
        return y_true

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return a loss for each sample (batch, ...) and what `backward` needs."""
        raise NotImplementedError

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        """Return the gradient with respect to y_pred, for the gradient `dlosses` of each sample's loss."""
        raise NotImplementedError

    def on_logits(self, activation: ActivationFunction | None) -> Loss | None:
        """Return the twin that takes what goes into the last `activation`, if there is one."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        y_pred = as_array(y_pred)
        if y_pred.dtype.kind != "f":
            y_pred = y_pred.astype(np.float32)
        y_true = self.targets(as_array(y_true), y_pred.shape, y_pred.dtype)
        losses, _ = self.forward(y_true, y_pred)
        weights = None if sample_weight is None else as_array(sample_weight).astype(losses.dtype, copy=False)
        return self.reduce(losses, weights)[0]

    def reduce(self, losses: np.ndarray, sample_weight: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Return one number and its gradient with respect to each of `losses`."""
        if sample_weight is not None:
            shape = sample_weight.shape + (1,) * (losses.ndim - sample_weight.ndim)
            sample_weight = np.broadcast_to(sample_weight.reshape(shape), losses.shape)
        if self.reduction == "sum":
            scale = 1.0
        elif self.reduction == "sum_over_batch_size" or sample_weight is None:
            scale = 1 / losses.size
        else:
            scale = 1 / float(sample_weight.sum(dtype=np.float64))
        if sample_weight is None:
            return float(losses.sum(dtype=np.float64)) * scale, np.full_like(losses, scale)
        value = float((losses * sample_weight).sum(dtype=np.float64)) * scale
        return value, (sample_weight * scale).astype(losses.dtype)


class _Elementwise(Loss):
    """The mean over the last axis of a function of each pair of values."""

    def value(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def slope(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        return self.value(y_true, y_pred).mean(-1), (y_true, y_pred)

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        y_true, y_pred = saved
        return self.slope(y_true, y_pred) * (dlosses / y_pred.shape[-1])[..., None]


class MeanSquaredError(Loss):
    """Mean over the last axis of ``(y_true - y_pred)²``."""

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        return ops.mse_loss(y_pred, y_true), (y_true, y_pred)

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        y_true, y_pred = saved
        return ops.mse_loss_backward(dlosses, y_pred, y_true)


class MeanAbsoluteError(_Elementwise):
    """Mean over the last axis of ``|y_true - y_pred|``."""

    def value(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(y_pred - y_true)

    def slope(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.sign(y_pred - y_true)


class Huber(_Elementwise):
    """Quadratic up to an error of `delta`, linear beyond it (Huber, 1964)."""

    def __init__(
        self, delta: float = 1.0, reduction: str = "sum_over_batch_size", name: str | None = "huber_loss"
    ) -> None:
        super().__init__(reduction, name)
        if not delta > 0:
            raise ValueError(f"Huber: delta must be positive, got {delta!r}")
        self.delta = float(delta)

    def value(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        error = np.abs(y_pred - y_true)
        return np.where(error <= self.delta, error * error / 2, self.delta * (error - self.delta / 2))

    def slope(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.clip(y_pred - y_true, -self.delta, self.delta)


class _CrossEntropy(Loss):
    """What the cross-entropies share: probabilities or logits, smoothing of the targets."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, *, reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(reduction, name)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"{type(self).__name__}: label_smoothing must be 0 <= label_smoothing < 1, got {label_smoothing!r}")
        self.from_logits, self.label_smoothing = bool(from_logits), float(label_smoothing)

    _activation = activations.softmax

    def on_logits(self, activation: ActivationFunction | None) -> Loss | None:
        if self.from_logits or activation is not self._activation:
            return None
        twin = copy.copy(self)
        twin.from_logits = True
        return twin


class CategoricalCrossentropy(_CrossEntropy):
    """``-sum(y_true * log(y_pred))`` over the last axis, for targets that are probabilities: one-hot, usually.

    Parameters
    ----------
    from_logits : bool
        Whether y_pred goes into a softmax first.
    label_smoothing : float
        Share of the target that is spread over all classes.
    reduction, name
        As for `Loss`.
    """

    def targets(self, y_true: np.ndarray, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
        y_true = _numbers(self, y_true, dtype)
        if y_true.shape[1:] != tuple(shape[1:]):
            hint = "; for integer labels use sparse_categorical_crossentropy" if y_true.ndim < len(shape) else ""
            raise ValueError(f"{self.name}: y has shape {y_true.shape}, the network's output {shape}{hint}")
        return y_true

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        if self.from_logits:
            losses, probabilities = ops.softmax_cross_entropy(y_pred, y_true, label_smoothing=self.label_smoothing)
            return losses, (y_true, probabilities)
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_true.shape[-1]
        return ops.cross_entropy(y_pred, y_true), (y_true, y_pred)

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        y_true, y_pred = saved
        if self.from_logits:
            return ops.softmax_cross_entropy_backward(dlosses, y_pred, y_true, label_smoothing=self.label_smoothing)
        return ops.cross_entropy_backward(dlosses, y_pred, y_true)


class SparseCategoricalCrossentropy(_CrossEntropy):
    """``-log(y_pred[label])``, for integer labels 0 to classes - 1, (batch, ...) or (batch, ..., 1).

    Parameters
    ----------
    from_logits : bool
        Whether y_pred goes into a softmax first.
    ignore_class : int, optional
        Of this label, which need be no class (-1, 255), the loss is 0, and the mean is that of the others.
    reduction, name
        As for `Loss`; with `ignore_class` not "mean_with_sample_weight".
    """

    def __init__(
        self, from_logits: bool = False, ignore_class: int | None = None, *, reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(from_logits, reduction=reduction, name=name)
        if ignore_class is not None and (isinstance(ignore_class, bool) or not isinstance(ignore_class, (int, np.integer))):
            raise TypeError(f"{type(self).__name__}: ignore_class must be an int, got {ignore_class!r}")
        if ignore_class is not None and reduction == "mean_with_sample_weight":
            raise ValueError(f"{type(self).__name__}: ignore_class has no reduction {reduction!r}")
        self.ignore_class = None if ignore_class is None else int(ignore_class)

    def targets(self, y_true: np.ndarray, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
        y_true = np.asarray(y_true)
        if y_true.ndim == len(shape) and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        if y_true.shape[1:] != tuple(shape[1:-1]):
            hint = "; for one-hot targets use categorical_crossentropy" if y_true.ndim == len(shape) else ""
            raise ValueError(f"{self.name}: y has shape {y_true.shape}, the network's output {shape}{hint}")
        if y_true.dtype.kind == "f":
            _check_finite(self, y_true)
            if (y_true != np.floor(y_true)).any():
                index = _first(y_true != np.floor(y_true))
                raise ValueError(f"{self.name}: labels must be whole numbers, got {y_true[index]} at index {_plain(index)}")
            y_true = y_true.clip(-(2.0**62), 2.0**62)  # those that no integer is are outside anyway
        elif y_true.dtype.kind not in "iu":
            raise TypeError(f"{self.name}: labels must be integers, got dtype {y_true.dtype}")
        classes = shape[-1]
        assert classes is not None
        whole = y_true.astype(np.int64, copy=False)
        if whole.size and whole.view(np.uint64).max() >= classes:  # what is below 0 is very large then
            outside = (y_true < 0) | (y_true >= classes)
            if self.ignore_class is not None:
                outside &= y_true != self.ignore_class
            if outside.any():
                index = _first(outside)
                raise ValueError(
                    f"{self.name}: label {y_true[index]} at index {_plain(index)} is outside 0…{classes - 1}"
                )
        return whole

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        share = None
        if self.ignore_class is not None:
            counts = y_true != self.ignore_class
            mean = self.reduction == "sum_over_batch_size"
            share = (counts * (counts.size / max(counts.sum(), 1) if mean else 1)).astype(y_pred.dtype)
            y_true = np.where(counts, y_true, 0)
        if self.from_logits:
            losses, y_pred = ops.softmax_cross_entropy(y_pred, y_true)
        else:
            losses = ops.cross_entropy(y_pred, y_true)
        return losses if share is None else np.where(share > 0, losses, 0) * share, (y_true, y_pred, share)

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        y_true, y_pred, share = saved
        backward = ops.softmax_cross_entropy_backward if self.from_logits else ops.cross_entropy_backward
        if share is None:
            return backward(dlosses, y_pred, y_true)
        gradient = backward(dlosses * share, y_pred, y_true)
        gradient[share == 0] = 0  # of an output of 0 too, whose slope is infinite
        return gradient


class BinaryCrossentropy(_CrossEntropy):
    """Mean over the last axis of ``-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)``, targets from 0 to 1.

    Parameters
    ----------
    from_logits : bool
        Whether y_pred goes into a sigmoid first.
    label_smoothing : float
        Moves the targets this far from 0 and 1 towards one half.
    reduction, name
        As for `Loss`.
    """

    _activation = activations.sigmoid

    def targets(self, y_true: np.ndarray, shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
        y_true = super().targets(y_true, shape, dtype)
        if y_true.size and not (y_true.min() >= 0 and y_true.max() <= 1):
            index = _first((y_true < 0) | (y_true > 1))
            raise ValueError(f"{self.name}: target {y_true[index]} at index {_plain(index)} is outside 0…1")
        return y_true

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        function = ops.sigmoid_cross_entropy if self.from_logits else ops.binary_cross_entropy
        return function(y_pred, y_true).mean(-1), (y_true, y_pred)

    def backward(self, dlosses: np.ndarray, saved: Any) -> np.ndarray:
        y_true, y_pred = saved
        each = np.repeat((dlosses / y_pred.shape[-1])[..., None], y_pred.shape[-1], -1)
        function = ops.sigmoid_cross_entropy_backward if self.from_logits else ops.binary_cross_entropy_backward
        return function(each, y_pred, y_true)


def _numbers(loss: Loss, y_true: np.ndarray, dtype: np.dtype) -> np.ndarray:
    y_true = np.asarray(y_true)
    if y_true.dtype.kind not in "fiub":
        raise TypeError(f"{loss.name}: y must be numbers, got dtype {y_true.dtype}")
    y_true = y_true.astype(dtype, copy=False)
    _check_finite(loss, y_true)
    return y_true


def _check_finite(loss: Loss, y_true: np.ndarray) -> None:
    finite = np.isfinite(y_true)
    if not finite.all():
        index = _first(~finite)
        raise ValueError(f"{loss.name}: y contains {y_true[index]} at sample {index[0]}")


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def _plain(index: tuple[int, ...]) -> int | tuple[int, ...]:
    return index[0] if len(index) == 1 else index


TABLE = table_of(
    MeanSquaredError, MeanAbsoluteError, Huber, CategoricalCrossentropy, SparseCategoricalCrossentropy,
    BinaryCrossentropy, mse=MeanSquaredError, mae=MeanAbsoluteError,
)  # fmt: skip


def get(identifier: Any) -> Loss:
    """Return the loss that `identifier` means: "mse", "sparse_categorical_crossentropy", an object, a description."""
    if callable(identifier) and not isinstance(identifier, (Loss, type)):
        raise TypeError("loss: a function has no gradient here: subclass losses.Loss (forward and backward)")
    return lookup("loss", identifier, Loss, TABLE)
