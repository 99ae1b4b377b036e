"""Constraints: Keras's formulas, and weights that obey them after every step, saved and loaded."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from cnnfast import Sequential, constraints, layers, saving


def norms(weight, axis):
    return np.sqrt(np.square(weight).sum(axis, keepdims=True))


@pytest.mark.parametrize("axis", [0, 1, [0, 1], [0, 1, 2], -1])
def test_formulas(axis, rng):
    w = rng.standard_normal((3, 3, 4, 5))
    along = tuple(axis) if isinstance(axis, list) else axis
    norm = norms(w, along)
    np.testing.assert_allclose(constraints.MaxNorm(1.5, axis)(w), w * np.clip(norm, 0, 1.5) / (1e-7 + norm), rtol=1e-12)
    np.testing.assert_allclose(constraints.UnitNorm(axis)(w), w / (1e-7 + norm), rtol=1e-12)
    wanted = 0.7 * np.clip(norm, 0.5, 1.2) + 0.3 * norm
    np.testing.assert_allclose(constraints.MinMaxNorm(0.5, 1.2, 0.7, axis)(w), w * wanted / (1e-7 + norm), rtol=1e-12)
    np.testing.assert_array_equal(constraints.NonNeg()(w), w * (w >= 0))
    assert constraints.UnitNorm(axis)(w.astype(np.float32)).dtype == np.float32


def network():
    model = Sequential([
        layers.Input((8, 8, 2)),
        layers.Conv2D(4, 3, kernel_constraint=constraints.MaxNorm(0.8, [0, 1, 2]), bias_constraint="non_neg"),
        layers.DepthwiseConv2D(3, depthwise_constraint="non_neg"),
        layers.Conv2DTranspose(3, 2, kernel_constraint=constraints.UnitNorm([0, 1, 3])),
        layers.BatchNormalization(beta_constraint="non_neg", gamma_constraint=constraints.UnitNorm()),
        layers.SeparableConv2D(4, 2, depthwise_constraint="non_neg", pointwise_constraint=constraints.UnitNorm(2), bias_constraint="non_neg"),
        layers.LayerNormalization(beta_constraint="non_neg", gamma_constraint=constraints.UnitNorm()),
        layers.PReLU(alpha_constraint="non_neg", shared_axes=[1, 2]),
        layers.GroupNormalization(2, beta_constraint="non_neg", gamma_constraint=constraints.UnitNorm()),
        layers.Flatten(),
        layers.Dense(3, kernel_constraint="unit_norm", bias_constraint=constraints.MinMaxNorm(0.1, 0.2)),
    ], seed=1)  # fmt: skip
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("way", ["itself", "saved", "copied", "pickled"])
def test_weights_obey_after_every_step(way, rng):
    model = {"itself": lambda m: m, "saved": lambda m: saving.from_bytes(saving.to_bytes(m)), "copied": copy.deepcopy,
             "pickled": lambda m: pickle.loads(pickle.dumps(m))}[way](network())  # fmt: skip
    first, depth, back, batch, both, layer, slopes, group, _, dense = model.layers
    assert (depth.kernel.data < 0).any()
    for step in range(5):  # the later ones by a plan
        x, y = rng.standard_normal((4, 8, 8, 2)), 10 * rng.standard_normal((4, 3))
        model.train_on_batch(x, y)
        assert (norms(first.kernel.data, (0, 1, 2)) < 0.8 + 1e-6).all() and (first.bias.data >= 0).all()
        assert (depth.kernel.data >= 0).all() and (step or (depth.kernel.data == 0).any())
        np.testing.assert_allclose(norms(back.kernel.data, (0, 1, 3)), 1, atol=1e-6)
        np.testing.assert_allclose(norms(dense.kernel.data, 0), 1, atol=1e-6)
        assert 0.1 - 1e-6 < norms(dense.bias.data, 0) < 0.2 + 1e-6
        for norm in (batch, layer, group):
            assert (norm.beta.data >= 0).all() and abs(norms(norm.gamma.data, 0) - 1) < 1e-6
        assert (both.depthwise.kernel.data >= 0).all() and (slopes.alpha.data >= 0).all() and (both.pointwise.bias.data >= 0).all()
        np.testing.assert_allclose(norms(both.pointwise.kernel.data, 2), 1, atol=1e-6)


def test_frozen_weights_are_left_alone(rng):
    model = network()
    model.layers[0].trainable = False
    before = model.layers[0].kernel.data.copy()
    model.train_on_batch(rng.standard_normal((4, 8, 8, 2)), rng.standard_normal((4, 3)))
    np.testing.assert_array_equal(model.layers[0].kernel.data, before)


def test_descriptions_and_refusals():
    for constraint in (constraints.NonNeg(), constraints.MaxNorm(3, [0, 1]), constraints.UnitNorm(1), constraints.MinMaxNorm(rate=0.5)):
        twin = constraints.get({"class_name": type(constraint).__name__, "config": constraint.get_config()})
        assert repr(twin) == repr(constraint)
    assert constraints.get(None) is None and type(constraints.get("max_norm")) is constraints.MaxNorm
    for make, error, words in [
        (lambda: constraints.MaxNorm(-1), ValueError, "MaxNorm: it must be that 0 <= min_value <= max_value, got 0.0 and -1"),
        (lambda: constraints.MinMaxNorm(2, 1), ValueError, "got 2 and 1"),
        (lambda: constraints.MinMaxNorm(rate=0), ValueError, "rate must be in 0 < rate <= 1, got 0"),
        (lambda: constraints.UnitNorm(0.5), TypeError, "UnitNorm: axis must be an int or a list of ints, got 0.5"),
        (lambda: constraints.UnitNorm(3)(np.ones((2, 2))), ValueError, r"axis 3 is no axis of a weight of shape \(2, 2\)"),
        (lambda: layers.Dense(3, kernel_constraint="non_negative"), ValueError, "non_negative"),
    ]:
        with pytest.raises(error, match=words):
            make()
