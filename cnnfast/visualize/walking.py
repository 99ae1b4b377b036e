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


def one(function: str, model: Sequential, image: np.ndarray) -> np.ndarray:
    """`image` as a batch of one, in the network's dtype."""
    image = np.asarray(image)
    shape = tuple(model.input_shape[1:])
    if image.ndim == len(shape) - 1 and shape[-1] == 1:
        image = image[..., None]
    if image.shape != shape:
        raise ValueError(f"{function}: image must have shape {shape}, got {image.shape}")
    return image[None].astype(model.dtype)
