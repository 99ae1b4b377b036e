"""A network, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..layers import Layer
    from ..models import Sequential


def walk(model: Sequential, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Yield name and layer in order; those of a nested Sequential are named "outer/inner"."""
    for layer in model.layers:
        if isinstance(layer, type(model)):
            yield from walk(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def input_shape(function: str, model: Sequential) -> tuple[int, ...]:
    """The shape of one image that the network takes."""
    shape = known(function, model)
    if None in shape:
        raise ValueError(f"{function}: model must take images of one size, it takes {shape}")
    return tuple(size for size in shape if size is not None)


def one(function: str, model: Sequential, image: np.ndarray) -> np.ndarray:
    """`image` as a batch of one, in the network's dtype."""
    image, shape = np.asarray(image), known(function, model)
    if image.ndim == len(shape) - 1 and shape[-1] == 1:
        image = image[..., None]
    if image.ndim != len(shape) or any(size not in (None, given) for size, given in zip(shape, image.shape)):
        raise ValueError(f"{function}: image must have shape {shape}, got {image.shape}")
    return image[None].astype(model.dtype)


def known(function: str, model: Sequential) -> tuple[int | None, ...]:
    if model.input_shape is None:
        raise ValueError(f"{function}: model is not built: call fit or build first")
    return tuple(model.input_shape[1:])
