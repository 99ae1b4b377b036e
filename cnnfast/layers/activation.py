from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, ops
from ..activations import ActivationFunction
from ._arguments import number, whole
from .base import Layer


class Activation(Layer):
    """An activation function as a layer of its own.

    Parameters
    ----------
    activation : str or ActivationFunction
        "relu", "sigmoid", "tanh", "softmax", "leaky_relu", "elu", "gelu", "silu", "swish" or "linear".
    """

    activation: ActivationFunction

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        activation = activations.linear if logits else self.activation
        y = activation.forward(x)
        if training:
            self._saved = activation.kept(x, y), activation
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        kept, activation = self._take()
        return activation.backward(dy, kept)


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    def __init__(self, *, name: str | None = None, trainable: bool = True, dtype: Any = None) -> None:
        super().__init__("sigmoid", name=name, trainable=trainable, dtype=dtype)


class Softmax(Layer):
    """``exp(x) / sum(exp(x))`` along `axis`: probabilities that sum to 1."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = whole(self, "axis", axis, least=-8)
        self.activation = activations.softmax if axis == -1 else None

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        y = x if logits else ops.softmax(x, self.axis)
        if training:
            self._saved = y, logits
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        y, logits = self._take()
        return dy if logits else ops.softmax_backward(dy, y, self.axis)


class ReLU(Layer):
    """`x` where it is above `threshold`, at most `max_value`; elsewhere ``negative_slope * (x - threshold)``.

    Parameters
    ----------
    max_value : float, optional
        Not negative; by default there is none.
    negative_slope : float
    threshold : float
        Not negative, and at most `max_value`.
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else number(self, "max_value", max_value)
        self.negative_slope = number(self, "negative_slope", negative_slope)
        self.threshold = number(self, "threshold", threshold)
        if self.threshold < 0 or (self.max_value is not None and self.max_value < self.threshold):
            raise ValueError(
                f"{type(self).__name__}: threshold must be from 0 to max_value={max_value!r}, got {threshold!r}"
            )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if limits := self._limits():
            y = ops.clipped_relu(x, *limits)
        else:
            y = ops.leaky_relu(x, self.negative_slope) if self.negative_slope else ops.relu(x)
        if training:
            self._saved = x if self.negative_slope or limits else y
        return y

    def _limits(self) -> tuple[float | None, float, float] | None:
        """The arguments of the op that knows them all, if they are needed."""
        if self.max_value is None and not self.threshold:
            return None
        return self.max_value, self.negative_slope, self.threshold

    def backward(self, dy: np.ndarray) -> np.ndarray:
        kept = self._take()
        if limits := self._limits():
            return ops.clipped_relu_backward(dy, kept, *limits)
        if self.negative_slope:
            return ops.leaky_relu_backward(dy, kept, self.negative_slope)
        return ops.relu_backward(dy, kept)


class LeakyReLU(ReLU):
    """`x`, times `negative_slope` where it is negative."""

    def __init__(
        self, negative_slope: float = 0.3, *, name: str | None = None, trainable: bool = True, dtype: Any = None
    ) -> None:
        super().__init__(negative_slope=negative_slope, name=name, trainable=trainable, dtype=dtype)
