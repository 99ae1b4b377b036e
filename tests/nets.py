"""Small networks and data for tests."""

from __future__ import annotations

import numpy as np

from cnnfast import Sequential, layers


def every_layer(seed=0, dtype="float32"):
    """A network with a layer of every kind, images (8, 8, 2) -> 3 classes."""
    return Sequential([
        layers.Input((8, 8, 2)),
        layers.RandomFlip(),
        layers.RandomBrightness(0.1, (-4, 4)),
        layers.ZeroPadding2D(2),
        layers.Conv2D(8, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Residual([layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]),
        layers.RandomCrop(8, 8),
        layers.RandomRotation(0.05),
        layers.RandomTranslation(0.1, 0.1, "constant", "nearest"),
        layers.RandomContrast(0.1, (-4, 4)),
        layers.MaxPooling2D(2),
        layers.Residual(
            Sequential([layers.DepthwiseConv2D(3, padding="same"), layers.LeakyReLU(), layers.Conv2D(12, 1)]),
            layers.Conv2D(12, 1, groups=2, activation="sigmoid"),
        ),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.Activation("gelu"),
        Sequential([layers.Reshape((16, 12)), layers.Dense(12, activation="tanh"), layers.Reshape((4, 4, 12))]),
        layers.Sigmoid(),
        layers.Residual(layers.GlobalAveragePooling2D(keepdims=True), layers.GlobalMaxPooling2D(keepdims=True)),
        layers.Flatten(),
        layers.Dropout(0.25),
        layers.Dense(3),
        layers.Softmax(),
    ], seed=seed, dtype=dtype)  # fmt: skip


def small(seed=0, classes=3, activation="softmax"):
    """Convolution, pool, dense."""
    return Sequential([
        layers.Input((8, 8, 2)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(classes, activation=activation),
    ], seed=seed)  # fmt: skip


def compiled(model, optimizer="adam", loss="sparse_categorical_crossentropy", metrics=("accuracy",)):
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def images(samples=48, seed=0):
    """Images of three kinds that a network can tell apart: bright above, bright below, flat."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 8, 8, 2)).astype(np.float32) * 0.3
    y = rng.integers(0, 3, samples)
    x[y == 0, :4] += 0.5
    x[y == 1, 4:] += 0.5
    return x, y
