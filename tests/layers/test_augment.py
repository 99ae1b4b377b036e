"""The augmentation layers: what they draw, when, and that nothing but seed and step decides it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from harness import assert_same_bits

from cnnfast import Sequential, layers

RANDOM = {
    "RandomFlip": lambda: layers.RandomFlip(),
    "RandomTranslation": lambda: layers.RandomTranslation(0.4, 0.4),
    "RandomRotation": lambda: layers.RandomRotation(0.4),
    "RandomCrop": lambda: layers.RandomCrop(4, 4),
    "RandomBrightness": lambda: layers.RandomBrightness(0.4, (0, 1)),
    "RandomContrast": lambda: layers.RandomContrast(0.4, (0, 1)),
    "SpatialDropout2D": lambda: layers.SpatialDropout2D(0.4),
}


def network(layer, seed=0):
    return Sequential([layers.Input((8, 8, 3)), layer], seed=seed)


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_seed_and_step_decide(make, rng):
    x = rng.random((6, 8, 8, 3)).astype(np.float32)
    model, twin, other = network(make()), network(make()), network(make(), seed=1)
    y = model.forward(x, training=True)
    assert_same_bits(model.forward(x, training=True), y)
    assert_same_bits(twin.forward(x, training=True), y)
    assert not np.array_equal(other.forward(x, training=True), y)
    model._clock.step = 1
    assert not np.array_equal(model.forward(x, training=True), y)
    model._clock.step = 0
    assert_same_bits(model.forward(x, training=True), y)
    assert_same_bits(model(x), x[:, 2:6, 2:6] if isinstance(model.layers[0], layers.RandomCrop) else x)


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_samples_are_changed_each_in_its_own_way(make, rng):
    x = np.repeat(rng.random((1, 8, 8, 3)).astype(np.float32), 16, 0)
    y = network(make()).forward(x, training=True)
    assert len(np.unique(y.reshape(16, -1), axis=0)) > 3


def test_all_four_flips_come_equally_often(rng):
    x = np.repeat(rng.random((1, 8, 8, 3)).astype(np.float32), 400, 0)
    y = network(layers.RandomFlip()).forward(x, training=True)
    counts = [(y == np.flip(x, axes)).all((1, 2, 3)).sum() for axes in ((), (1,), (2,), (1, 2))]
    assert sum(counts) == 400 and min(counts) > 60  # 100 expected, standard deviation 9
    only = network(layers.RandomFlip("horizontal")).forward(x, training=True)
    assert sum((only == np.flip(x, axes)).all((1, 2, 3)).sum() for axes in ((), (2,))) == 400


def test_translation_by_whole_pixels_goes_down_and_right(rng):
    x = rng.random((2, 8, 8, 3)).astype(np.float32)
    layer = layers.RandomTranslation((0.25, 0.25), (0.5, 0.5), "wrap")
    np.testing.assert_array_equal(network(layer).forward(x, training=True), np.roll(x, (2, 4), (1, 2)))


REFUSED = [
    (lambda: layers.RandomFlip("diagonal"), ValueError, "RandomFlip: mode must be 'horizontal' or 'vertical'"),
    (lambda: layers.RandomFlip(seed=-1), ValueError, "RandomFlip: seed must be at least 0, got -1"),
    (lambda: layers.RandomTranslation(2, 0), ValueError, "RandomTranslation: height_factor must be from -1 to 1, got 2"),
    (lambda: layers.RandomTranslation(0, "a"), TypeError, "RandomTranslation: width_factor must be a number, got 'a'"),
    (lambda: layers.RandomRotation((0, 0.1, 0.2)), ValueError, "RandomRotation: factor must be a number or two, got (0, 0.1, 0.2)"),
    (lambda: layers.RandomRotation(0.1, "mirror"), ValueError, "RandomRotation: fill_mode must be"),
    (lambda: layers.RandomRotation(0.1, interpolation="cubic"), ValueError, "RandomRotation: interpolation must be"),
    (lambda: layers.RandomCrop(0, 2), ValueError, "RandomCrop: height must be positive, got 0"),
    (lambda: layers.RandomCrop(9, 2).build((None, 8, 8, 3)), ValueError, "its window of (9, 2) does not fit into the input"),
    (lambda: layers.RandomBrightness(0.1, (1, 0)), ValueError, "RandomBrightness: value_range must be (lowest, highest), got (1, 0)"),
    (lambda: layers.RandomContrast(-0.1), ValueError, "RandomContrast: factor must be from 0 to 1, got -0.1"),
    (lambda: layers.Rescaling("x"), TypeError, "Rescaling: scale must be a number, got 'x'"),
    (lambda: layers.Rescaling([1, 2]).build((None, 8, 8, 3)), ValueError, "scale has 2 numbers for the last axis of (None, 8, 8, 3)"),
    (lambda: layers.UpSampling2D(0), ValueError, "UpSampling2D: size must be positive, got 0"),
    (lambda: layers.UpSampling2D(2, interpolation="area"), ValueError, "UpSampling2D: interpolation must be 'nearest' or 'bilinear'"),
    (lambda: layers.LayerNormalization(0).build((None, 3)), ValueError, "axis 0 is no axis of a sample of input shape (None, 3)"),
    (lambda: layers.LayerNormalization([1, -1]).build((None, 3)), ValueError, "names one axis of (None, 3) twice"),
    (lambda: layers.LayerNormalization(epsilon=0), ValueError, "LayerNormalization: epsilon must be positive, got 0"),
    (lambda: layers.GroupNormalization(0), ValueError, "GroupNormalization: groups must be positive, got 0"),
    (lambda: layers.GroupNormalization(4).build((None, 8, 8, 6)), ValueError, "6 channels are no multiple of groups=4"),
    (lambda: layers.PReLU(shared_axes=1), TypeError, "PReLU: shared_axes must be a list of ints, got 1"),
    (lambda: layers.PReLU(shared_axes=[4]).build((None, 8, 8, 3)), ValueError, "shared_axes [4] are no axes of (None, 8, 8, 3)"),
    (lambda: layers.SpatialDropout2D(1.0), ValueError, "SpatialDropout2D: rate must be 0 <= rate < 1, got 1.0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()
