"""Execution plans: what a network computes for inputs of one shape, recorded once and run again without Python between layers.

A plan is made by running the layers as always while `ops.tape` writes down the kernel calls, so layers know nothing of it,
and a planned run has the bits of an eager one. A network keeps a few plans, each with memory of its own, used by one thread
at a time. What a layer draws at random is drawn by kernels too, and a plan gives them the step to draw by. Where something
can't be replayed (a layer of the user's, work done by NumPy) the network runs eagerly.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops
from .ops.locks import StepLock
from .ops.tape import Replay, Shelf, Tape, revision
from .penalties import noting

if TYPE_CHECKING:
    from .layers import Layer
    from .models import Sequential

MOST_SEEN = 64  # shapes a network remembers to have computed
MOST_PLANS = 4  # shapes a network has plans for
MOST_BYTES = 1 << 29  # of the memory of plans that are not the latest

_all_plans: weakref.WeakSet[Plans] = weakref.WeakSet()


def clear_cache() -> int:
    """Give memory that is kept for reuse back to the system: the pool's, and that of execution plans nobody uses just now.

    Returns
    -------
    int
        Bytes released.
    """
    return sum(plans.clear() for plans in list(_all_plans)) + ops.clear_cache()


class Plan:
    """One network on inputs of one shape and dtype.

    `record_forward` and `record_backward` call the network's `forward` and `backward`. Once it is closed, `forward(x)` and
    `backward(dy)` run them again; inputs are cast as they are copied into the plan's memory: bytes stay bytes until then.
    """

    forward: Replay
    backward: Replay

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, channels_first: bool) -> None:
        self.tape = Tape()
        self.complete = False
        self.marks: list[int] = [0]  # where on the tape its stretches begin and end
        x = np.broadcast_to(np.zeros((), dtype), shape)
        with self.tape:
            if channels_first and x.ndim > 2:  # in memory the channels are last, between layers as well
                self.x = np.moveaxis(self.tape.buffer(np.moveaxis(x, 1, -1)), -1, 1)
            else:
                self.x = self.tape.buffer(x)
        self.y: np.ndarray | None = None
        self.penalties: list[np.ndarray] = []  # what layers add to the loss for their outputs
        self.dy: np.ndarray | None = None
        self.sizes: list[np.ndarray] = []  # of the gradient

    def record(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function; what its ops do is the next stretch of the tape."""
        with self.tape:
            result = function(*arguments)
        self.marks.append(len(self.tape))
        return result

    def record_forward(self, forward: Callable[..., np.ndarray], x: np.ndarray, *arguments: Any) -> np.ndarray:
        np.copyto(self.x, x)
        self.y = self.record(forward, self.x, *arguments)
        return self.y

    def record_backward(self, backward: Callable[[np.ndarray], list[np.ndarray]], dy: np.ndarray) -> None:
        with self.tape:
            self.dy = self.tape.buffer(dy)
        np.copyto(self.dy, dy)
        self.sizes = self.record(backward, self.dy)

    def close(self) -> bool:
        """End the recording; return whether the plan is of use."""
        self.tape.close()
        self.complete = self.tape.usable
        if self.complete:
            self.tape.fuse()
            self.forward = Replay(self.tape, 0, self.marks[1], self.x, self.y)
            if self.dy is not None:
                self.backward = Replay(self.tape, self.marks[1], self.marks[2], self.dy, self.sizes)
        return self.complete

    def finish(self) -> None:
        self.tape.run(self.marks[2], self.marks[3])


class Plans(Shelf):
    """The plans of one network, the latest ones. What is computed for the second time is recorded."""

    def __init__(self, lock: StepLock) -> None:
        super().__init__(lock)
        self._seen: OrderedDict[Hashable, bool] = OrderedDict()  # and whether to go on without a plan
        self._revision = -1
        self._lock = threading.Lock()
        _all_plans.add(self)

    def take(self, network: Sequential, x: np.ndarray, *more: Hashable) -> tuple[Hashable, Plan | None]:
        """Return a key and a plan that nobody else uses: a complete one, a new one to record, or None to run eagerly."""
        key = self.key(x, more)
        with self._lock:
            if self._revision != revision():
                self.idle.clear()
                self._seen.clear()
                self._revision = revision()
            if plan := self.pop(key):
                return key, plan
            if key not in self._seen:
                self._seen[key] = not (network.sublayers and replayable(network))
                if len(self._seen) > MOST_SEEN:
                    self._seen.popitem(last=False)
                return key, None
            if self._seen[key]:
                return key, None
        try:
            assert network.dtype is not None
            return key, Plan(x.shape, network.dtype, getattr(network.layers[0], "data_format", None) == "channels_first")
        except MemoryError:
            return key, None

    def put(self, key: Hashable, plan: Plan) -> None:
        """Give a plan back."""
        if not plan.complete and not plan.close():
            self._seen[key] = True
            return
        with self._lock:
            if self._revision != revision():
                return
            self.idle.setdefault(key, []).append(plan)
            self.idle.move_to_end(key)
            while len(self.idle) > MOST_PLANS or (len(self.idle) > 1 and self._older_bytes() > MOST_BYTES):
                self.idle.popitem(last=False)

    def _older_bytes(self) -> int:
        return sum(plan.tape.bytes for plans in list(self.idle.values())[:-1] for plan in plans)

    def clear(self) -> int:
        """Forget all plans that nobody uses; return the bytes of their memory."""
        with self._lock:
            released = sum(plan.tape.bytes for plans in self.idle.values() for plan in plans)
            self.idle.clear()
            return released


