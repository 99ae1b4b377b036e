"""Untrained networks for small images, by name."""

from __future__ import annotations

from collections.abc import Callable

from . import layers
from .models import Sequential

Shape = tuple[int, int, int]


def small(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build two convolution blocks and a dense layer, which fit images of 8 x 8 to about 64 x 64 pixels.

    Parameters
    ----------
    input_shape : (height, width, channels)
    classes : int
        Units of the last layer, a softmax.
    seed : int, optional
        Of the initial weights and of dropout.

    Returns
    -------
    Sequential
        Built, not compiled.
    """
    return Sequential([
        layers.Input(input_shape),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(classes, activation="softmax"),
    ], seed=seed)


def lenet5(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build LeNet-5 as it is trained today: ReLU, max-pooling and softmax.

    After Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
    1998. Its images are 32 x 32, or 28 x 28, which the first layer pads. Parameters and result as in `small`.
    """
    padding = "valid" if input_shape[0] >= 32 else "same"
    return Sequential([
        layers.Input(input_shape),
        layers.Conv2D(6, 5, padding=padding, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(classes, activation="softmax"),
    ], seed=seed)


NETWORKS: dict[str, Callable[..., Sequential]] = {"small": small, "lenet5": lenet5}
