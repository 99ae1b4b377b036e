from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ._arguments import number, whole
from .base import Layer


class Dropout(Layer):
    """In training, set a fraction `rate` of the values to 0 and scale the others by ``1 / (1 - rate)``.

    Which ones depends on the seed, the layer and the number of the training step alone: not on threads, and a resumed
    training draws what the uninterrupted one would have drawn (Srivastava et al., JMLR 2014).

    Parameters
    ----------
    rate : float
        ``0 <= rate < 1``.
    seed : int, optional
        By default from the network's seed.
    """

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = number(self, "rate", rate)
        if not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate must be 0 <= rate < 1, got {rate!r}")
        self.seed = None if seed is None else whole(self, "seed", seed, least=0)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if not training:
            return x
        key = dict(seed=self._stream if self.seed is None else self.seed, step=self._clock.step)
        self._saved = key
        return ops.dropout(x, self.rate, **key) if self.rate else x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        key = self._take()
        return ops.dropout_backward(dy, self.rate, **key) if self.rate else dy
