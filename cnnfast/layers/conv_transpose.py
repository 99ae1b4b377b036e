from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, ops
from ._arguments import Shape, pair
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
    output_padding : int or (int, int), optional
        Less than `strides`. ``height' = (height - 1) * stride + kernel + output_padding`` for "valid"; for "same", 1 or 0
        (an odd or an even kernel) in the place of `kernel`.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, \
    bias_constraint
        As for `Conv2D`.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        output_padding: Any = None, data_format: str | None = None, dilation_rate: Any = (1, 1), activation: Any = None,
        use_bias: bool = True, kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
        kernel_constraint: Any = None, bias_constraint: Any = None, *, name: str | None = None,
        trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, 1, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, name=name, trainable=trainable, dtype=dtype,
        )  # fmt: skip
        self.output_padding = None if output_padding is None else pair(self, "output_padding", output_padding, 0)
        if self.output_padding and any(p >= s for p, s in zip(self.output_padding, self.strides)):
            raise ValueError(
                f"Conv2DTranspose: output_padding must be less than strides={self.strides}, got {self.output_padding}"
            )

    def create_weights(self, input_shape: Shape) -> None:
        shape = (*self.kernel_size, self.filters, self._input_channels(input_shape))
        self._add_kernel(shape)
        self._add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        reach = self._reach()
        sizes: list[int | None] = []
        for axis, (n, s) in enumerate(zip(spatial(input_shape, self.data_format), self.strides)):
            k = reach[axis]
            if self.output_padding is None:
                more = max(k, s) - s if self.padding == "valid" else 0
            else:
                more = (k if self.padding == "valid" else k % 2) + self.output_padding[axis] - s
            sizes.append(None if n is None else n * s + more)
        if any(n is not None and n < 1 for n in sizes):
            raise ValueError(f'layer "{self.name}": nothing is left of the input {input_shape}, only {tuple(sizes)}')
        return with_spatial(input_shape, (sizes[0], sizes[1]), self.filters, self.data_format)

    def forward(self, x: np.ndarray, training: bool = False, logits: bool = False) -> np.ndarray:
        shape = self.compute_output_shape(x.shape)
        x = channels_last(x, self.data_format)
        if self.data_format == "channels_first":
            shape = (shape[0], shape[2], shape[3], shape[1])
        z = ops.conv2d_backward_input(x, self.kernel.data, shape, *self._geometry())
        if self.bias is not None:
            ops.rescale(z, 1.0, self.bias.data, out=z)
        activation = activations.linear if logits else self.activation
        y = self._regularized(activation.forward(z), training)
        if training:
            self._saved = x, activation.kept(z, y), activation
        return like_input(y, self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        x, kept, activation = self._take()
        dy = activation.backward(self._regularized_back(channels_last(dy, self.data_format)), kept)
        if self.trainable:
            ops.conv2d_backward_weight(dy, x, self.kernel.shape, *self._geometry(), out=self.kernel.grad)
            if self.bias is not None:
                ops.conv2d_backward_bias(dy, out=self.bias.grad)
        if not self.needs_input_gradient:
            return None
        return like_input(ops.conv2d(dy, self.kernel.data, None, *self._geometry(), training=True), self.data_format)

    def _reach(self) -> list[int]:
        """Pixels from end to end of the dilated kernel."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation_rate)]

    def _geometry(self) -> tuple[Any, ...]:
        """That of the convolution whose gradient this is: it goes from the output to the input."""
        padding: Any = self.padding
        if self.output_padding is not None:
            padding = [_cut(*axis, self.padding) for axis in zip(self._reach(), self.output_padding)]
        return self.strides, padding, self.dilation_rate, self.groups


def _cut(reach: int, more: int, padding: str) -> tuple[int, int]:
    """Pixels cut off before and after the full output, as Keras has it: what `more` adds comes half on either side."""
    if padding == "valid":
        return 0, 0
    grown = reach + reach % 2 - 2 + more
    before = min((grown + 1) // 2, reach - 1)
    return reach - 1 - before, max(reach - 1 - (grown - before), 0)
