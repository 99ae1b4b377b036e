"""What happens between the steps of a training, by Keras's names."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import Sequential


class Callback:
    """Base class: define the moments you want.

    Attributes
    ----------
    model : Sequential
        Set before the first call. ``self.model.stop_training = True`` ends `fit` after the current batch.
    params : dict
        "epochs", "steps" (None if unknown) and "verbose".
    """

    model: Sequential
    params: dict[str, Any]

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Sequential) -> None:
        self.model = model

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After an epoch and its validation; what is put into `logs` goes into the history."""

    def on_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Before a training step, counted from 0 in each epoch."""

    def on_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """After a training step; `logs` are the means over the epoch so far."""

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Before an evaluation, that of validation data too."""

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        """After an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Before `predict`."""

    def on_predict_end(self, logs: Mapping[str, float] | None = None) -> None:
        """After `predict`."""

    def on_predict_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """After a batch of `predict`."""


class CallbackList(Callback):
    """Calls many callbacks in order."""

    def __init__(self, callbacks: Iterable[Any], model: Sequential, params: dict[str, Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not hasattr(callback, "set_model"):
                raise TypeError(f"callbacks must be Callback objects, got {callback!r}")
            callback.set_params(params)
            callback.set_model(model)


def _every(moment: str) -> Any:
    def call(self: CallbackList, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(*arguments)

    return call


for _moment in [name for name in vars(Callback) if name.startswith("on_")]:
    setattr(CallbackList, _moment, _every(_moment))


class History(Callback):
    """What `fit` returns.

    Attributes
    ----------
    history : dict of str to list of float
        A value for each epoch: "loss", the metrics, and the same of the validation data with "val_" before.
    epoch : list of int
        Numbers of the epochs, from 0.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class ProgressLine(Callback):
    """The line that shows how training goes: a bar (verbose=1) or one line an epoch (verbose=2)."""

    def __init__(self, verbose: int) -> None:
        self.verbose = verbose
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.start = time.perf_counter()
        self._open(f"Epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._advance(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.bar is not None:
            self._advance(logs, 0)
        else:
            seconds = time.perf_counter() - self.start
            print(f"Epoch {epoch + 1}/{self.params['epochs']} - {seconds:.1f}s - {_shown(logs)}", flush=True)
        self.close()

    def close(self) -> None:
        """End the line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _open(self, title: str) -> None:
        if self.verbose == 1:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=self.params["steps"], desc=title, file=sys.stdout, dynamic_ncols=True)

    def _advance(self, logs: Mapping[str, float] | None, steps: int = 1) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(_shown(logs), refresh=not steps)
            self.bar.update(steps)


class TestProgressLine(ProgressLine):
    """The same for `evaluate` and `predict`."""

    __test__ = False  # the name is no test's

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._open("Evaluate")

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._advance(logs)

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self.verbose == 2:
            print(f"Evaluate - {_shown(logs)}", flush=True)
        self.close()

    def on_predict_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._open("Predict")

    def on_predict_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._advance({})

    def on_predict_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.close()


def verbosity(verbose: Any) -> int:
    """Return 0, 1 or 2; "auto" is a bar on a terminal and silent lines elsewhere.

    A bar is drawn by carriage returns, which fill a log file; there one line an epoch says as much.
    """
    if verbose == "auto":
        return 1 if "ipykernel" in sys.modules or (sys.stdout is not None and sys.stdout.isatty()) else 2
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
    return int(verbose)


def _shown(logs: Mapping[str, float] | None) -> str:
    return " - ".join(f"{name}: {value:.4f}" if abs(value) > 1e-3 else f"{name}: {value:.4e}"
                      for name, value in (logs or {}).items())  # fmt: skip
