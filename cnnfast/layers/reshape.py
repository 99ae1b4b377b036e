from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, pair, whole
from ._arguments import data_format as format_of
from ._geometry import channels, spatial, with_spatial
from .base import Layer, channels_last, like_input, reshaped


class Flatten(Layer):
    """All axes but the batch in one: (batch, height * width * channels), channels varying fastest for both data formats."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = format_of(self, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = input_shape[1:]
        return (input_shape[0], None if None in sizes else math.prod(n for n in sizes if n is not None))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        x = channels_last(x, self.data_format) if x.ndim > 2 else x
        if training:
            self._saved = x.shape
        return reshaped(x, (len(x), math.prod(x.shape[1:])))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dx = reshaped(dy, self._take())
        return like_input(dx, self.data_format) if dx.ndim > 2 else dx


class Reshape(Layer):
    """The same values in another shape.

    Parameters
    ----------
    target_shape : tuple of int
        Without the batch; one of them may be -1.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(target_shape, (int, str)) or not hasattr(target_shape, "__iter__"):
            raise TypeError(f"Reshape: target_shape must be a tuple of ints, got {target_shape!r}")
        self.target_shape = tuple(n if n == -1 else whole(self, "target_shape", n) for n in target_shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"Reshape: target_shape must have at most one -1, got {self.target_shape}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            return (input_shape[0], *(None if n == -1 else n for n in self.target_shape))
        size = math.prod(n for n in input_shape[1:] if n is not None)
        rest = math.prod(n for n in self.target_shape if n != -1)
        if size % rest or (size != rest and -1 not in self.target_shape):
            raise ValueError(f'layer "{self.name}": input shape {input_shape} does not fit target_shape {self.target_shape}')
        return (input_shape[0], *(size // rest if n == -1 else n for n in self.target_shape))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = x.shape
        return reshaped(x, (len(x), *self.target_shape))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return reshaped(dy, self._take())


class Cropping2D(Layer):
    """The image without some rows and columns at its edges.

    Parameters
    ----------
    cropping : int, (int, int) or ((int, int), (int, int))
        All sides; vertical and horizontal; ((top, bottom), (left, right)).
    data_format : "channels_last" or "channels_first", optional
    """

    ndim = 4

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = _sides(self, "cropping", cropping)
        self.data_format = format_of(self, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = zip(spatial(input_shape, self.data_format), self.cropping)
        height, width = (None if n is None else n - sum(crop) for n, crop in sizes)
        if any(n is not None and n < 1 for n in (height, width)):
            raise ValueError(f'layer "{self.name}": cropping {self.cropping} leaves nothing of the input {input_shape}')
        return with_spatial(input_shape, (height, width), channels(input_shape, self.data_format), self.data_format)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = True
        return like_input(ops.pad2d_backward(channels_last(x, self.data_format), self.cropping), self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._take()
        return like_input(ops.pad2d(channels_last(dy, self.data_format), self.cropping), self.data_format)


class ZeroPadding2D(Layer):
    """Rows and columns of zeros around the image.

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int))
        All sides; vertical and horizontal; ((top, bottom), (left, right)).
    data_format : "channels_last" or "channels_first", optional
    """

    ndim = 4

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = _sides(self, "padding", padding)
        self.data_format = format_of(self, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = zip(spatial(input_shape, self.data_format), self.padding)
        height, width = (None if n is None else n + sum(pad) for n, pad in sizes)
        return with_spatial(input_shape, (height, width), channels(input_shape, self.data_format), self.data_format)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = True
        return like_input(ops.pad2d(channels_last(x, self.data_format), self.padding), self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._take()
        return like_input(ops.pad2d_backward(channels_last(dy, self.data_format), self.padding), self.data_format)


def _sides(layer: Layer, name: str, value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) from one int, two, or two pairs."""
    axes = value if isinstance(value, (list, tuple)) else (value, value)
    if len(axes) != 2:
        raise ValueError(f"{type(layer).__name__}: {name} must be an int or a tuple of 2, got {value!r}")
    return pair(layer, name, axes[0], 0), pair(layer, name, axes[1], 0)
