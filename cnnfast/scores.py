"""What one pass over data gathers: the loss, and the metrics that `compile` was given."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import metrics as metrics_module


class Scores:
    """The loss and the metrics of one pass."""

    def __init__(self, plain: Sequence[Any], weighted: Sequence[Any]) -> None:
        self.identifiers = [(m, False) for m in plain] + [(m, True) for m in weighted]
        self.loss = metrics_module.Mean()
        self.metrics: dict[str, tuple[metrics_module.Metric, bool]] = {}

    def update(self, loss: float, y_true: np.ndarray, y_pred: np.ndarray | None, sample_weight: Any) -> None:
        """Take in one batch."""
        self.loss.update_state(loss, len(y_true))
        if y_pred is None:
            return
        if not self.metrics:
            self._choose(y_true, y_pred)
        for metric, is_weighted in self.metrics.values():
            metric.update_state(y_true, y_pred, sample_weight if is_weighted else None)

    def get_state(self) -> dict[str, Any]:
        """Return what has been gathered so far as plain JSON."""
        metrics = [[name, type(m).__name__, m.get_state()] for name, (m, _) in self.metrics.items()]
        return {"loss": self.loss.get_state(), "metrics": metrics}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self.loss.set_state(state["loss"])
        for (name, kind, gathered), (identifier, is_weighted) in zip(state["metrics"], self.identifiers):
            given = isinstance(identifier, metrics_module.Metric)
            metric = copy.deepcopy(identifier) if given else metrics_module.TABLE[kind]()
            metric.set_state(gathered)
            self.metrics[name] = metric, is_weighted

    def result(self) -> dict[str, Any]:
        return {"loss": self.loss.result(), **{name: metric.result() for name, (metric, _) in self.metrics.items()}}

    def _choose(self, y_true: np.ndarray, y_pred: np.ndarray) -> None:
        for identifier, is_weighted in self.identifiers:
            metric = copy.deepcopy(metrics_module.for_network(identifier, y_true, y_pred))
            metric.reset_state()
            name = metric.name
            assert name is not None
            if name in self.metrics and is_weighted:
                name = f"weighted_{name}"
            for number in itertools.count(1):
                if name not in self.metrics:
                    break
                name = f"{metric.name}_{number}"
            self.metrics[name] = metric, is_weighted
