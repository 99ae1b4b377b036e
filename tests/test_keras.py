"""The same network in Keras 3: same shapes, same outputs, same training. Needs ``pip install keras jax``."""

from __future__ import annotations

import os

import numpy as np
import pytest

import cnnfast
from cnnfast import layers, schedules

pytestmark = pytest.mark.nightly
OPTIMIZERS = {
    "SGD": lambda o, s: o.SGD(0.05),
    "Nesterov": lambda o, s: o.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda o, s: o.Adam(0.003),
    "AdamW": lambda o, s: o.AdamW(0.003, clipnorm=1.0),
    "RMSprop": lambda o, s: o.RMSprop(0.003, momentum=0.5),
    "clip": lambda o, s: o.SGD(0.05, global_clipnorm=0.5),
    "average": lambda o, s: o.SGD(0.05, use_ema=True, ema_momentum=0.8),
    "schedule": lambda o, s: o.SGD(s.CosineDecay(0.0, 20, warmup_target=0.1, warmup_steps=3)),
}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError as error:
        pytest.skip(f"no Keras: {error}")
    return keras


def network(made_of, sequential):
    return sequential([
        made_of.Input((12, 12, 3)),
        made_of.Conv2D(8, 3, padding="same", use_bias=False),
        made_of.BatchNormalization(),
        made_of.ReLU(),
        made_of.MaxPooling2D(2),
        made_of.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="silu"),
        made_of.Conv2D(12, 1, groups=2, activation="gelu"),
        made_of.ZeroPadding2D(((1, 0), (0, 1))),
        made_of.AveragePooling2D(3, strides=2, padding="same"),
        made_of.LeakyReLU(),
        made_of.SeparableConv2D(6, (2, 3), padding="same", activation="elu"),
        made_of.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False),  # Adam would blow up its noise
        made_of.Cropping2D(1),
        made_of.BatchNormalization(momentum=0.9, scale=False),
        made_of.Flatten(),
        made_of.Dense(16, activation="tanh", kernel_regularizer="l2"),
        made_of.Dense(5, activation="softmax"),
    ])  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_that_of_keras(keras, optimizer, rng):
    x = rng.standard_normal((40, 12, 12, 3)).astype(np.float32)
    y, weight = rng.integers(0, 5, 40), rng.random(40) + 0.5
    theirs = network(keras.layers, keras.Sequential)
    ours = network(layers, cnnfast.Sequential)
    assert [layer.output_shape for layer in ours.layers] == [layer.output.shape for layer in theirs.layers]
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-6)
    histories = []
    for model, made_of, rates in ((ours, cnnfast.optimizers, schedules),
                                  (theirs, keras.optimizers, keras.optimizers.schedules)):  # fmt: skip
        model.compile(OPTIMIZERS[optimizer](made_of, rates), loss="sparse_categorical_crossentropy",
                      metrics=["accuracy", "sparse_categorical_crossentropy"], weighted_metrics=["accuracy"])  # fmt: skip
        histories.append(model.fit(x, y, epochs=3, batch_size=16, shuffle=False, verbose=0, sample_weight=weight,
                                   validation_split=0.2).history)  # fmt: skip
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], atol=1e-5, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)
