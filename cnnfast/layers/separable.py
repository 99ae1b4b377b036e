from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..activations import ActivationFunction
from ..regularizers import Regularizer
from ._arguments import Shape
from .base import Layer
from .conv import Conv2D
from .depthwise import DepthwiseConv2D


class SeparableConv2D(Layer):
    """A convolution of each channel by itself, then one over the channels of each pixel, as in Keras (Chollet, CVPR 2017).

    Input (batch, height, width, channels), output (batch, height', width', filters). Weights: depthwise kernel (kernel
    height, kernel width, channels, depth_multiplier), pointwise kernel (1, 1, channels * depth_multiplier, filters), bias
    (filters,).

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias
        As for `Conv2D`.
    depth_multiplier : int
        Channels that the first convolution makes of each.
    depthwise_initializer, pointwise_initializer, bias_initializer : str or Initializer
    depthwise_regularizer, pointwise_regularizer, bias_regularizer, activity_regularizer : str or Regularizer, optional
        activity_regularizer: of the output.
    depthwise_constraint, pointwise_constraint, bias_constraint : str or Constraint, optional
    """

    ndim = 4

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        data_format: str | None = None, dilation_rate: Any = (1, 1), depth_multiplier: int = 1, activation: Any = None,
        use_bias: bool = True, depthwise_initializer: Any = "glorot_uniform", pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros", depthwise_regularizer: Any = None, pointwise_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, depthwise_constraint: Any = None,
        pointwise_constraint: Any = None, bias_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.depthwise = DepthwiseConv2D(
            kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate, use_bias=False,
            depthwise_initializer=depthwise_initializer, depthwise_regularizer=depthwise_regularizer,
            depthwise_constraint=depthwise_constraint, trainable=self._trainable,
        )  # fmt: skip
        self.pointwise = Conv2D(
            filters, 1, data_format=data_format, activation=activation, use_bias=use_bias,
            kernel_initializer=pointwise_initializer, bias_initializer=bias_initializer,
            kernel_regularizer=pointwise_regularizer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, kernel_constraint=pointwise_constraint,
            bias_constraint=bias_constraint, trainable=self._trainable,
        )  # fmt: skip
        for name in ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "depth_multiplier",
                     "depthwise_initializer", "depthwise_regularizer", "depthwise_constraint"):  # fmt: skip
            setattr(self, name, getattr(self.depthwise, name))
        for name in ("filters", "use_bias", "bias_initializer", "bias_regularizer", "bias_constraint"):
            setattr(self, name, getattr(self.pointwise, name))
        self.pointwise_initializer = self.pointwise.kernel_initializer
        self.pointwise_regularizer = self.pointwise.kernel_regularizer
        self.pointwise_constraint = self.pointwise.kernel_constraint

    @property
    def activation(self) -> ActivationFunction:  # type: ignore[override]
        return self.pointwise.activation

    @property
    def activity_regularizer(self) -> Regularizer | None:  # type: ignore[override]
        return self.pointwise.activity_regularizer

    @property
    def sublayers(self) -> Sequence[Layer]:
        return [self.depthwise, self.pointwise]

    def named_sublayers(self) -> list[tuple[str, Layer]]:
        return [("depthwise", self.depthwise), ("pointwise", self.pointwise)]

    def _connect(self, input_shape: Shape, dtype: np.dtype) -> Shape:
        self.pointwise._connect(self.depthwise._connect(input_shape, dtype), dtype)
        return super()._connect(input_shape, dtype)

    def check_input(self, shape: Shape) -> None:
        self.depthwise.check_input(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(input_shape))

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        return self.pointwise.forward(self.depthwise.forward(x, training), training, logits)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        self.depthwise.needs_input_gradient = self.needs_input_gradient
        dx = self.pointwise.backward(dy)
        assert dx is not None
        return self.depthwise.backward(dx)
