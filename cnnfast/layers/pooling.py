from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, choice, flag, pair
from ._arguments import data_format as format_of
from ._geometry import channels, window_output, with_spatial
from .base import Layer, channels_last, like_input


class _Pooling2D(Layer):
    ndim = 4

    def __init__(
        self, pool_size: Any = (2, 2), strides: Any = None, padding: str = "valid", data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.pool_size = pair(self, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair(self, "strides", strides)
        self.padding = choice(self, "padding", padding, ("valid", "same"))
        self.data_format = format_of(self, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size = window_output(self, input_shape, self.data_format, *self._window())
        return with_spatial(input_shape, size, channels(input_shape, self.data_format), self.data_format)

    def _window(self) -> tuple[Any, Any, str]:
        return self.pool_size, self.strides, self.padding


class MaxPooling2D(_Pooling2D):
    """Largest value of each window, channel by channel; of equal ones, the first gets the gradient.

    Parameters
    ----------
    pool_size : int or (int, int)
        Vertical, horizontal.
    strides : int or (int, int), optional
        By default `pool_size`.
    padding : "valid" or "same"
        Padding pixels never count.
    data_format : "channels_last" or "channels_first", optional
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format)
        if not training:
            y = ops.max_pool2d(x, *self._window())
            return like_input(y, self.data_format)
        y, indices = ops.max_pool2d(x, *self._window(), return_indices=True)
        self._saved = indices, x.shape
        return like_input(y, self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = channels_last(dy, self.data_format)
        dx = ops.max_pool2d_backward(dy, *self._take(), *self._window())
        return like_input(dx, self.data_format)


class AveragePooling2D(_Pooling2D):
    """Mean of each window's pixels, channel by channel.

    Parameters
    ----------
    pool_size : int or (int, int)
        Vertical, horizontal.
    strides : int or (int, int), optional
        By default `pool_size`.
    padding : "valid" or "same"
        Padding pixels never count.
    data_format : "channels_last" or "channels_first", optional
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format)
        if training:
            self._saved = x.shape
        return like_input(ops.avg_pool2d(x, *self._window()), self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dy = channels_last(dy, self.data_format)
        dx = ops.avg_pool2d_backward(dy, self._take(), *self._window())
        return like_input(dx, self.data_format)


class _GlobalPooling2D(Layer):
    ndim = 4

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = format_of(self, data_format)
        self.keepdims = flag(self, "keepdims", keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        c = channels(input_shape, self.data_format)
        return with_spatial(input_shape, (1, 1), c, self.data_format) if self.keepdims else (input_shape[0], c)

    def _outward(self, y: np.ndarray) -> np.ndarray:
        return like_input(y, self.data_format) if self.keepdims else y

    def _inward(self, dy: np.ndarray) -> np.ndarray:
        return channels_last(dy, self.data_format) if self.keepdims else dy


class GlobalAveragePooling2D(_GlobalPooling2D):
    """Mean of each channel over the whole image: (batch, channels).

    Parameters
    ----------
    data_format : "channels_last" or "channels_first", optional
    keepdims : bool
        Keep height and width as axes of length 1.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format)
        if training:
            self._saved = x.shape
        return self._outward(ops.global_avg_pool2d(x, keepdims=self.keepdims))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return like_input(ops.global_avg_pool2d_backward(self._inward(dy), self._take()), self.data_format)


class GlobalMaxPooling2D(_GlobalPooling2D):
    """Largest value of each channel of the whole image: (batch, channels).

    Parameters
    ----------
    data_format : "channels_last" or "channels_first", optional
    keepdims : bool
        Keep height and width as axes of length 1.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format)
        if not training:
            return self._outward(ops.global_max_pool2d(x, keepdims=self.keepdims))
        y, indices = ops.global_max_pool2d(x, keepdims=self.keepdims, return_indices=True)
        self._saved = indices, x.shape
        return self._outward(y)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return like_input(ops.global_max_pool2d_backward(self._inward(dy), *self._take()), self.data_format)
