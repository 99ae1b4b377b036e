"""What a callback is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models import Sequential


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
    runs_last = False  # after all others, the history too: for what saves them all

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed training needs of this callback: plain JSON, and arrays by name."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""

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

    def __init__(self, callbacks: Iterable[Any], model: Any, params: dict[str, Any]) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not hasattr(callback, "set_model"):
                raise TypeError(f"callbacks must be Callback objects, got {callback!r}")
            callback.set_params(params)
            callback.set_model(model)


def _every(moment: str) -> Any:
    count = 2 if "batch" in moment or "epoch" in moment else 1

    def call(self: CallbackList, *arguments: Any) -> None:
        arguments += (None,) * (count - len(arguments))  # logs are always passed: a function may ask for them
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
        A value for each epoch: "loss", the metrics, and the same of the validation data with ``val_`` before.
    epoch : list of int
        Numbers of the epochs, from 0.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def get_state(self) -> dict[str, Any]:
        return {"history": {name: list(values) for name, values in self.history.items()}, "epoch": list(self.epoch)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.history, self.epoch = dict(state["history"]), list(state["epoch"])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
