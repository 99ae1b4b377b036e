"""Losses: values, gradients by differences, weights and reductions, the targets they take."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import compare

from cnnfast import losses

P = "probabilities"
CASES = {
    "mse": (losses.MeanSquaredError, "real"),
    "mae": (losses.MeanAbsoluteError, "real"),
    "huber": (lambda: losses.Huber(0.7), "real"),
    "categorical": (losses.CategoricalCrossentropy, P),
    "categorical logits": (lambda: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2), "logits"),
    "categorical smooth": (lambda: losses.CategoricalCrossentropy(label_smoothing=0.1), P),
    "sparse": (losses.SparseCategoricalCrossentropy, "labels"),
    "sparse logits": (lambda: losses.SparseCategoricalCrossentropy(from_logits=True), "labels"),
    "sparse ignoring": (lambda: losses.SparseCategoricalCrossentropy(ignore_class=1), "labels"),
    "sparse logits ignoring, summed": (
        lambda: losses.SparseCategoricalCrossentropy(True, 0, reduction="sum"), "labels"),
    "binary": (lambda: losses.BinaryCrossentropy(label_smoothing=0.1), P),
    "binary logits": (lambda: losses.BinaryCrossentropy(from_logits=True), "logits"),
}


def data(kind, rng, shape=(6, 4)):
    """(y_true, y_pred)"""
    scores = rng.standard_normal(shape)
    softmax = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    one_hot = np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    return {"real": (rng.standard_normal(shape), scores), P: (one_hot, softmax), "logits": (one_hot, scores),
            "labels": (one_hot.argmax(-1), softmax)}[kind]  # fmt: skip


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5)])
@pytest.mark.parametrize("name", CASES)
def test_gradients(name, shape, rng):
    make, kind = CASES[name]
    loss = make()
    y_true, y_pred = data(kind, rng, shape)
    for weight in (None, rng.random(shape[0]) + 0.1):
        values, saved = loss.forward(loss.targets(y_true, y_pred.shape, y_pred.dtype), y_pred)
        assert values.shape == shape[:-1]
        value, dvalues = loss.reduce(values, weight)
        gradient = loss.backward(dvalues, saved)
        assert gradient.shape == y_pred.shape and value == loss(y_true, y_pred, weight)
        compare(lambda weight=weight: loss(y_true, y_pred, weight), y_pred, gradient, rng, 100, name)


def test_values():
    p = np.array([[0.05, 0.95, 0], [0.1, 0.8, 0.1]])
    assert losses.get("sparse_categorical_crossentropy")(np.array([1, 2]), p) == pytest.approx(1.1769392, rel=1e-7)
    assert losses.get("categorical_crossentropy")(np.eye(3)[[1, 2]], p) == pytest.approx(1.1769392, rel=1e-7)
    logits = np.log(np.array([[0.05, 0.9, 0.05], [0.1, 0.8, 0.1]])) + 100
    assert losses.SparseCategoricalCrossentropy(True)(np.array([1, 2]), logits) == pytest.approx(-np.log([0.9, 0.1]).mean())
    y, q = np.array([[0.0, 1], [0, 0]]), np.array([[0.6, 0.4], [0.4, 0.6]])
    assert losses.get("binary_crossentropy")(y, q) == pytest.approx(0.8149, abs=1e-4)
    assert losses.BinaryCrossentropy(True)(y, np.log(q / (1 - q))) == pytest.approx(0.8149, abs=1e-4)
    assert losses.get("mse")(np.array([[0.0, 1], [0, 0]]), np.array([[1.0, 1], [1, 0]])) == 0.5
    assert losses.get("mae")(np.array([[0.0, 1], [0, 0]]), np.array([[1.0, 1], [1, 0]])) == 0.5
    assert losses.Huber()(np.array([[0.0, 1], [0, 0]]), q) == pytest.approx(0.155)
    smooth = losses.CategoricalCrossentropy(label_smoothing=0.1)
    assert smooth(np.eye(3)[[1]], np.array([[0.2, 0.5, 0.3]])) == pytest.approx(
        -(0.1 / 3 * np.log(0.2 * 0.3) + (0.9 + 0.1 / 3) * np.log(0.5)))  # fmt: skip


def test_ignored_labels_cost_nothing():
    """The mean is that of the others; the ignored label need be no class, and its outputs may be anything."""
    p = np.array([[0.2, 0.8], [0.0, 1.0], [0.6, 0.4], [0.5, 0.5]])
    y = np.array([1, 255, 0, 255])
    loss = losses.SparseCategoricalCrossentropy(ignore_class=255)
    assert loss(y, p) == pytest.approx(-np.log([0.8, 0.6]).mean())
    assert loss(y, p, np.array([1.0, 9.0, 3.0, 9.0])) == pytest.approx(-(np.log(0.8) + 3 * np.log(0.6)) / 2)
    assert losses.SparseCategoricalCrossentropy(ignore_class=-1, reduction="sum")(
        np.array([1, -1, 0, -1]), p) == pytest.approx(-np.log([0.8, 0.6]).sum())  # fmt: skip
    assert loss(np.full(4, 255), p) == 0
    values, saved = loss.forward(y, p)
    assert not loss.backward(loss.reduce(values, None)[1], saved)[[1, 3]].any()
    with pytest.raises(ValueError, match="label 254 at index 0 is outside"):
        loss.targets(np.array([254, 0, 0, 0]), p.shape, p.dtype)
    with pytest.raises(TypeError, match="ignore_class must be an int, got 1.5"):
        losses.SparseCategoricalCrossentropy(ignore_class=1.5)
    with pytest.raises(ValueError, match="ignore_class has no reduction 'mean_with_sample_weight'"):
        losses.SparseCategoricalCrossentropy(ignore_class=1, reduction="mean_with_sample_weight")
    twin = losses.get({"class_name": "SparseCategoricalCrossentropy", "config": loss.get_config()})
    assert twin.ignore_class == 255


def test_reductions():
    y, p = np.zeros((4, 2)), np.array([[1.0, 1], [2, 2], [3, 3], [4, 4]])
    w = np.array([1.0, 0, 2, 0])
    assert losses.MeanSquaredError()(y, p, w) == (1 + 18) / 4
    assert losses.MeanSquaredError("sum")(y, p, w) == 19
    assert losses.MeanSquaredError("mean_with_sample_weight")(y, p, w) == 19 / 3
    with pytest.raises(ValueError, match="reduction must be"):
        losses.MeanSquaredError("mean")


def test_twins_on_logits():
    from cnnfast import activations

    sparse = losses.SparseCategoricalCrossentropy(reduction="sum")
    twin = sparse.on_logits(activations.softmax)
    assert twin.from_logits and twin.reduction == "sum"
    assert sparse.on_logits(activations.sigmoid) is None and twin.on_logits(activations.softmax) is None
    binary = losses.BinaryCrossentropy(label_smoothing=0.3)
    assert binary.on_logits(activations.sigmoid).label_smoothing == 0.3
    assert binary.on_logits(activations.softmax) is None and losses.get("mse").on_logits(activations.softmax) is None


def test_extreme_logits_are_finite():
    logits = np.array([[1e38, -1e38, 0], [3e38, 0, 0]], np.float32)
    assert losses.SparseCategoricalCrossentropy(True)(np.array([0, 0]), logits) == 0
    assert np.isfinite(losses.SparseCategoricalCrossentropy(True)(np.array([1, 1]), logits / 2))


def test_names_and_descriptions():
    assert losses.get("mse").name == "mean_squared_error"
    for loss in (losses.Huber(2.0), losses.CategoricalCrossentropy(label_smoothing=0.1), losses.MeanAbsoluteError("sum", "mine")):
        assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()
    for make in (lambda: losses.Huber(0), lambda: losses.CategoricalCrossentropy(label_smoothing=2)):
        with pytest.raises(ValueError, match="must be"):
            make()
