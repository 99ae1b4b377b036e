"""Saving the network while it trains."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .monitor import Monitor


class ModelCheckpoint(Monitor):
    """Save the network after each epoch, or every so many steps.

    Parameters
    ----------
    filepath : path
        May contain ``{epoch}`` (from 1), ``{batch}`` and names of the logs with a format: ``"{epoch:02d}-{val_loss:.2f}"``.
    monitor, mode
        What "best" means, as for `EarlyStopping`.
    verbose : int
        Say when it saves.
    save_best_only : bool
        Save only what is better than all before.
    save_weights_only : bool
        Leave out the optimizer and its state.
    save_freq : "epoch" or int
        After each epoch, or after so many steps.
    initial_value_threshold : float, optional
        The best value to begin with.
    """

    def __init__(
        self, filepath: str | os.PathLike[str], monitor: str = "val_loss", verbose: int = 0, save_best_only: bool = False,
        save_weights_only: bool = False, mode: str = "auto", save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode=mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq = check_frequency(self, save_freq)
        if initial_value_threshold is not None:
            self.best = initial_value_threshold
        self._epoch = self._steps = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._steps += 1
        if self.save_freq != "epoch" and self._steps % self.save_freq == 0:
            self._save(logs, batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs, None)

    def _save(self, logs: Mapping[str, float] | None, batch: int | None) -> None:
        if self.save_best_only:
            value = self.value(logs)
            if value is None or not self.improves(value, self.best):
                return
            self.best = value
        names: dict[str, Any] = {**(logs or {}), "epoch": self._epoch + 1, **({} if batch is None else {"batch": batch + 1})}
        try:
            path = self.filepath.format(**names)
        except KeyError as error:
            raise KeyError(f"ModelCheckpoint: no {error} for filepath {self.filepath!r}; there is {', '.join(names)}") from None
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"Epoch {self._epoch + 1}: saved {path}", flush=True)

    def get_state(self) -> dict[str, Any]:
        return {"best": str(self.best), "steps": self._steps}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.best, self._steps = float(state["best"]), state["steps"]


def check_frequency(callback: object, value: Any) -> Any:
    """Return "epoch" or a positive int."""
    if value == "epoch" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"{type(callback).__name__}: save_freq must be 'epoch' or a positive int, got {value!r}")
