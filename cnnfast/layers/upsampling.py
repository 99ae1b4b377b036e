from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, choice, pair
from ._arguments import data_format as format_of
from ._geometry import channels, spatial, with_spatial
from .base import Layer, channels_last, like_input


class UpSampling2D(Layer):
    """The image enlarged by whole factors, as in Keras.

    Parameters
    ----------
    size : int or (int, int)
        Factors: vertical, horizontal.
    data_format : "channels_last" or "channels_first", optional
    interpolation : "nearest" or "bilinear"
        Each pixel repeated, or linear between the pixels' centers.
    """

    ndim = 4

    def __init__(
        self, size: Any = (2, 2), data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size = pair(self, "size", size)
        self.data_format = format_of(self, data_format)
        self.interpolation = choice(self, "interpolation", interpolation, ("nearest", "bilinear"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = zip(spatial(input_shape, self.data_format), self.size)
        height, width = (None if n is None else n * factor for n, factor in sizes)
        return with_spatial(input_shape, (height, width), channels(input_shape, self.data_format), self.data_format)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = True
        return like_input(
            ops.upsample2d(channels_last(x, self.data_format), self.size, self.interpolation), self.data_format
        )

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._take()
        dx = ops.upsample2d_backward(channels_last(dy, self.data_format), self.size, self.interpolation)
        return like_input(dx, self.data_format)
