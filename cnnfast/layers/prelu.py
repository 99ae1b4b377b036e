from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import constraints, initializers, ops, regularizers
from ._arguments import Shape, whole
from .base import Layer


class PReLU(Layer):
    """`x`, times a learned alpha where it is negative (He et al., ICCV 2015). Weight: alpha, of the shape of a sample.

    Parameters
    ----------
    alpha_initializer : str or Initializer
    alpha_regularizer : str or Regularizer, optional
    alpha_constraint : str or Constraint, optional
    shared_axes : list of int, optional
        Axes, counted with the batch as 0, along which alpha is one number: [1, 2] for one alpha a channel.
    """

    def __init__(
        self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, alpha_constraint: Any = None,
        shared_axes: Sequence[int] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if shared_axes is not None and not isinstance(shared_axes, (list, tuple)):
            raise TypeError(f"PReLU: shared_axes must be a list of ints, got {shared_axes!r}")
        self.shared_axes = None if shared_axes is None else [whole(self, "shared_axes", axis) for axis in shared_axes]

    def create_weights(self, input_shape: Shape) -> None:
        shape = []
        if any(axis >= len(input_shape) for axis in self.shared_axes or ()):
            raise ValueError(f'layer "{self.name}": shared_axes {self.shared_axes} are no axes of {input_shape}')
        for axis, size in enumerate(input_shape[1:], 1):
            if axis in (self.shared_axes or ()):
                shape.append(1)
            elif size is None:
                raise ValueError(
                    f'layer "{self.name}": the size of axis {axis} must be known, or the axis in shared_axes, got {input_shape}'
                )
            else:
                shape.append(size)
                self._fixed_axes[axis] = size
        self.alpha = self.add_weight(
            "alpha", shape, self.alpha_initializer, True, self.alpha_regularizer, self.alpha_constraint
        )

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = x
        return ops.prelu(x, self.alpha.data)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        out = (None, self.alpha.grad if self.trainable else None)
        return ops.prelu_backward(dy, self._take(), self.alpha.data, out=out)[0]
