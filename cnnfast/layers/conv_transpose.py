from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, ops
from ._arguments import Shape
from ._geometry import spatial, with_spatial
from .base import channels_last, like_input
from .conv import Conv2D


class Conv2DTranspose(Conv2D):
    """The convolution that goes the other way: it makes maps larger by its strides, as in Keras.

    It is the gradient of a `Conv2D` with respect to its input, forwards. Input (batch, height, width, channels), output
    (batch, height', width', filters) with ``height' = height * stride`` for padding "same" and ``height * stride +
    max(kernel - stride, 0)`` for "valid". Weights: kernel (kernel height, kernel width, filters, channels), bias (filters,).

    Parameters
    ----------
    filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias
        As for `Conv2D`.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer
        As for `Conv2D`.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid", *,
        data_format: str | None = None, dilation_rate: Any = (1, 1), activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, name: str | None = None, trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, 1, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, name=name, trainable=trainable,
            dtype=dtype,
        )  # fmt: skip

    def create_weights(self, input_shape: Shape) -> None:
        shape = (*self.kernel_size, self.filters, self._input_channels(input_shape))
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer, regularizer=self.kernel_regularizer)
        self._add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = []
        for n, k, s, d in zip(spatial(input_shape, self.data_format), self.kernel_size, self.strides, self.dilation_rate):
            more = max((k - 1) * d + 1 - s, 0) if self.padding == "valid" else 0
            sizes.append(None if n is None else n * s + more)
        return with_spatial(input_shape, (sizes[0], sizes[1]), self.filters, self.data_format)

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        shape = self.compute_output_shape(x.shape)
        x = channels_last(x, self.data_format)
        if self.data_format == "channels_first":
            shape = (shape[0], shape[2], shape[3], shape[1])
        z = ops.conv2d_backward_input(x, self.kernel.data, shape, *self._geometry())
        if self.bias is not None:
            np.add(z, self.bias.data, out=z)
        activation = activations.linear if logits else self.activation
        y = activation.forward(z)
        if training:
            self._saved = x, z if activation.keeps == "x" else y, activation
        return like_input(y, self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        x, kept, activation = self._take()
        dy = activation.backward(channels_last(dy, self.data_format), kept)
        if self.trainable:
            ops.conv2d_backward_weight(dy, x, self.kernel.shape, *self._geometry(), out=self.kernel.grad)
            if self.bias is not None:
                ops.conv2d_backward_bias(dy, out=self.bias.grad)
        if not self.needs_input_gradient:
            return None
        return like_input(ops.conv2d(dy, self.kernel.data, None, *self._geometry()), self.data_format)
