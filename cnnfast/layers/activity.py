from __future__ import annotations

from typing import Any

import numpy as np

from ..regularizers import L1L2
from .base import Layer


class ActivityRegularization(Layer):
    """Passes its input on; the loss grows by ``(l1 * sum(|x|) + l2 * sum(x²)) / batch``, as in Keras.

    Parameters
    ----------
    l1, l2 : float
        Not negative.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activity_regularizer = L1L2(l1, l2)
        self.l1, self.l2 = self.activity_regularizer.l1, self.activity_regularizer.l2

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = True
        return self._regularized(x, training)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._take()
        return self._regularized_back(dy)
