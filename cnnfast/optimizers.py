"""How a gradient becomes a step, by Keras's names. One op call updates the whole block of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import ops, schedules
from .registry import Configurable, lookup, reject_unknown, serialize, snake_case, table_of
from .schedules import Schedule


class Optimizer(Configurable):
    """Base class. An optimizer belongs to one network; its state is as flat as the block of weights.

    Parameters
    ----------
    learning_rate : float or Schedule
        Not negative; may be set between steps, a schedule only to another one.
    weight_decay : float, optional
        Before each step every weight shrinks by ``weight * weight_decay * learning_rate`` (Loshchilov & Hutter, ICLR 2019).
    clipnorm, global_clipnorm : float, optional
        Scale the gradient down to at most this Euclidean norm: each weight array's by itself, or all together.
    clipvalue : float, optional
        Cut every element of the gradient to at most this size.
    use_ema : bool
        Keep a moving average of the weights, which replaces them when `fit` ends (Polyak & Juditsky, 1992).
    ema_momentum : float
        ``average = average * ema_momentum + weight * (1 - ema_momentum)``.
    ema_overwrite_frequency : int, optional
        Replace the weights by the average every so many steps too.
    name : str, optional

    Attributes
    ----------
    iterations : int
        Steps so far.
    state : dict of str to ndarray
        By slot, flat arrays of the size of the block of weights.
    """

    slots: tuple[str, ...] = ()
    _learning_rate: float | Schedule | None = None

    def __init__(
        self, learning_rate: Any, *, weight_decay: float | None = None, clipnorm: float | None = None,
        clipvalue: float | None = None, global_clipnorm: float | None = None, use_ema: bool = False,
        ema_momentum: float = 0.99, ema_overwrite_frequency: int | None = None, name: str | None = None,
        **unknown: Any,
    ) -> None:  # fmt: skip
        reject_unknown(type(self), unknown)
        self.learning_rate = learning_rate
        self.weight_decay = None if weight_decay is None else _number(self, "weight_decay", weight_decay)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(value is not None for value in clips.values()) > 1:
            raise ValueError(f"{type(self).__name__}: only one of clipnorm, clipvalue, global_clipnorm can be given")
        self.clipnorm, self.clipvalue, self.global_clipnorm = (
            None if value is None else _positive(self, name_, value) for name_, value in clips.items()
        )
        self.use_ema = bool(use_ema)
        self.ema_momentum = _number(self, "ema_momentum", ema_momentum, 1.0)
        if ema_overwrite_frequency is not None and not (isinstance(ema_overwrite_frequency, int) and ema_overwrite_frequency > 0):
            raise ValueError(
                f"{type(self).__name__}: ema_overwrite_frequency must be a positive int, got {ema_overwrite_frequency!r}"
            )
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.name = name or snake_case(type(self).__name__)
        self.iterations = 0
        self.state: dict[str, np.ndarray] = {}

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        rate = self._learning_rate
        assert rate is not None
        return rate(self.iterations) if isinstance(rate, Schedule) else rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, Mapping):
            value = schedules.get(value)
        if not isinstance(value, Schedule):
            value = _number(self, "learning_rate", value)
            if isinstance(self._learning_rate, Schedule):
                raise TypeError(
                    f"{type(self).__name__}: learning_rate follows a schedule, {self._learning_rate!r}, and can't be set to "
                    f"{value!r}: make the optimizer with a number"
                )
        self._learning_rate = value

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate": serialize(self._learning_rate)}

    @property
    def all_slots(self) -> tuple[str, ...]:
        """Names of the state's arrays."""
        return (*self.slots, "ema") if self.use_ema else self.slots

    @property
    def clips(self) -> bool:
        """Whether `clip` changes anything."""
        return any(limit is not None for limit in (self.clipnorm, self.clipvalue, self.global_clipnorm))

    def build(self, data: np.ndarray) -> None:
        """Make the state for the block `data`, unless it is there already."""
        for slot in self.all_slots:
            if slot not in self.state or self.state[slot].shape != data.shape:
                self.state[slot] = data.copy() if slot == "ema" else np.zeros_like(data)

    def clip(self, grad: np.ndarray, parts: Sequence[slice]) -> None:
        """Clip the flat gradient in place; `parts` are the weight arrays in it."""
        if self.clipvalue is not None:
            for part in parts:
                np.clip(grad[part], -self.clipvalue, self.clipvalue, out=grad[part])
        elif self.clipnorm is not None:
            for part in parts:
                _scale_to(grad, [part], self.clipnorm)
        elif self.global_clipnorm is not None:
            _scale_to(grad, parts, self.global_clipnorm)

    def apply(self, data: np.ndarray, grad: np.ndarray, runs: Sequence[slice]) -> None:
        """Take one step on the stretches `runs` of the flat block `data`, in place."""
        learning_rate = self.learning_rate
        is_first = self.iterations == 0
        self.iterations += 1
        for run in runs:
            self.step(data[run], grad[run], learning_rate, *(self.state[slot][run] for slot in self.slots))
            if self.use_ema:
                average = self.state["ema"][run]
                ops.moving_average(average, data[run], 0.0 if is_first else self.ema_momentum, out=average)
        if self.ema_overwrite_frequency and self.iterations % self.ema_overwrite_frequency == 0:
            self.finish(data, runs)

    def finish(self, data: np.ndarray, runs: Sequence[slice]) -> None:
        """Put the moving average in the weights' place, if there is one."""
        if self.use_ema and self.iterations:
            for run in runs:
                data[run] = self.state["ema"][run]

    def step(self, data: np.ndarray, grad: np.ndarray, learning_rate: float, *state: np.ndarray) -> None:
        """Take one step on the flat array `data`, in place."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent: ``w -= learning_rate * g``, or with momentum ``v = momentum * v - learning_rate * g; w += v``.

    Parameters
    ----------
    learning_rate, weight_decay, **options
        As for `Optimizer`.
    momentum : float
        Below 1.
    nesterov : bool
        ``w += momentum * v - learning_rate * g`` instead.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
        weight_decay: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
        self.momentum = _below_one(self, "momentum", momentum)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, data: np.ndarray, grad: np.ndarray, learning_rate: float, *state: np.ndarray) -> None:
        ops.sgd_step(
            data, grad, *state, lr=learning_rate, momentum=self.momentum, nesterov=self.nesterov,
            weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


class Adam(Optimizer):
    """Steps of about the learning rate, from the running mean of the gradient and of its square (Kingma & Ba, ICLR 2015).

    Parameters
    ----------
    learning_rate, weight_decay, **options
        As for `Optimizer`.
    beta_1, beta_2 : float
        Memory of the two means, below 1.
    epsilon : float
        Added to the root of the second, positive.
    amsgrad : bool
        Divide by the root of the largest second mean so far (Reddi et al., ICLR 2018).
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        amsgrad: bool = False, *, weight_decay: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
        self.amsgrad = bool(amsgrad)
        self.slots = ("momentum", "velocity", "velocity_hat") if self.amsgrad else ("momentum", "velocity")
        self.beta_1, self.beta_2 = _below_one(self, "beta_1", beta_1), _below_one(self, "beta_2", beta_2)
        self.epsilon = _number(self, "epsilon", epsilon)

    def step(self, data: np.ndarray, grad: np.ndarray, learning_rate: float, *state: np.ndarray) -> None:
        largest = state[2] if self.amsgrad else None
        ops.adam_step(
            data, grad, *state[:2], largest=largest, lr=learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, eps=self.epsilon,
            step=self.iterations, weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


class AdamW(Adam):
    """`Adam` with weight decay (Loshchilov & Hutter, ICLR 2019)."""

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float | None = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, amsgrad: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad=amsgrad, weight_decay=weight_decay, **options)


