from __future__ import annotations

from typing import Any

import numpy as np

from .. import constraints, initializers, regularizers
from ._arguments import Shape, whole
from .conv import Conv2D


class DepthwiseConv2D(Conv2D):
    """Convolution of each channel by itself, as in Keras.

    Input (batch, height, width, channels), output (batch, height', width', channels * depth_multiplier), channel by channel.
    Weights: kernel (kernel height, kernel width, channels, depth_multiplier) and bias (channels * depth_multiplier,).

    Parameters
    ----------
    kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias
        As for `Conv2D`.
    depth_multiplier : int
        Output channels for each input channel.
    depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, activity_regularizer, \
    depthwise_constraint, bias_constraint
        As for `Conv2D`.
    """

    def __init__(
        self, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid", depth_multiplier: int = 1,
        data_format: str | None = None, dilation_rate: Any = (1, 1), activation: Any = None, use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        depthwise_constraint: Any = None, bias_constraint: Any = None, *, name: str | None = None,
        trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            1, kernel_size, strides, padding, data_format, dilation_rate, 1, activation, use_bias,
            bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, name=name,
            trainable=trainable, dtype=dtype,
        )  # fmt: skip
        self.depth_multiplier = whole(self, "depth_multiplier", depth_multiplier)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)

    def create_weights(self, input_shape: Shape) -> None:
        cin = self._input_channels(input_shape)
        self.groups, self.filters = cin, cin * self.depth_multiplier
        shape = (*self.kernel_size, cin, self.depth_multiplier)
        self.kernel = self.add_weight(
            "kernel", shape, self.depthwise_initializer, regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )  # fmt: skip
        self._add_bias(self.filters)

    def _weight(self) -> np.ndarray:
        return self.kernel.data.reshape(*self.kernel_size, 1, -1)  # the same memory, as the grouped convolution has it
