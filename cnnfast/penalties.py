"""What the outputs of layers add to a loss: layers say it while they run, to whoever computes that loss in their thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .layers import Layer
    from .regularizers import Regularizer

_thread = threading.local()


@contextmanager
def noting(penalties: list[np.ndarray] | None) -> Iterator[None]:
    """In the block, what layers of this thread add to the loss for their outputs goes to `penalties`."""
    before = getattr(_thread, "penalties", None)
    _thread.penalties = penalties
    try:
        yield
    finally:
        _thread.penalties = before


def regularizes_outputs(layer: Layer) -> bool:
    """Whether a layer, or one inside, adds to the loss for its outputs."""
    return layer.activity_regularizer is not None or any(map(regularizes_outputs, layer.sublayers))


def note(regularizer: Regularizer, y: np.ndarray) -> bool:
    """Note the penalty of a layer's output; return whether somebody asks for it."""
    penalties = getattr(_thread, "penalties", None)
    if penalties is None:
        return False
    penalties.append(regularizer.of_output(y))
    return True
