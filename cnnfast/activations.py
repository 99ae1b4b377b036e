"""Activation functions by name, each with its gradient.

A function says what its gradient needs (`keeps`: its input "x" or its output "y") and whether the convolution and dense
ops can apply it as they store their result (`fused`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops


@dataclass(frozen=True)
class ActivationFunction:
    """One activation function, and how to go back through it.

    Attributes
    ----------
    name : str
    forward : callable
        ``forward(x) -> y``, any shape.
    backward : callable
        ``backward(dy, kept) -> dx``, where `kept` is what `keeps` says: x, y or None.
    keeps : "x", "y" or "nothing"
    fused : str or None
        Name under which `ops.conv2d` and `ops.dense` apply it themselves.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray, Any], np.ndarray]
    keeps: str = "y"
    fused: str | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.forward(np.asarray(x))

    def finish(self, x: np.ndarray) -> np.ndarray:
        """Apply what the op before could not fuse."""
        return x if self.fused else self.forward(x)

    def kept(self, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Return what `backward` needs of the input and the output."""
        return x if self.keeps == "x" else y if self.keeps == "y" else None

    def backward_with_bias(self, dy: np.ndarray, kept: Any, dbias: np.ndarray) -> np.ndarray:
        """As `backward`; its sum over all axes but the last, the gradient of a bias before the function, goes to `dbias`."""
        if self is relu:
            return ops.relu_backward(dy, kept, return_dbias=True, out=(None, dbias))[0]
        dx = self.backward(dy, kept)
        ops.dense_backward_bias(dx, out=dbias)
        return dx

    def serialize(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:  # by name: the callables don't pickle
        return get, (self.name,)

    def __repr__(self) -> str:
        return repr(self.name)


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _unchanged(dy: np.ndarray, kept: None) -> np.ndarray:
    return dy


linear = ActivationFunction("linear", _same, _unchanged, keeps="nothing")
relu = ActivationFunction("relu", lambda x: ops.relu(x), lambda dy, y: ops.relu_backward(dy, y), fused="relu")
sigmoid = ActivationFunction(
    "sigmoid", lambda x: ops.sigmoid(x), lambda dy, y: ops.sigmoid_backward(dy, y), fused="sigmoid"
)
tanh = ActivationFunction("tanh", lambda x: ops.tanh(x), lambda dy, y: ops.tanh_backward(dy, y))
softmax = ActivationFunction("softmax", lambda x: ops.softmax(x), lambda dy, y: ops.softmax_backward(dy, y))
leaky_relu = ActivationFunction(  # Keras's slope, not torch's
    "leaky_relu", lambda x: ops.leaky_relu(x, 0.2), lambda dy, x: ops.leaky_relu_backward(dy, x, 0.2), keeps="x"
)
elu = ActivationFunction("elu", lambda x: ops.elu(x), lambda dy, x: ops.elu_backward(dy, x, 1.0), keeps="x")
gelu = ActivationFunction("gelu", lambda x: ops.gelu(x), lambda dy, x: ops.gelu_backward(dy, x, "none"), keeps="x")
silu = ActivationFunction("silu", lambda x: ops.silu(x), lambda dy, x: ops.silu_backward(dy, x), keeps="x")

TABLE = {f.name: f for f in (linear, relu, sigmoid, tanh, softmax, leaky_relu, elu, gelu, silu)} | {"swish": silu}


def get(identifier: str | ActivationFunction | None) -> ActivationFunction:
    """Return the activation function that `identifier` means; None is "linear".

    Raises
    ------
    ValueError
        There is none of this name.
    TypeError
        `identifier` is no name and no `ActivationFunction`.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, ActivationFunction):
        return identifier
    if not isinstance(identifier, str):
        raise TypeError(f"activation must be a name or an ActivationFunction, got {identifier!r}")
    if identifier not in TABLE:
        raise ValueError(f"unknown activation {identifier[:100]!r}; choose from {', '.join(TABLE)}")
    return TABLE[identifier]
