"""Layers for sequences (batch, steps, channels): those for images, with the steps as an image of height 1.

Height and width are views of the same memory, so nothing is copied, and the kernels are those of the 2-D ops.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arguments import Shape, choice, single
from ._geometry import window_output
from .base import Layer
from .conv import Conv2D
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D, _Pooling2D


class _Line(Layer):
    """Put before a layer for images in the bases of a class, it makes that a layer for sequences."""

    ndim = 3
    data_format: str

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = super().compute_output_shape(self._image_shape(input_shape))
        axis = self._height
        return (*shape[:axis], *shape[axis + 1 :]) if len(shape) == 4 else shape

    def forward(self, x: np.ndarray, training: bool = False, *args: Any, **kwargs: Any) -> np.ndarray:
        return self._line(super().forward(np.expand_dims(x, self._height), training, *args, **kwargs))

    def backward(self, dy: np.ndarray) -> Any:
        dx = super().backward(np.expand_dims(dy, self._height) if dy.ndim == 3 else dy)
        return None if dx is None else self._line(dx)

    @property
    def _height(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def _image_shape(self, shape: Shape) -> Shape:
        return (*shape[: self._height], 1, *shape[self._height :])

    def _line(self, y: np.ndarray) -> np.ndarray:
        return np.squeeze(y, self._height) if y.ndim == 4 else y


class Conv1D(_Line, Conv2D):
    """1-D convolution (cross-correlation), as in Keras.

    Input (batch, steps, channels), output (batch, steps', filters). Weights: kernel (kernel_size, channels / groups,
    filters) and bias (filters,).

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size, strides, dilation_rate : int
    padding : "valid", "same" or "causal"
        "causal": an output depends on no later step; all padding is in front.
    data_format : "channels_last" or "channels_first", optional
        channels_first: (batch, channels, steps).
    groups, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, \
    activity_regularizer, kernel_constraint, bias_constraint
        As for `Conv2D`.
    """

    kernel_size: Any  # here and below one number, where the layer for images has two
    strides: Any
    dilation_rate: Any

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None,
        dilation_rate: Any = 1, groups: int = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, 1, 1, "valid", data_format, 1, groups, activation, use_bias, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )  # fmt: skip
        self.kernel_size = single(self, "kernel_size", kernel_size)
        self.strides = single(self, "strides", strides)
        self.dilation_rate = single(self, "dilation_rate", dilation_rate)
        self.padding = choice(self, "padding", padding, ("valid", "same", "causal"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image, padding = self._image_shape(input_shape), "valid" if self.padding == "valid" else "same"
        kernel, strides, dilation = ((1, *n) for n in (self.kernel_size, self.strides, self.dilation_rate))
        _, steps = window_output(self, image, self.data_format, kernel, strides, padding, dilation)
        return (image[0], steps, self.filters) if self._height == 1 else (image[0], self.filters, steps)

    def _geometry(self) -> tuple[Any, ...]:
        before = (self.kernel_size[0] - 1) * self.dilation_rate[0]
        padding = ((0, 0), (before, 0)) if self.padding == "causal" else self.padding
        return (1, *self.strides), padding, (1, *self.dilation_rate), self.groups

    def _weight(self) -> np.ndarray:
        return self.kernel.data[None]


class _Pooling1D(_Line, _Pooling2D):
    pool_size: Any
    strides: Any

    def __init__(
        self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(1, 1, padding, data_format, **kwargs)
        self.pool_size = single(self, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else single(self, "strides", strides)

    def _window(self) -> tuple[Any, Any, str]:
        return (1, *self.pool_size), (1, *self.strides), self.padding


class MaxPooling1D(_Pooling1D, MaxPooling2D):
    """Largest value of each window of a sequence, channel by channel; of equal ones, the first gets the gradient.

    Parameters
    ----------
    pool_size : int
    strides : int, optional
        By default `pool_size`.
    padding : "valid" or "same"
        Padding never counts.
    data_format : "channels_last" or "channels_first", optional
    """


class AveragePooling1D(_Pooling1D, AveragePooling2D):
    """Mean of each window of a sequence, channel by channel.

    Parameters
    ----------
    pool_size : int
    strides : int, optional
        By default `pool_size`.
    padding : "valid" or "same"
        Padding never counts.
    data_format : "channels_last" or "channels_first", optional
    """


class GlobalAveragePooling1D(_Line, GlobalAveragePooling2D):
    """Mean of each channel over all steps: (batch, channels).

    Parameters
    ----------
    data_format : "channels_last" or "channels_first", optional
    keepdims : bool
        Keep the steps as an axis of length 1.
    """


class GlobalMaxPooling1D(_Line, GlobalMaxPooling2D):
    """Largest value of each channel over all steps: (batch, channels).

    Parameters
    ----------
    data_format : "channels_last" or "channels_first", optional
    keepdims : bool
        Keep the steps as an axis of length 1.
    """
