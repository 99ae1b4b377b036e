"""Learning rates that change from step to step, by Keras's names: an optimizer's `learning_rate` may be one."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from .registry import Configurable, lookup, table_of


class Schedule(Configurable):
    """Base class: ``schedule(step)`` is the learning rate of the step of this number, from 0."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError


class ExponentialDecay(Schedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``; with `staircase`, whole powers only."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.decay_rate = _rate(self, "decay_rate", decay_rate)
        self.staircase = bool(staircase)

    def __call__(self, step: int) -> float:
        power = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (math.floor(power) if self.staircase else power)


class PiecewiseConstantDecay(Schedule):
    """``values[i]`` up to and including the step ``boundaries[i]``, the last value after them."""

    def __init__(self, boundaries: Sequence[int], values: Sequence[float]) -> None:
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstantDecay: values must be one more than boundaries, got {len(values)} and {len(boundaries)}"
            )
        if list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"PiecewiseConstantDecay: boundaries must increase, got {list(boundaries)}")
        self.boundaries, self.values = list(boundaries), [_rate(self, "values", value) for value in values]

    def __call__(self, step: int) -> float:
        return self.values[bisect.bisect_left(self.boundaries, step)]


class CosineDecay(Schedule):
    """Half a cosine from the initial rate to `alpha` times it (Loshchilov & Hutter, ICLR 2017), after a linear warm-up.

    Parameters
    ----------
    initial_learning_rate : float
        At the first step.
    decay_steps : int
        Steps of the decay, which come after those of the warm-up.
    alpha : float
        Fraction of the highest rate that is left at the end.
    warmup_target : float, optional
        Rate that the warm-up climbs to and the decay starts from.
    warmup_steps : int
        Steps of the warm-up.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, alpha: float = 0.0, *,
        warmup_target: float | None = None, warmup_steps: int = 0,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.alpha = _rate(self, "alpha", alpha)
        self.warmup_target = None if warmup_target is None else _rate(self, "warmup_target", warmup_target)
        self.warmup_steps = _steps(self, "warmup_steps", warmup_steps, 0)

    def __call__(self, step: int) -> float:
        top = self.initial_learning_rate if self.warmup_target is None else self.warmup_target
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return self.initial_learning_rate + (top - self.initial_learning_rate) * step / self.warmup_steps
            step -= self.warmup_steps
        cosine = (1 + math.cos(math.pi * min(step / self.decay_steps, 1))) / 2
        return top * ((1 - self.alpha) * cosine + self.alpha)


class PolynomialDecay(Schedule):
    """From the initial rate to `end_learning_rate` over `decay_steps`, by the `power` of what is left (1: a line).

    With `cycle`, a decay that has ended starts again over one `decay_steps` more, from what is left of it by then.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: int, end_learning_rate: float = 0.0001, power: float = 1.0,
        cycle: bool = False,
    ) -> None:  # fmt: skip
        self.initial_learning_rate = _rate(self, "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _steps(self, "decay_steps", decay_steps)
        self.end_learning_rate = _rate(self, "end_learning_rate", end_learning_rate)
        self.power = _rate(self, "power", power)
        self.cycle = bool(cycle)

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * max(math.ceil(step / self.decay_steps), 1) if self.cycle else self.decay_steps
        left = 1 - min(step / steps, 1)
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


def _rate(schedule: Schedule, name: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{type(schedule).__name__}: {name} must be a number, got {value!r}")
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{type(schedule).__name__}: {name} must be finite and not negative, got {value!r}")
    return float(value)


def _steps(schedule: Schedule, name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{type(schedule).__name__}: {name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{type(schedule).__name__}: {name} must be at least {least}, got {value!r}")
    return int(value)


TABLE = table_of(ExponentialDecay, PiecewiseConstantDecay, CosineDecay, PolynomialDecay)


def get(identifier: Any) -> Schedule:
    """Return the schedule that a description means."""
    return lookup("schedule", identifier, Schedule, TABLE)
