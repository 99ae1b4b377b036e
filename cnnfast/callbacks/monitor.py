"""What watches one number of the logs: early stopping, the learning rate on a plateau."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import Callback

_MORE_IS_BETTER = ("acc", "auc", "precision", "recall")


class Monitor(Callback):
    """Compares one number of the logs with the best so far.

    Parameters
    ----------
    monitor : str
        Name in the logs, "val_loss" for example.
    min_delta : float
        A smaller improvement is none.
    mode : "auto", "min" or "max"
        "auto": accuracy, AUC, precision and recall shall grow, everything else shrink.
    """

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0.0, mode: str = "auto") -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.min_delta, self.mode = monitor, abs(float(min_delta)), mode
        grows = mode == "max" or (mode == "auto" and any(word in monitor for word in _MORE_IS_BETTER))
        self._sign = 1.0 if grows else -1.0
        self.best = -self._sign * math.inf

    def improves(self, value: float, reference: float) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; NaN never is."""
        return self._sign * (value - reference) > self.min_delta

    def value(self, logs: Mapping[str, float] | None) -> float | None:
        """Return the number watched, or warn and return None."""
        if logs and self.monitor in logs:
            value = logs[self.monitor]
            if isinstance(value, list):
                raise ValueError(
                    f"{type(self).__name__}: {self.monitor!r} has a value for each threshold, and one is watched: got {value}"
                )
            return value
        names = ", ".join(logs or ()) or "nothing"
        warnings.warn(f"{type(self).__name__}: no {self.monitor!r} in the logs, there is {names}", stacklevel=2)
        return None


class EarlyStopping(Monitor):
    """Stop when a number has not improved for `patience` epochs.

    Parameters
    ----------
    monitor, min_delta, mode
        What to watch, the least improvement, and its direction, as for `Monitor`.
    patience : int
        Epochs without improvement to wait for.
    verbose : int
        Say when it stops.
    baseline : float, optional
        The epochs are counted from 0 again only if this is beaten too.
    restore_best_weights : bool
        Go back to the weights of the best epoch at the end.
    start_from_epoch : int
        Epochs before this one don't count.
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0, verbose: int = 0, mode: str = "auto",
        baseline: float | None = None, restore_best_weights: bool = False, start_from_epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, min_delta, mode)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.best = -self._sign * math.inf
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping", flush=True)
        if self.restore_best_weights and self.best_weights is not None:
            self.model._restore_weights(self.best_weights)

    def get_state(self) -> dict[str, Any]:
        weights = {} if self.best_weights is None else {f"weight {i}": w for i, w in enumerate(self.best_weights)}
        numbers = {name: getattr(self, name) for name in ("wait", "stopped_epoch", "best_epoch")}
        return {**numbers, "best": str(self.best), **weights}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = state["wait"], state["stopped_epoch"], state["best_epoch"]
        self.best = float(state["best"])
        count = sum(name.startswith("weight ") for name in state)
        self.best_weights = [state[f"weight {i}"] for i in range(count)] or None


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by `factor` when a number has not improved for `patience` epochs.

    Parameters
    ----------
    monitor, mode, min_delta
        As for `EarlyStopping`.
    factor : float
        Below 1.
    patience : int
        Epochs without improvement to wait for.
    verbose : int
        Say when it happens.
    cooldown : int
        Epochs after it that don't count.
    min_lr : float
        Go no lower.
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0, mode: str = "auto",
        min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, min_delta, mode)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be between 0 and 1, got {factor!r}")
        self.factor, self.patience, self.verbose, self.cooldown, self.min_lr = factor, patience, verbose, cooldown, min_lr

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.best = -self._sign * math.inf
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        value, optimizer = self.value(logs), self.model.optimizer
        assert optimizer is not None
        if logs is not None:
            logs["learning_rate"] = optimizer.learning_rate
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}", flush=True)
                self.cooldown_counter, self.wait = self.cooldown, 0

    def get_state(self) -> dict[str, Any]:
        return {"wait": self.wait, "cooldown_counter": self.cooldown_counter, "best": str(self.best)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.wait, self.cooldown_counter, self.best = state["wait"], state["cooldown_counter"], float(state["best"])
