"""Layers, with Keras's names, arguments and defaults. Naming a class here is also what lets model files name it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ..registry import lookup
from .activation import Activation, LeakyReLU, ReLU, Sigmoid, Softmax
from .activity import ActivityRegularization
from .augment import (
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    Rescaling,
)
from .base import Layer
from .conv import Conv2D
from .conv_transpose import Conv2DTranspose
from .dense import Dense
from .depthwise import DepthwiseConv2D
from .dropout import Dropout, SpatialDropout2D
from .input import Input
from .layer_norm import GroupNormalization, LayerNormalization
from .line import AveragePooling1D, Conv1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D
from .norm import BatchNormalization
from .parallel import Parallel
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .prelu import PReLU
from .reshape import Cropping2D, Flatten, Reshape, ZeroPadding2D
from .residual import Residual
from .separable import SeparableConv2D
from .upsampling import UpSampling2D

__all__ = [
    "Activation",
    "ActivityRegularization",
    "AveragePooling1D",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Input",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling1D",
    "MaxPooling2D",
    "PReLU",
    "Parallel",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Residual",
    "SeparableConv2D",
    "Sigmoid",
    "Softmax",
    "SpatialDropout2D",
    "UpSampling2D",
    "ZeroPadding2D",
]


custom_objects: ContextVar[Mapping[str, type[Layer]]] = ContextVar("custom_objects", default={})  # noqa: B039


def table() -> dict[str, type[Layer]]:
    """Every layer by its class's name: those above, `Sequential`, and what `load_model` was told of."""
    from ..models import Sequential

    classes: list[type[Layer]] = [globals()[name] for name in __all__ if name != "Layer"]
    return {**{cls.__name__: cls for cls in [*classes, Sequential]}, **custom_objects.get()}


def get(identifier: Any, kind: str = "layer type") -> Layer:
    """Return a layer, from itself or from its description."""
    if isinstance(identifier, (str, type)):  # neither says the arguments
        raise TypeError(f"{kind} must be a Layer, got {identifier!r}")
    return lookup(kind, identifier, Layer, table())
