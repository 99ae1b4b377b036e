"""What a network's outputs mean: the classes by name, and the score of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import activations

if TYPE_CHECKING:
    from .models import Sequential


def is_binary(model: Sequential) -> bool:
    """Whether the network ends in one sigmoid, which answers for two classes: 0 and 1."""
    return (model.output_shape or (0,))[-1] == 1 and model.activation is activations.sigmoid


def class_names(model: Sequential) -> list[str]:
    """The names that the network was trained with, or numbers."""
    classes = 2 if is_binary(model) else (model.output_shape or (0,))[-1] or 0
    return model.class_names or [str(i) for i in range(classes)]


def class_scores(model: Sequential, outputs: np.ndarray) -> np.ndarray:
    """Return the outputs (..., units) with a score for each class: a lone sigmoid is the share of class 1."""
    return np.concatenate([1 - outputs, outputs], axis=-1) if is_binary(model) else outputs


def are_shares(model: Sequential) -> bool:
    """Whether the scores are from 0 to 1."""
    return model.activation in (activations.softmax, activations.sigmoid)