class Step:
    """One training step's forward, backward and what layers do at its end: eagerly, recorded, or by a plan.

    `x` may be of any dtype. After `forward`, `penalties` are what layers add to the loss for their outputs. `grad` is the
    gradient of all weights, of which those in the stretches `runs` are trained.
    """

    def __init__(
        self, network: Sequential, x: np.ndarray, logits: bool, eager: bool, grad: np.ndarray, runs: list[slice],
    ) -> None:  # fmt: skip
        self.network, self.x, self.logits, self.grad, self.runs = network, x, logits, grad, runs
        self.key: Hashable = None
        self.plan: Plan | None = None
        self.penalties: list[np.ndarray] = []
        if not eager:
            places = tuple((run.start, run.stop) for run in runs)
            self.key, self.plan = network._plans.take(network, x, "train", logits, places)

    def forward(self) -> np.ndarray:
        if self.plan is not None:
            self.penalties = self.plan.penalties
        if self.plan is None or not self.plan.complete:
            with noting(self.penalties):
                if self.plan is None:
                    return self.network.forward(_cast(self.network, self.x), True, self.logits)
                return self.plan.record_forward(self.network.forward, self.x, True, self.logits)
        self.plan.tape.set_step(self.network._clock.step)
        return self.plan.forward(self.x)

    def backward(self, dy: np.ndarray) -> float:
        """Return the size of the gradient, the sum of all absolute values: one NaN or infinity makes it so."""
        if self.plan is None:
            return sum(map(float, self._backward(dy)))
        if not self.plan.complete:
            self.plan.record_backward(self._backward, dy)
        else:
            self.plan.backward(dy)
        return sum(map(float, self.plan.sizes))

    def _backward(self, dy: np.ndarray) -> list[np.ndarray]:
        self.network.backward(dy)
        return self.sizes()

    def sizes(self) -> list[np.ndarray]:
        """Of each stretch of the gradient, as it is now."""
        return [ops.penalty(self.grad[run], 1) for run in self.runs]

    def finish(self) -> None:
        if self.plan is None:
            finish_step(self.network)
        elif not self.plan.complete:
            self.plan.record(finish_step, self.network)
        else:
            self.plan.finish()

    def __enter__(self) -> Step:
        return self

    def __exit__(self, *_: Any) -> None:
        """Give the plan back, unless the step that was to be recorded came to no end."""
        if self.plan is not None and (self.plan.complete or len(self.plan.marks) == 4):
            self.network._plans.put(self.key, self.plan)


def infer(
    network: Sequential, x: np.ndarray, logits: bool = False, eager: bool = False, penalties: list[np.ndarray] | None = None,
) -> np.ndarray:  # fmt: skip
    """What `network.forward(x)` returns, by a plan if there is one, for an `x` of any dtype; always a new array.

    What layers add to the loss for their outputs goes to `penalties`, if that is given.
    """
    plan: Plan | None = None
    key: Hashable = None
    if not eager:
        key, plan = network._plans.take(network, x, "infer", logits, penalties is not None)
    if plan is None:
        with noting(penalties):
            return network.forward(_cast(network, x), False, logits)
    if plan.complete:
        y = plan.forward(x).copy()
    else:
        with noting(None if penalties is None else plan.penalties):
            y = plan.record_forward(network.forward, x, False, logits).copy()
    if penalties is not None:
        penalties += [p.copy() for p in plan.penalties]
    network._plans.put(key, plan)  # not after an exception: its tape may end anywhere
    return y


def _cast(network: Sequential, x: np.ndarray) -> np.ndarray:
    return x.astype(network.dtype, copy=False)


def finish_step(layer: Layer) -> None:
    layer.finish_step()
    for inner in layer.sublayers:
        finish_step(inner)


def replayable(layer: Layer) -> bool:
    """Whether a layer and all inside are ours: a layer of the user's may compute anything, by anything."""
    activation = getattr(layer, "activation", None)
    known = type(layer).__module__.startswith("cnnfast.") and (activation is None or _is_known(activation))
    return known and all(replayable(inner) for inner in layer.sublayers)


def _is_known(activation: Any) -> bool:
    from .activations import TABLE

    return TABLE.get(activation.name) is activation
