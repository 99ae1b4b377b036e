"""activity_regularizer: the loss and its gradient by differences, planned as eager, and only where there is a loss."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import compare

import cnnfast
from cnnfast import Sequential, layers, losses, ops, regularizers, saving

MIXED = regularizers.L1L2(0.02, 0.03)


class Cubes(regularizers.Regularizer):
    """One of the user's own."""

    def __call__(self, weight):
        return float((np.abs(weight) ** 3).sum())

    def gradient(self, weight):
        return 3 * weight * np.abs(weight)


def network(eager=False, dtype="float32", other="l1"):
    model = Sequential([
        layers.Input((8, 8, 2)),
        layers.Conv2D(4, 3, activation="relu", activity_regularizer=MIXED),
        layers.Residual([layers.DepthwiseConv2D(3, padding="same", activity_regularizer=other), layers.Sigmoid()]),
        layers.SeparableConv2D(4, 2, activation="tanh", activity_regularizer="l1"),
        layers.Conv2DTranspose(2, 2, activation="gelu", activity_regularizer="l2"),
        layers.ActivityRegularization(0.01, 0.05),
        layers.Flatten(),
        layers.Reshape((-1, 4)),
        layers.Conv1D(3, 5, strides=3, data_format="channels_last", activity_regularizer="l2"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", activity_regularizer=regularizers.L2(0.4)),
    ], seed=2, dtype=dtype)  # fmt: skip
    model.compile("adam", losses.SparseCategoricalCrossentropy(), run_eagerly=eager)
    return model


@pytest.mark.parametrize("other", ["l1", Cubes()], ids=["ours", "own"])
def test_gradient(other, rng):
    x, y = rng.standard_normal((4, 8, 8, 2)), rng.integers(0, 3, 4)
    model = network(dtype="float64", other=other)
    model.compile("sgd", model.loss)
    model.optimizer.learning_rate = 0.0
    for _ in range(3):  # the last one by a plan, if there can be one
        model.train_on_batch(x, y)
        for parameter in model.trainable_weights:
            compare(lambda: model.test_on_batch(x, y), parameter.data, parameter.grad, rng, 12, parameter.name)
    assert any(key[4] == "train" for key in model._plans.idle) == (other == "l1")


def test_value(rng):
    x, y = rng.standard_normal((5, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 5)
    model = Sequential([layers.Dense(4, "relu", activity_regularizer=MIXED), layers.Flatten(), layers.Dense(3)], seed=1)
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.build((None, 8, 8, 2))
    loss = model.evaluate(x, y, verbose=0)
    h = np.maximum(x.astype(float) @ np.asarray(model.layers[0].kernel, float), 0)
    penalty = 0.02 * np.abs(h).sum() / 5 + 0.03 * (h**2).sum() / 5
    model.layers[0].activity_regularizer.l1 = 0.0
    model.layers[0].activity_regularizer.l2 = 0.0
    try:
        np.testing.assert_allclose(loss - model.evaluate(x, y, verbose=0), penalty, rtol=1e-5)
    finally:
        MIXED.l1, MIXED.l2 = 0.02, 0.03
    assert loss == model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_planned_is_eager(threads, rng):
    x, y = rng.standard_normal((22, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 22)
    ours, theirs = network(), network(eager=True)
    with ops.threads(threads):
        history = ours.fit(x, y, batch_size=5, epochs=4, verbose=0, validation_split=0.3).history
    assert history == theirs.fit(x, y, batch_size=5, epochs=4, verbose=0, validation_split=0.3).history
    assert ours._plans.idle and not theirs._plans.idle
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        assert a.tobytes() == b.tobytes()


def test_only_where_there_is_a_loss(rng, monkeypatch):
    """predict pays nothing, and the gradient of an output is not that of a penalty."""
    x = rng.standard_normal((3, 8, 8, 2)).astype(np.float32)
    model, plain = network(), network()
    for layer in plain.layers:
        if not isinstance(layer, layers.SeparableConv2D):
            layer.activity_regularizer = None
    plain.layers[2].pointwise.activity_regularizer = None
    with monkeypatch.context() as patch:
        patch.setattr(ops, "penalty", lambda *_: pytest.fail("penalty in predict"))
        assert model.predict(x, verbose=0).tobytes() == plain.predict(x, verbose=0).tobytes()
    model.run_eagerly = True
    with pytest.raises(FloatingPointError):  # between forward and backward
        model.train_on_batch(np.full_like(x, np.inf), [0, 1, 2])
    monkeypatch.setattr(ops, "penalty_backward", lambda *_: pytest.fail("penalty in a gradient"))
    gradients = []
    for network_ in (model, plain):
        y = network_.forward(x, training=True)
        gradients.append(network_.backward(np.ones_like(y)).tobytes())
    assert gradients[0] == gradients[1]


def test_saved():
    model = network()
    twin = saving.from_bytes(saving.to_bytes(model))
    assert repr(twin.layers) == repr(model.layers)
    assert repr(twin.layers[0].activity_regularizer) == repr(MIXED)
    with pytest.raises(ValueError, match="L1L2: l1 must be finite and not negative, got -1"):
        layers.ActivityRegularization(-1)
    with pytest.raises(ValueError, match="unknown regularizer 'l3'"):
        layers.Dense(2, activity_regularizer="l3")
    assert cnnfast.layers.ActivityRegularization(0.5).get_config()["l1"] == 0.5
