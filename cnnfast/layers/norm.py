from __future__ import annotations

from typing import Any

import numpy as np

from .. import constraints, initializers, ops, regularizers
from ..ops.tape import hold
from ._arguments import Shape, flag, number, whole
from .base import Layer


class BatchNormalization(Layer):
    """Bring each channel to mean 0 and variance 1, then scale and shift it, as in Keras (Ioffe & Szegedy, ICML 2015).

    In training by the batch's own mean and (biased) variance, which also move the moving averages; in inference, and while
    ``trainable`` is False, by those averages. Weights: gamma, beta, moving_mean, moving_variance, each (channels,).

    Parameters
    ----------
    axis : int
        The channels' axis.
    momentum : float
        ``moving = moving * momentum + batch * (1 - momentum)``, after each step that was good.
    epsilon : float
        Added to the variance; positive.
    center, scale : bool
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    """

    def __init__(
        self, axis: int = -1, momentum: float = 0.99, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones", beta_regularizer: Any = None, gamma_regularizer: Any = None,
        beta_constraint: Any = None, gamma_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.axis = whole(self, "axis", axis, least=-8)
        self.momentum = number(self, "momentum", momentum)
        self.epsilon = number(self, "epsilon", epsilon)
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"BatchNormalization: momentum must be from 0 to 1, got {momentum!r}")
        if self.epsilon <= 0:
            raise ValueError(f"BatchNormalization: epsilon must be positive, got {epsilon!r}")
        self.center, self.scale = flag(self, "center", center), flag(self, "scale", scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self._batch: tuple[np.ndarray, np.ndarray] | None = None

    def create_weights(self, input_shape: Shape) -> None:
        if not -len(input_shape) <= self.axis < len(input_shape) or self.axis % len(input_shape) == 0:
            raise ValueError(f'layer "{self.name}": axis {self.axis} is no channel axis of input shape {input_shape}')
        channels = input_shape[self.axis]
        if channels is None:
            raise ValueError(f'layer "{self.name}": the number of channels must be known, got {input_shape}')
        self._fixed_axes = {self.axis: channels}
        shape = (channels,)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                "gamma", shape, self.gamma_initializer, True, self.gamma_regularizer, self.gamma_constraint
            )
        if self.center:
            self.beta = self.add_weight(
                "beta", shape, self.beta_initializer, True, self.beta_regularizer, self.beta_constraint
            )
        self.moving_mean = self.add_weight("moving_mean", shape, self.moving_mean_initializer, trainable=False)
        self.moving_variance = self.add_weight(
            "moving_variance", shape, self.moving_variance_initializer, trainable=False
        )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = np.moveaxis(x, self.axis, -1)
        gamma, beta = (None if p is None else p.data for p in (self.gamma, self.beta))
        by_batch = training and self.trainable
        if by_batch:
            if x.size == x.shape[-1]:
                raise ValueError(f'layer "{self.name}": one value a channel has no variance, got a batch of {x.shape}')
            mean, variance = ops.batch_norm_stats(x)
        else:
            mean, variance = self.moving_mean.data, self.moving_variance.data
        if training:
            self._saved = x, mean, variance, by_batch
            self._batch = (mean, variance) if by_batch else None
        return np.moveaxis(ops.batch_norm(x, mean, variance, gamma, beta, self.epsilon), -1, self.axis)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        x, mean, variance, by_batch = self._take()
        gamma = None if self.gamma is None else self.gamma.data
        dy = np.moveaxis(dy, self.axis, -1)
        if not by_batch:  # the averages are constants and nobody asks for dgamma: dx is dy scaled as x was
            dx = ops.batch_norm(dy, hold(np.zeros_like(variance)), variance, gamma, None, self.epsilon)
            return np.moveaxis(dx, -1, self.axis)
        out = (None, *(None if p is None else p.grad for p in (self.gamma, self.beta)))
        dx = ops.batch_norm_backward(dy, x, mean, variance, gamma, self.epsilon, training=True, out=out)[0]
        return np.moveaxis(dx, -1, self.axis)

    def finish_step(self) -> None:
        if self._batch is not None:
            for average, value in zip((self.moving_mean.data, self.moving_variance.data), self._batch):
                ops.moving_average(average, value, self.momentum, out=average)
            self._batch = None