class RMSprop(Optimizer):
    """The gradient divided by the root of the running mean of its square (Hinton, Coursera 2012).

    Parameters
    ----------
    learning_rate, weight_decay, **options
        As for `Optimizer`.
    rho : float
        Memory of the mean, below 1.
    momentum : float
        Below 1.
    epsilon : float
        Added to the mean, positive.
    centered : bool
        Divide by the root of the gradient's variance instead: its running mean is squared and taken off.
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, *, weight_decay: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
        self.rho = _below_one(self, "rho", rho)
        self.momentum = _below_one(self, "momentum", momentum)
        self.epsilon = _number(self, "epsilon", epsilon)
        self.centered = bool(centered)
        self.slots = ("velocity", *(["momentum"] * bool(self.momentum)), *(["average_gradient"] * self.centered))

    def step(self, data: np.ndarray, grad: np.ndarray, learning_rate: float, *state: np.ndarray) -> None:
        kept = dict(zip(self.slots, state))
        ops.rmsprop_step(
            data, grad, kept["velocity"], kept.get("momentum"), mean=kept.get("average_gradient"), lr=learning_rate,
            rho=self.rho, eps=self.epsilon, momentum=self.momentum, weight_decay=self.weight_decay or 0.0,
        )  # fmt: skip


def _number(optimizer: Optimizer, name: str, value: Any, most: float = math.inf) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{type(optimizer).__name__}: {name} must be a number, got {value!r}")
    value = float(value)
    if not (0 <= value <= most and value < math.inf):
        rule = "finite and not negative" if most == math.inf else f"from 0 to {most:g}"
        raise ValueError(f"{type(optimizer).__name__}: {name} must be {rule}, got {value!r}")
    return value


def _positive(optimizer: Optimizer, name: str, value: Any) -> float:
    value = _number(optimizer, name, value)
    if value == 0:
        raise ValueError(f"{type(optimizer).__name__}: {name} must be positive, got {value!r}")
    return value


def _scale_to(grad: np.ndarray, parts: Sequence[slice], norm: float) -> None:
    """Scale `parts` of the gradient, together, to at most `norm`."""
    size = math.sqrt(sum(float(np.square(grad[part], dtype=np.float64).sum()) for part in parts))
    if size > norm:
        for part in parts:
            grad[part] *= norm / size


def _below_one(optimizer: Optimizer, name: str, value: Any) -> float:
    value = _number(optimizer, name, value, 1.0)
    if value == 1:
        raise ValueError(f"{type(optimizer).__name__}: {name} must be below 1, got {value!r}")
    return value


TABLE = table_of(SGD, Adam, AdamW, RMSprop, sgd=SGD, adamw=AdamW, rmsprop=RMSprop)


def get(identifier: Any) -> Optimizer:
    """Return the optimizer that `identifier` means: "adam", "AdamW", an object, a class, a description."""
    return lookup("optimizer", identifier, Optimizer, TABLE)
