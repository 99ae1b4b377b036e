"""Layers that change images at random in training, so that no two epochs show a network the same ones; as in Keras.

What they draw depends on the seed, the layer and the number of the training step alone: not on threads, and a resumed
training draws what the uninterrupted one would have drawn. Each sample is changed in its own way. In inference they pass
images on as they are (`RandomCrop` takes the middle).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape, choice, number, whole
from ._arguments import data_format as format_of
from ._geometry import channels, spatial, with_spatial
from .base import Layer, channels_last, like_input


class Rescaling(Layer):
    """``x * scale + offset``.

    Parameters
    ----------
    scale, offset : float or list of float
        A list has a number for each size of the last axis.
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = self._numbers("scale", scale), self._numbers("offset", offset)

    def _numbers(self, name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        return [number(self, name, v) for v in value] if isinstance(value, (list, tuple)) else number(self, name, value)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            if isinstance(value, list) and len(value) not in (1, input_shape[-1]):
                raise ValueError(f'layer "{self.name}": {name} has {len(value)} numbers for the last axis of {input_shape}')
        return input_shape

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            self._saved = True
        return ops.rescale(x, self.scale, self.offset)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self._take()
        return ops.rescale(dy, self.scale)


class _Random(Layer):
    """`_draw` says what to do with the samples, `_change` does it, `_change_back` is its gradient."""

    ndim = 4
    seed: int | None
    data_format: str = "channels_last"

    _draw: Callable[[np.ndarray], tuple[Any, ...]]
    _change: Callable[..., np.ndarray]
    _change_back: Callable[..., np.ndarray]

    @property
    def _key(self) -> dict[str, int]:
        """What the drawing depends on."""
        return {"seed": self._stream if self.seed is None else self.seed, "step": self._clock.step}

    def _uniform(self, samples: int, *bounds: tuple[float, float]) -> tuple[np.ndarray, ...]:
        """For each of `bounds`, a number between them for each sample."""
        return tuple(ops.random_uniform((len(bounds), samples), *map(list, zip(*bounds)), **self._key))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if not training:
            return x
        x = channels_last(x, self.data_format)
        drawn = self._draw(x)
        self._saved = x, drawn
        return like_input(self._change(x, *drawn), self.data_format)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        x, drawn = self._take()
        if not self.needs_input_gradient:
            return None
        return like_input(self._change_back(channels_last(dy, self.data_format), x, *drawn), self.data_format)

    def _seed(self, seed: Any) -> int | None:
        return None if seed is None else whole(self, "seed", seed, least=0)

    def _bounds(self, name: str, factor: Any) -> tuple[float, float]:
        """(lowest, highest) from two numbers, or from one that is meant both ways; none is beyond -1 and 1."""
        given = factor if isinstance(factor, (list, tuple)) else (factor,)
        if len(given) not in (1, 2):
            raise ValueError(f"{type(self).__name__}: {name} must be a number or two, got {factor!r}")
        values = sorted(number(self, name, value) for value in given)
        if values[0] < -1 or values[-1] > 1:
            raise ValueError(f"{type(self).__name__}: {name} must be from -1 to 1, got {factor!r}")
        return (values[0], values[1]) if len(values) == 2 else (-abs(values[0]), abs(values[0]))

    def _range(self, value_range: Any) -> tuple[float, float]:
        if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
            raise ValueError(f"{type(self).__name__}: value_range must be (lowest, highest), got {value_range!r}")
        low, high = (number(self, "value_range", value) for value in value_range)
        if low >= high:
            raise ValueError(f"{type(self).__name__}: value_range must be (lowest, highest), got {value_range!r}")
        return low, high


class RandomFlip(_Random):
    """Turn images left to right or upside down, each with probability 1/2 and independently.

    Parameters
    ----------
    mode : "horizontal", "vertical" or "horizontal_and_vertical"
    seed : int, optional
        By default from the network's seed.
    data_format : "channels_last" or "channels_first", optional
    """

    def __init__(
        self, mode: str = "horizontal_and_vertical", seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mode = choice(self, "mode", mode, ("horizontal", "vertical", "horizontal_and_vertical"))
        self.seed, self.data_format = self._seed(seed), format_of(self, data_format)

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        chances = [0.5 if way in self.mode else 0 for way in ("vertical", "horizontal")]
        return tuple(ops.random_bernoulli((2, len(x)), chances, **self._key))

    def _change(self, x: np.ndarray, vertical: Any, horizontal: Any) -> np.ndarray:
        return ops.flip2d(x, vertical, horizontal)

    def _change_back(self, dy: np.ndarray, x: np.ndarray, vertical: Any, horizontal: Any) -> np.ndarray:
        return ops.flip2d(dy, vertical, horizontal)


class _RandomAffine(_Random):
    def __init__(
        self, fill_mode: str, interpolation: str, seed: int | None, fill_value: float, data_format: str | None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.fill_mode = choice(self, "fill_mode", fill_mode, ("reflect", "constant", "nearest", "wrap"))
        self.interpolation = choice(self, "interpolation", interpolation, ("bilinear", "nearest"))
        self.seed, self.data_format = self._seed(seed), format_of(self, data_format)
        self.fill_value = number(self, "fill_value", fill_value)

    def _change(self, x: np.ndarray, matrix: Any) -> np.ndarray:
        return ops.affine2d(x, matrix, self.fill_mode, self.interpolation, self.fill_value)

    def _change_back(self, dy: np.ndarray, x: np.ndarray, matrix: Any) -> np.ndarray:
        return ops.affine2d_backward(dy, matrix, self.fill_mode, self.interpolation)


class RandomTranslation(_RandomAffine):
    """Shift images.

    Parameters
    ----------
    height_factor, width_factor : float or (float, float)
        By at most this fraction of the size, from -1 to 1: down or up, right or left; two numbers are the lowest and the
        highest, positive is down and right.
    fill_mode : "reflect", "constant", "nearest" or "wrap"
        What comes in: the image mirrored at its edge, `fill_value`, its edge pixels, its other side.
    interpolation : "bilinear" or "nearest"
    seed : int, optional
        By default from the network's seed.
    fill_value : float
    data_format : "channels_last" or "channels_first", optional
    """

    def __init__(
        self, height_factor: Any, width_factor: Any, fill_mode: str = "reflect", interpolation: str = "bilinear",
        seed: int | None = None, fill_value: float = 0.0, data_format: str | None = None, *, name: str | None = None,
        trainable: bool = True, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            fill_mode, interpolation, seed, fill_value, data_format, name=name, trainable=trainable, dtype=dtype
        )
        self.height_factor = self._bounds("height_factor", height_factor)
        self.width_factor = self._bounds("width_factor", width_factor)

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        return (ops.translation2d(*self._uniform(len(x), self.height_factor, self.width_factor), x.shape[1:3]),)


class RandomRotation(_RandomAffine):
    """Turn images about their center.

    Parameters
    ----------
    factor : float or (float, float)
        By at most this fraction of a full turn, either way; two numbers are the lowest and the highest, positive is
        counter-clockwise.
    fill_mode, interpolation, seed, fill_value, data_format
        As for `RandomTranslation`.
    """

    def __init__(
        self, factor: Any, fill_mode: str = "reflect", interpolation: str = "bilinear", seed: int | None = None,
        fill_value: float = 0.0, data_format: str | None = None, *, name: str | None = None, trainable: bool = True,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            fill_mode, interpolation, seed, fill_value, data_format, name=name, trainable=trainable, dtype=dtype
        )
        self.factor = self._bounds("factor", factor)

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        return (ops.rotation2d(*self._uniform(len(x), self.factor), x.shape[1:3]),)


class RandomCrop(_Random):
    """Cut a window out of images: anywhere in training, from the middle in inference.

    Parameters
    ----------
    height, width : int
        Size of the window, at most that of the image.
    seed : int, optional
        By default from the network's seed.
    data_format : "channels_last" or "channels_first", optional
    """

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.height, self.width = whole(self, "height", height), whole(self, "width", width)
        self.seed, self.data_format = self._seed(seed), format_of(self, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        window = (self.height, self.width)
        if any(n is not None and n < size for n, size in zip(spatial(input_shape, self.data_format), window)):
            raise ValueError(f'layer "{self.name}": its window of {window} does not fit into the input {input_shape}')
        return with_spatial(input_shape, window, channels(input_shape, self.data_format), self.data_format)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if training:
            return super().forward(x, training)
        x = channels_last(x, self.data_format)
        return like_input(self._change(x, *self._middle(x)), self.data_format)

    def _middle(self, x: np.ndarray) -> tuple[int, ...]:
        return tuple((n - size) // 2 for n, size in zip(x.shape[1:3], (self.height, self.width)))

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        room = [x.shape[1] - self.height + 1, x.shape[2] - self.width + 1]
        return tuple(ops.random_integers((2, len(x)), 0, room, **self._key))

    def _change(self, x: np.ndarray, top: Any, left: Any) -> np.ndarray:
        return ops.crop2d(x, top, left, self.height, self.width)

    def _change_back(self, dy: np.ndarray, x: np.ndarray, top: Any, left: Any) -> np.ndarray:
        return ops.crop2d_backward(dy, top, left, x.shape)


class RandomBrightness(_Random):
    """Make images brighter or darker.

    Parameters
    ----------
    factor : float or (float, float)
        By at most this fraction of the range, from -1 to 1, either way; two numbers are the lowest and the highest.
    value_range : (float, float)
        Of the pixels; what leaves it is clipped.
    seed : int, optional
        By default from the network's seed.
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.value_range = self._bounds("factor", factor), self._range(value_range)
        self.seed = self._seed(seed)

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        width = self.value_range[1] - self.value_range[0]
        return self._uniform(len(x), (self.factor[0] * width, self.factor[1] * width))

    def _change(self, x: np.ndarray, delta: Any) -> np.ndarray:
        return ops.adjust_brightness(x, delta, self.value_range)

    def _change_back(self, dy: np.ndarray, x: np.ndarray, delta: Any) -> np.ndarray:
        return ops.adjust_brightness_backward(dy, x, delta, self.value_range)


class RandomContrast(_Random):
    """Pull pixels to or from the mean of their image's channel, by a factor from ``1 - lower`` to ``1 + upper``.

    Parameters
    ----------
    factor : float or (float, float)
        (lower, upper), each from 0 to 1; one number is both.
    value_range : (float, float)
        Of the pixels; what leaves it is clipped.
    seed : int, optional
        By default from the network's seed.
    data_format : "channels_last" or "channels_first", optional
    """

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, *, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        factors = factor if isinstance(factor, (list, tuple)) else (factor, factor)
        if len(factors) != 2:
            raise ValueError(f"RandomContrast: factor must be a number or two, got {factor!r}")
        lower, upper = (number(self, "factor", value) for value in factors)
        if not (0 <= lower <= 1 and 0 <= upper <= 1):
            raise ValueError(f"RandomContrast: factor must be from 0 to 1, got {factor!r}")
        self.factor, self.value_range = (lower, upper), self._range(value_range)
        self.seed, self.data_format = self._seed(seed), format_of(self, data_format)

    def _draw(self, x: np.ndarray) -> tuple[Any, ...]:
        return self._uniform(len(x), (1 - self.factor[0], 1 + self.factor[1]))

    def _change(self, x: np.ndarray, contrast: Any) -> np.ndarray:
        return ops.adjust_contrast(x, contrast, self.value_range)

    def _change_back(self, dy: np.ndarray, x: np.ndarray, contrast: Any) -> np.ndarray:
        return ops.adjust_contrast_backward(dy, x, contrast, self.value_range)
