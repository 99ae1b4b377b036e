"""Small callbacks: learning rates by epoch, a log file, functions, the end at the first NaN."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from typing import Any

from .base import Callback


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` returns the new rate; the epoch counts from 0.
    verbose : int
        Say so.
    """

    def __init__(self, schedule: Callable[[int, float], float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function of epoch and rate, got {schedule!r}")
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        optimizer.learning_rate = self.schedule(epoch, optimizer.learning_rate)
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert self.model.optimizer is not None
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


class CSVLogger(Callback):
    """Write the logs of each epoch as a line of a CSV file, which is complete after every epoch.

    Parameters
    ----------
    filename : path
    separator : str
    append : bool
        Go on with a file that is there already.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._keys: list[str] | None = None

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._keys = None
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="") as file:
                self._keys = next(csv.reader(file, delimiter=self.separator), [])[1:] or None
        else:
            with open(self.filename, "w"):
                pass  # fail now rather than after the first epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        with open(self.filename, "a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if self._keys is None:
                self._keys = sorted(logs)
                writer.writerow(["epoch", *self._keys])
            writer.writerow([epoch, *(logs.get(key, "NA") for key in self._keys)])

    def get_state(self) -> dict[str, Any]:
        with open(self.filename, newline="") as file:
            return {"text": file.read(), "keys": self._keys}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._keys = state["keys"]
        with open(self.filename, "w", newline="") as file:
            file.write(state["text"])


class LambdaCallback(Callback):
    """Calls functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end, on_train_batch_begin, on_train_batch_end, **moments : callable
        By the names of `Callback`'s methods, with their arguments.
    """

    def __init__(
        self, on_epoch_begin: Any = None, on_epoch_end: Any = None, on_train_begin: Any = None, on_train_end: Any = None,
        on_train_batch_begin: Any = None, on_train_batch_end: Any = None, **moments: Callable[..., Any] | None,
    ) -> None:  # fmt: skip
        named = dict(
            on_epoch_begin=on_epoch_begin, on_epoch_end=on_epoch_end, on_train_begin=on_train_begin,
            on_train_end=on_train_end, on_train_batch_begin=on_train_batch_begin, on_train_batch_end=on_train_batch_end,
        )  # fmt: skip
        for moment, function in {**named, **moments}.items():
            if not (moment.startswith("on_") and hasattr(Callback, moment)):
                choices = ", ".join(name for name in vars(Callback) if name.startswith("on_"))
                raise TypeError(f"LambdaCallback: unexpected argument {moment!r}; it takes {choices}")
            if function is not None:
                setattr(self, moment, function)


class TerminateOnNaN(Callback):
    """End `fit` without an error when the loss or the gradient is not finite; the weights are those of the step before."""
