"""The line that shows how training goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from .base import Callback


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
    return " - ".join(f"{name}: {_number(value)}" for name, value in (logs or {}).items())


def _number(value: Any) -> str:
    if isinstance(value, list):  # of a metric with several thresholds
        return f"[{', '.join(map(_number, value))}]"
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"
