from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ._arguments import Shape
from .base import Layer


class Residual(Layer):
    """``main(x) + shortcut(x)``: the block that residual networks are built of (He et al., CVPR 2016).

    Parameters
    ----------
    main : Layer or list of Layer
        A list is a `Sequential`.
    shortcut : Layer or list of Layer, optional
        By default x itself; its output has the shape of main's.
    """

    def __init__(self, main: Any, shortcut: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.main = branch(main, "Residual: main")
        self.shortcut = None if shortcut is None else branch(shortcut, "Residual: shortcut")
        if self.main is self.shortcut:
            raise ValueError("Residual: main and shortcut must be two layers, got the same one twice")
        if not self._trainable:
            self.trainable = False

    @property
    def sublayers(self) -> Sequence[Layer]:
        return [self.main] if self.shortcut is None else [self.main, self.shortcut]

    def named_sublayers(self) -> list[tuple[str, Layer]]:
        return list(zip(("main", "shortcut"), self.sublayers))

    def _connect(self, input_shape: Shape, dtype: np.dtype) -> Shape:
        for layer in self.sublayers:
            layer._connect(input_shape, dtype)
        return super()._connect(input_shape, dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = self.main.compute_output_shape(input_shape)
        other = self.shortcut.compute_output_shape(input_shape) if self.shortcut else input_shape
        if shape != other:
            raise ValueError(f'layer "{self.name}": main makes {shape} of {input_shape}, the shortcut {other}')
        return shape

    def check_input(self, shape: Shape) -> None:
        for layer in self.sublayers:
            layer.check_input(shape)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        other = self.shortcut.forward(x, training) if self.shortcut else x  # first: what ends main and the sum can be one pass
        return ops.add(self.main.forward(x, training), other)

    def backward(self, dy: np.ndarray) -> np.ndarray | None:
        for layer in self.sublayers:
            layer.needs_input_gradient = self.needs_input_gradient
        dx = self.main.backward(dy)
        other = self.shortcut.backward(dy) if self.shortcut else dy
        return ops.add(dx, other) if self.needs_input_gradient else None


def branch(layer: Any, kind: str) -> Layer:
    """Return a layer, or a network of a list of layers; `kind` is for messages."""
    from . import get  # a branch may be any layer, a network too

    if isinstance(layer, (list, tuple)):
        from ..models import Sequential

        return Sequential(layer)
    return get(layer, kind)
