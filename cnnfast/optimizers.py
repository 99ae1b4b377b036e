"""How a gradient becomes a step, by Keras's names. One op call updates the whole block of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from .registry import Configurable, lookup, snake_case, table_of


class Optimizer(Configurable):
    """Base class. An optimizer belongs to one network; its state is as flat as the block of weights.

    Parameters
    ----------
    learning_rate : float
        Not negative; may be set between steps.
    weight_decay : float, optional
        Before each step every weight shrinks by ``weight * weight_decay * learning_rate`` (Loshchilov & Hutter, ICLR 2019).
    name : str, optional

    Attributes
    ----------
    iterations : int
        Steps so far.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, learning_rate: Any, weight_decay: float | None = None, name: str | None = None) -> None:
        self.learning_rate = learning_rate
        if weight_decay is not None:
            weight_decay = _number(self, "weight_decay", weight_decay)
        self.weight_decay = weight_decay
        self.name = name or snake_case(type(self).__name__)
        self.iterations = 0
        self.state: dict[str, np.ndarray] = {}

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate = _number(self, "learning_rate", value)

    def build(self, data: np.ndarray) -> None:
        """Make the state for the block `data`, unless it is there already."""
        for slot in self.slots:
            if slot not in self.state or self.state[slot].shape != data.shape:
                self.state[slot] = np.zeros_like(data)

    def apply(self, data: np.ndarray, grad: np.ndarray, runs: Sequence[slice]) -> None:
        """Take one step on the stretches `runs` of the flat block `data`, in place."""
        self.iterations += 1
        for run in runs:
            self.step(data[run], grad[run], *(self.state[slot][run] for slot in self.slots))

    def step(self, data: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        """Take one step on the flat array `data`, in place."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent: ``w -= learning_rate * g``, or with momentum ``v = momentum * v - learning_rate * g; w += v``.

    Parameters
    ----------
    learning_rate, weight_decay, name
        As for `Optimizer`.
    momentum : float
        From 0 to 1.
    nesterov : bool
        ``w += momentum * v - learning_rate * g`` instead.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
        weight_decay: float | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay, name)
        self.momentum = _number(self, "momentum", momentum, 1.0)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, data: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        ops.sgd_step(
            data, grad, *state, lr=self.learning_rate, momentum=self.momentum, nesterov=self.nesterov,
            weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


class Adam(Optimizer):
    """Steps of about the learning rate, from the running mean of the gradient and of its square (Kingma & Ba, ICLR 2015).

    Parameters
    ----------
    learning_rate, weight_decay, name
        As for `Optimizer`.
    beta_1, beta_2 : float
        Memory of the two means, below 1.
    epsilon : float
        Added to the root of the second, positive.
    """

    slots = ("momentum", "velocity")

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        weight_decay: float | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay, name)
        self.beta_1, self.beta_2 = _below_one(self, "beta_1", beta_1), _below_one(self, "beta_2", beta_2)
        self.epsilon = _number(self, "epsilon", epsilon)

    def step(self, data: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        ops.adam_step(
            data, grad, *state, lr=self.learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, eps=self.epsilon,
            step=self.iterations, weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


class AdamW(Adam):
    """`Adam` with weight decay (Loshchilov & Hutter, ICLR 2019)."""

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float | None = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, name)


class RMSprop(Optimizer):
    """The gradient divided by the root of the running mean of its square (Hinton, Coursera 2012).

    Parameters
    ----------
    learning_rate, weight_decay, name
        As for `Optimizer`.
    rho : float
        Memory of the mean, below 1.
    momentum : float
        From 0 to 1.
    epsilon : float
        Added to the mean, positive.
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        weight_decay: float | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay, name)
        self.rho = _below_one(self, "rho", rho)
        self.momentum = _number(self, "momentum", momentum, 1.0)
        self.epsilon = _number(self, "epsilon", epsilon)
        self.slots = ("velocity", "momentum") if self.momentum else ("velocity",)

    def step(self, data: np.ndarray, grad: np.ndarray, *state: np.ndarray) -> None:
        ops.rmsprop_step(
            data, grad, *state, lr=self.learning_rate, rho=self.rho, eps=self.epsilon, momentum=self.momentum,
            weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


def _number(optimizer: Optimizer, name: str, value: Any, most: float = math.inf) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{type(optimizer).__name__}: {name} must be a number, got {value!r}")
    value = float(value)
    if not (0 <= value <= most and value < math.inf):
        rule = "finite and not negative" if most == math.inf else f"from 0 to {most:g}"
        raise ValueError(f"{type(optimizer).__name__}: {name} must be {rule}, got {value!r}")
    return value


def _below_one(optimizer: Optimizer, name: str, value: Any) -> float:
    value = _number(optimizer, name, value, 1.0)
    if value == 1:
        raise ValueError(f"{type(optimizer).__name__}: {name} must be below 1, got {value!r}")
    return value


TABLE = table_of(SGD, Adam, AdamW, RMSprop, sgd=SGD, adamw=AdamW, rmsprop=RMSprop)


def get(identifier: Any) -> Optimizer:
    """Return the optimizer that `identifier` means: "adam", "AdamW", an object, a class, a description."""
    return lookup("optimizer", identifier, Optimizer, TABLE)
