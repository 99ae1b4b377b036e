"""The weights of a network: views into one block of memory, their gradients views into its twin.

So an optimizer step, a snapshot or a check for NaN is one call over one flat array, however many layers there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .initializers import Initializer
from .ops.tape import revise

_ALIGNMENT = 64  # bytes: a cache line, the widest vector


class Parameter:
    """One array that a layer owns.

    Attributes
    ----------
    name : str
        Within its layer: "kernel", "bias", ...
    shape : tuple of int
    data : ndarray or None
        The values, a view into the network's block; None until the layer belongs to a built network.
    grad : ndarray or None
        Where `backward` writes the gradient.
    trainable : bool
        False for moving averages, which no gradient changes.
    regularizer : Regularizer or None
    constraint : Constraint or None
        What the values are put through after each step.
    """

    __slots__ = ("constraint", "data", "grad", "initializer", "name", "regularizer", "shape", "trainable")

    def __init__(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True, regularizer: Any = None,
        constraint: Any = None,
    ) -> None:  # fmt: skip
        self.name, self.shape, self.initializer = name, shape, initializer
        self.trainable, self.regularizer, self.constraint = trainable, regularizer, constraint
        self.data: np.ndarray = None  # type: ignore[assignment]  # None until the network is built
        self.grad: np.ndarray = None  # type: ignore[assignment]  # None until it is trained

    def constrain(self) -> None:
        """Put the values through the constraint, if there is one."""
        if self.constraint is not None:
            self.data[...] = self.constraint(self.data)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.data is None:
            raise RuntimeError(f"weight {self.name!r} has no values yet: build the network first")
        return np.array(self.data, dtype=dtype)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {self.shape})"

    def __getstate__(self) -> tuple[Any, ...]:
        data = None if self.data is None else self.data.copy()
        return self.name, self.shape, self.initializer, self.trainable, self.regularizer, self.constraint, data

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.name, self.shape, self.initializer, self.trainable, self.regularizer, self.constraint, self.data = state
        self.grad = None  # type: ignore[assignment]


class Block:
    """One flat array that holds many parameters one after the other, each on a cache line of its own.

    Values that the parameters have already are kept; the others come from their initializers, each with a generator of its
    own, from `seed` and its place: a network that grows layer by layer has the weights of one that is made at once.
    Afterwards every `Parameter.data` is a view into `data`. Gaps between them are zero and stay zero.
    """

    def __init__(self, parameters: Iterable[Parameter], dtype: np.dtype, seed: tuple[int, ...]) -> None:
        self.parameters = list(parameters)
        lanes = _ALIGNMENT // dtype.itemsize
        self.slices: list[slice] = []
        end = 0
        for parameter in self.parameters:
            self.slices.append(slice(end, end + parameter.size))
            end += -(-parameter.size // lanes) * lanes
        self.data = _aligned_zeros(end, dtype)
        self.grad: np.ndarray | None = None
        for place, (parameter, view) in enumerate(self._views(self.data)):
            if parameter.data is None:
                generator = np.random.default_rng([*seed, place])
                view[...] = parameter.initializer(parameter.shape, dtype, generator)
            else:
                view[...] = parameter.data
        self._bound = [view for _, view in self._views(self.data)]
        revise()
        for parameter, view in zip(self.parameters, self._bound):  # only now: a failure above leaves the old block in use
            parameter.data, parameter.grad = view, None  # type: ignore[assignment]

    @property
    def is_bound(self) -> bool:
        """Whether the parameters still live here; another network that took over a layer has moved it to its own."""
        return all(parameter.data is view for parameter, view in zip(self.parameters, self._bound))

    def with_gradients(self) -> np.ndarray:
        """Return the twin that holds the gradients, made at the first call: a network that only infers has none."""
        if self.grad is None:
            grad = _aligned_zeros(self.data.size, self.data.dtype)
            for parameter, view in self._views(grad):
                parameter.grad = view
            self.grad = grad  # last: after a Ctrl-C above, the next call does it all again
        return self.grad

    def runs(self, parameters: Iterable[Parameter]) -> list[slice]:
        """Return the longest stretches of the block that hold nothing but `parameters`."""
        wanted = {id(parameter) for parameter in parameters}
        runs: list[slice] = []
        extend = False
        for parameter, part in zip(self.parameters, self.slices):
            if id(parameter) not in wanted:
                extend = False
            elif extend:
                runs[-1] = slice(runs[-1].start, part.stop)
            else:
                runs.append(part)
                extend = True
        return runs

    def parts(self, parameters: Iterable[Parameter]) -> list[slice]:
        """Return the places of `parameters` in the block."""
        places = {id(parameter): part for parameter, part in zip(self.parameters, self.slices)}
        return [places[id(parameter)] for parameter in parameters]

    def _views(self, flat: np.ndarray) -> list[tuple[Parameter, np.ndarray]]:
        return [(p, flat[part].reshape(p.shape)) for p, part in zip(self.parameters, self.slices)]


def _aligned_zeros(size: int, dtype: np.dtype) -> np.ndarray:
    lanes = _ALIGNMENT // dtype.itemsize
    memory = np.zeros(size + lanes, dtype)
    start = -memory.ctypes.data % _ALIGNMENT // dtype.itemsize
    return memory[start : start + size]
