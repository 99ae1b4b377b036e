from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, constraints, initializers, ops, regularizers
from ..activations import ActivationFunction
from ._arguments import Shape, choice, flag, pair, whole
from ._arguments import data_format as format_of
from ._geometry import channels, window_output, with_spatial
from .base import Layer, channels_last, like_input


class Conv2D(Layer):
    """2-D convolution (cross-correlation), as in Keras.

    Input (batch, height, width, channels), output (batch, height', width', filters). Weights: kernel (kernel height, kernel
    width, channels / groups, filters) and bias (filters,), of these shapes for both data formats.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, dilation_rate : int or (int, int)
        Vertical, horizontal.
    padding : "valid" or "same"
        "same": ``ceil(size / stride)`` pixels; an odd padding pixel is at the bottom or right.
    data_format : "channels_last" or "channels_first", optional
    groups : int
        The input and the output channels are cut into so many groups, convolved one by one.
    activation : str or ActivationFunction, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str or Regularizer, optional
        activity_regularizer: of the output.
    kernel_constraint, bias_constraint : str or Constraint, optional
    **kwargs
        name, trainable, dtype.
    """

    ndim = 4
    activation: ActivationFunction

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        data_format: str | None = None, dilation_rate: Any = (1, 1), groups: int = 1, activation: Any = None,
        use_bias: bool = True, kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.filters = whole(self, "filters", filters)
        self.kernel_size = pair(self, "kernel_size", kernel_size)
        self.strides = pair(self, "strides", strides)
        self.padding = choice(self, "padding", padding, ("valid", "same"))
        self.data_format = format_of(self, data_format)
        self.dilation_rate = pair(self, "dilation_rate", dilation_rate)
        self.groups = whole(self, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(f"{type(self).__name__}: filters must be a multiple of groups, got {filters} and {groups}")
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
        cin = self._input_channels(input_shape)
        if cin % self.groups:
            raise ValueError(f'layer "{self.name}": {cin} input channels are no multiple of groups={self.groups}')
        shape = (*self.kernel_size, cin // self.groups, self.filters)
        self._add_kernel(shape)
        self._add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = window_output(
            self, input_shape, self.data_format, self.kernel_size, self.strides, self.padding, self.dilation_rate
        )
        return with_spatial(input_shape, size, self.filters, self.data_format)

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format)
        activation = activations.linear if logits else self.activation
        learns = training and self.trainable  # else its answers are those of inference, to the last bit
        z = ops.conv2d(
            x, self._weight(), self._bias(), *self._geometry(), activation=activation.fused, training=learns
        )
        y = self._regularized(activation.finish(z), training)
        if training:
            self._saved = x, activation.kept(z, y), activation
        return like_input(y, self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        x, kept, activation = self._take()
        dy = self._regularized_back(channels_last(dy, self.data_format))
        if self.trainable and self.bias is not None:
            dy = activation.backward_with_bias(dy, kept, self.bias.grad)
        else:
            dy = activation.backward(dy, kept)
        weight = self._weight()
        if self.trainable:
            out = self.kernel.grad.reshape(weight.shape)
            ops.conv2d_backward_weight(x, dy, weight.shape, *self._geometry(), out=out)
        if not self.needs_input_gradient:
            return None
        dx = ops.conv2d_backward_input(dy, weight, x.shape, *self._geometry())
        return like_input(dx, self.data_format)

    def _geometry(self) -> tuple[Any, ...]:
        return self.strides, self.padding, self.dilation_rate, self.groups

    def _weight(self) -> np.ndarray:
        return self.kernel.data

    def _bias(self) -> np.ndarray | None:
        return None if self.bias is None else self.bias.data

    def _add_kernel(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(
            "kernel", shape, self.kernel_initializer, regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )  # fmt: skip

    def _add_bias(self, size: int) -> None:
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (size,), self.bias_initializer, regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )  # fmt: skip

    def _input_channels(self, input_shape: Shape) -> int:
        cin = channels(input_shape, self.data_format)
        if cin is None:
            raise ValueError(f'layer "{self.name}": the number of channels must be known, got {input_shape}')
        self._fixed_axes = {len(input_shape) - 1 if self.data_format == "channels_last" else 1: cin}
        return cin
