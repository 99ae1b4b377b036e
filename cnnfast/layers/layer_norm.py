"""Normalization of each sample by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import constraints, initializers, ops, regularizers
from ._arguments import Shape, flag, number, whole
from .base import Layer


class _Normalization(Layer):
    def __init__(
        self, epsilon: float, center: bool, scale: bool, beta_initializer: Any, gamma_initializer: Any,
        beta_regularizer: Any, gamma_regularizer: Any, beta_constraint: Any, gamma_constraint: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.epsilon = number(self, "epsilon", epsilon)
        if self.epsilon <= 0:
            raise ValueError(f"{type(self).__name__}: epsilon must be positive, got {epsilon!r}")
        self.center, self.scale = flag(self, "center", center), flag(self, "scale", scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def _add_weights(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                "gamma", shape, self.gamma_initializer, True, self.gamma_regularizer, self.gamma_constraint
            )
        if self.center:
            self.beta = self.add_weight(
                "beta", shape, self.beta_initializer, True, self.beta_regularizer, self.beta_constraint
            )

    def _affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        gamma, beta = (None if p is None else p.data for p in (self.gamma, self.beta))
        return gamma, beta

    def _gradients(self) -> tuple[np.ndarray | None, ...]:
        """Where the gradients of the input, of gamma and of beta go; None: nobody asks."""
        return (None, *(None if p is None or not self.trainable else p.grad for p in (self.gamma, self.beta)))

    def _axis(self, axis: int, shape: Shape) -> int:
        if not -len(shape) <= axis < len(shape) or axis % len(shape) == 0:
            raise ValueError(f'layer "{self.name}": axis {axis} is no axis of a sample of input shape {shape}')
        return axis % len(shape)

    def _size(self, axis: int, shape: Shape) -> int:
        size = shape[axis]
        if size is None:
            raise ValueError(f'layer "{self.name}": the size of axis {axis} must be known, got {shape}')
        self._fixed_axes[axis] = size
        return size


class LayerNormalization(_Normalization):
    """Bring each sample to mean 0 and variance 1 over some axes, then scale and shift it (Ba et al., arXiv 1607.06450).

    Weights: gamma, beta, each of the sizes of `axis`.

    Parameters
    ----------
    axis : int or list of int
        Axes over which mean and variance are taken; never the batch.
    epsilon : float
        Added to the variance; positive.
    center, scale : bool
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    """

    def __init__(
        self, axis: int | Sequence[int] = -1, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", beta_regularizer: Any = None,
        gamma_regularizer: Any = None, beta_constraint: Any = None, gamma_constraint: Any = None, *,
        name: str | None = None, trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, name=name, trainable=trainable, dtype=dtype,
        )  # fmt: skip
        axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
        if not axes:
            raise ValueError("LayerNormalization: axis must be at least one, got []")
        checked = [whole(self, "axis", a, least=-8) for a in axes]
        self.axis = checked if isinstance(axis, (list, tuple)) else checked[0]

    def create_weights(self, input_shape: Shape) -> None:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        self._axes = sorted({self._axis(axis, input_shape) for axis in axes})
        if len(self._axes) < len(axes):
            raise ValueError(f'layer "{self.name}": axis {self.axis} names one axis of {input_shape} twice')
        self._ends = list(range(-len(self._axes), 0))
        self._shape = tuple(self._size(axis, input_shape) for axis in self._axes)
        self._add_weights(self._shape)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = np.moveaxis(x, self._axes, self._ends)
        if training:
            self._saved = x
        return np.moveaxis(ops.layer_norm(x, self._shape, *self._affine(), self.epsilon), self._ends, self._axes)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        x, dy = self._take(), np.moveaxis(dy, self._axes, self._ends)
        out = self._gradients()
        dx = ops.layer_norm_backward(dy, x, self._shape, self._affine()[0], self.epsilon, out=out)[0]
        return np.moveaxis(dx, self._ends, self._axes)


class GroupNormalization(_Normalization):
    """Bring each sample's groups of channels to mean 0 and variance 1, then scale and shift channels (Wu & He, ECCV 2018).

    Weights: gamma, beta, each (channels,).

    Parameters
    ----------
    groups : int
        Divides the number of channels; -1: a group for each channel (instance normalization).
    axis : int
        The channels' axis.
    epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, \
    gamma_constraint
        As for `LayerNormalization`.
    """

    def __init__(
        self, groups: int = 32, axis: int = -1, epsilon: float = 0.001, center: bool = True, scale: bool = True,
        beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", beta_regularizer: Any = None,
        gamma_regularizer: Any = None, beta_constraint: Any = None, gamma_constraint: Any = None, *,
        name: str | None = None, trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
            beta_constraint, gamma_constraint, name=name, trainable=trainable, dtype=dtype,
        )  # fmt: skip
        self.groups = -1 if groups == -1 else whole(self, "groups", groups)
        self.axis = whole(self, "axis", axis, least=-8)

    def create_weights(self, input_shape: Shape) -> None:
        axis = self._axis(self.axis, input_shape)
        size = self._size(axis, input_shape)
        self._count = size if self.groups == -1 else self.groups
        if size % self._count:
            raise ValueError(f'layer "{self.name}": {size} channels are no multiple of groups={self.groups}')
        self._add_weights((size,))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = np.moveaxis(x, self.axis, -1)
        if training:
            self._saved = x
        return np.moveaxis(ops.group_norm(x, self._count, *self._affine(), self.epsilon), -1, self.axis)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        x, dy = self._take(), np.moveaxis(dy, self.axis, -1)
        dx = ops.group_norm_backward(dy, x, self._count, self._affine()[0], self.epsilon, out=self._gradients())[0]
        return np.moveaxis(dx, -1, self.axis)
