from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, constraints, initializers, ops, regularizers
from ..activations import ActivationFunction
from ._arguments import Shape, flag, whole
from .base import Layer


class Dense(Layer):
    """Every output from every input of the last axis: ``activation(x @ kernel + bias)``, as in Keras.

    Input (batch, ..., inputs), output (batch, ..., units). Weights: kernel (inputs, units) and bias (units,).

    Parameters
    ----------
    units : int
    activation : str or ActivationFunction, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str or Regularizer, optional
        activity_regularizer: of the output.
    kernel_constraint, bias_constraint : str or Constraint, optional
    **kwargs
        name, trainable, dtype.
    """

    activation: ActivationFunction

    def __init__(
        self, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.units = whole(self, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = flag(self, "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def create_weights(self, input_shape: Shape) -> None:
        inputs = input_shape[-1] if len(input_shape) > 1 else None
        if inputs is None:
            raise ValueError(f'layer "{self.name}": the size of the last axis must be known, got {input_shape}')
        self._fixed_axes = {-1: inputs}
        shape = (inputs, self.units)
        self.kernel = self.add_weight(
            "kernel", shape, self.kernel_initializer, regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (self.units,), self.bias_initializer, regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )  # fmt: skip

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        activation = activations.linear if logits else self.activation
        bias = None if self.bias is None else self.bias.data
        z = ops.dense(x, self.kernel.data, bias, activation=activation.fused)
        y = self._regularized(activation.finish(z), training)
        if training:
            self._saved = x, activation.kept(z, y), activation
        return y

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        x, kept, activation = self._take()
        dy = self._regularized_back(dy)
        if self.trainable and self.bias is not None:
            dy = activation.backward_with_bias(dy, kept, self.bias.grad)
        else:
            dy = activation.backward(dy, kept)
        if self.trainable:
            ops.dense_backward_weight(x, dy, out=self.kernel.grad)
        return ops.dense_backward_input(dy, self.kernel.data) if self.needs_input_gradient else None
