from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, number, whole
from ._arguments import data_format as format_of
from .base import Layer, channels_last, like_input


class Dropout(Layer):
    """In training, set a fraction `rate` of the values to 0 and scale the others by ``1 / (1 - rate)``.

    Which ones depends on the seed, the layer and the number of the training step alone: not on threads, and a resumed
    training draws what the uninterrupted one would have drawn (Srivastava et al., JMLR 2014).

    Parameters
    ----------
    rate : float
        ``0 <= rate < 1``.
    noise_shape : tuple of int or None, optional
        An entry for each axis of the input, the batch included: 1 where all along the axis are dropped or kept together,
        else its size or None.
    seed : int, optional
        By default from the network's seed.
    """

    def __init__(
        self, rate: float, noise_shape: Sequence[int | None] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = number(self, "rate", rate)
        if not 0 <= self.rate < 1:
            raise ValueError(f"{type(self).__name__}: rate must be 0 <= rate < 1, got {rate!r}")
        if noise_shape is not None and not isinstance(noise_shape, (list, tuple)):
            raise TypeError(f"Dropout: noise_shape must be a tuple of ints or None, got {noise_shape!r}")
        self.noise_shape = None
        if noise_shape is not None:
            self.noise_shape = tuple(None if n is None else whole(self, "noise_shape", n) for n in noise_shape)
        self.seed = None if seed is None else whole(self, "seed", seed, least=0)

    def check_input(self, shape: Shape) -> None:
        super().check_input(shape)
        noise = shape if self.noise_shape is None else self.noise_shape
        if len(noise) != len(shape) or any(m not in (None, 1, n) for m, n in zip(noise[1:], shape[1:])):
            raise ValueError(f'layer "{self.name}": noise_shape {self.noise_shape} does not fit the input shape {shape}')

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if not training:
            return x
        key = dict(seed=self._stream if self.seed is None else self.seed, step=self._clock.step)
        self._saved = key
        return self._drop(x, key) if self.rate else x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        key = self._take()
        return self._drop(dy, key, backward=True) if self.rate else dy

    def _drop(self, x: np.ndarray, key: dict[str, Any], backward: bool = False) -> np.ndarray:
        return (ops.dropout_backward if backward else ops.dropout)(x, self.rate, noise_shape=self.noise_shape, **key)


class SpatialDropout2D(Dropout):
    """As `Dropout`, but a channel of a sample is dropped or kept as a whole (Tompson et al., CVPR 2015).

    Parameters
    ----------
    rate : float
        ``0 <= rate < 1``.
    data_format : "channels_last" or "channels_first", optional
    seed : int, optional
        By default from the network's seed.
    """

    ndim = 4

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, *, name: str | None = None,
        trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(rate, seed=seed, name=name, trainable=trainable, dtype=dtype)
        self.data_format = format_of(self, data_format)

    def _drop(self, x: np.ndarray, key: dict[str, Any], backward: bool = False) -> np.ndarray:
        op = ops.dropout2d_backward if backward else ops.dropout2d
        return like_input(op(channels_last(x, self.data_format), self.rate, **key), self.data_format)
