"""Going on after a kill as if there had been none."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ModelFileError
from .base import Callback, CallbackList
from .checkpoint import check_frequency


@dataclass
class Position:
    """Where in `fit` a training stands.

    Attributes
    ----------
    epoch : int
        Epoch that is running, from 0.
    batch : int
        Steps of it that are done.
    first_step : int
        Number of the network's first step in it; it decides the order of the samples.
    scores : dict or None
        What loss and metrics have gathered in it.
    stopped : bool
        A callback has ended the training.
    """

    epoch: int
    batch: int
    first_step: int
    scores: dict[str, Any] | None = None
    stopped: bool = False


class BackupAndRestore(Callback):
    """Keep a backup; when the same program is started again after a kill, training goes on where the backup was made.

    Everything comes back: weights, state of the optimizer, order of the samples, dropout, history, the state of the other
    callbacks. So the end is the same, bit for bit, as that of a training that nothing has interrupted. (Batches from an
    iterator have to be repeated by the caller: those that were done are skipped.)

    SIGTERM, by which a scheduler or a container says that the program has to end, is answered when the step, or the batch of
    a validation, has ended: a backup is made, then the program's own handler is called, or it ends with exit code 143.

    Parameters
    ----------
    backup_dir : path
        Made if it is not there; the backup is one file in it, replaced atomically.
    save_freq : "epoch" or int
        After each epoch, or after so many steps too.
    delete_checkpoint : bool
        Remove the backup when training has come to its end.
    """

    runs_last = True

    def __init__(
        self, backup_dir: str | os.PathLike[str], save_freq: Any = "epoch", *, delete_checkpoint: bool = True
    ) -> None:
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = check_frequency(self, save_freq)
        self.delete_checkpoint = delete_checkpoint
        self.path = os.path.join(self.backup_dir, "backup.cnnfast")
        self._terminating = False
        self._latest: Position | None = None

    @contextlib.contextmanager
    def hearing_sigterm(self) -> Iterator[None]:
        """In the block, SIGTERM waits for `_end_if_told`; not beside the main thread, nor where the program ignores it."""
        self._terminating = False
        before = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
            yield
            return
        self._before = before

        def told(*_: Any) -> None:
            self._terminating = True

        signal.signal(signal.SIGTERM, told)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _end_if_told(self) -> None:
        """Make the backup and pass SIGTERM on, if it has come."""
        if not self._terminating or self._latest is None:
            return
        self._terminating = False
        self.save(self._latest)
        if not callable(self._before):
            raise SystemExit(128 + signal.SIGTERM)
        self._before(signal.SIGTERM, None)

    def restore(self, listeners: CallbackList) -> Position | None:
        """Bring everything back to where the backup was made; called by `fit` after `on_train_begin`."""
        from .. import files, saving, tensorfile

        self._listeners = listeners
        os.makedirs(self.backup_dir, exist_ok=True)
        try:
            content = files.read_regular_file(self.path)
        except FileNotFoundError:
            return None
        tensors, metadata = tensorfile.read_tensors(content, {"U8": np.dtype("u1")})
        try:
            state = json.loads(metadata["cnnfast.backup"])
            saving.restore(self.model, tensors["model"].tobytes())
            for number, (name, callback_state) in enumerate(state["callbacks"]):
                callback = listeners.callbacks[number]
                if type(callback).__name__ != name:
                    raise ValueError(f"{self.path!r} was made with the callback {name}, not {type(callback).__name__}")
                arrays = {key.split("/", 1)[1]: t.copy() for key, t in tensors.items() if key.startswith(f"{number}/")}
                callback.set_state({**callback_state, **arrays})
            return Position(**state["position"])
        except (KeyError, IndexError, TypeError) as error:
            raise ModelFileError(f"{self.path!r} is no backup of this training: {error!r}") from None

    def save(self, position: Position) -> None:
        """Write the backup; called by `fit` when all other callbacks have had their turn."""
        from safetensors.numpy import save

        from .. import files, saving

        tensors = {"model": np.frombuffer(saving.to_bytes(self.model), np.uint8)}
        states = []
        for number, callback in enumerate(self._listeners.callbacks):
            state = callback.get_state() if isinstance(callback, Callback) else {}
            tensors.update({f"{number}/{k}": np.ascontiguousarray(v) for k, v in state.items() if isinstance(v, np.ndarray)})
            states.append((type(callback).__name__, {k: v for k, v in state.items() if not isinstance(v, np.ndarray)}))
        text = json.dumps({"position": asdict(position), "callbacks": states})
        files.write_atomically(self.path, save(tensors, {"cnnfast.backup": text}))

    def after_batch(self, position: Position) -> None:
        self._latest = position
        if self.save_freq != "epoch" and position.batch % self.save_freq == 0:
            self.save(position)
        self._end_if_told()

    def after_epoch(self, position: Position) -> None:
        self._latest = position
        self.save(position)
        self._end_if_told()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._end_if_told()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self.delete_checkpoint:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
