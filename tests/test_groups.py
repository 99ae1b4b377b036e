"""Inference in groups of images has the bits of the whole batch, and is done where it may be."""

import numpy as np
import pytest

from cnnfast import Sequential, groups, layers, models, regularizers
from cnnfast.ops.tape import revise


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def calls(network):
    """Batch sizes that each layer is asked for."""
    seen = {layer.name: [] for layer in network.layers}
    for layer in network.layers:

        def forward(x, *more, layer=layer, usual=layer.forward, **named):
            seen[layer.name].append(len(x))
            return usual(x, *more, **named)

        layer.forward = forward
    return seen


def stack(**kwargs):
    return Sequential([layers.Input((12, 12, 2)), layers.Conv2D(8, 3, padding="same", name="wide", **kwargs),
                       layers.BatchNormalization(name="norm"), layers.ReLU(name="relu"), layers.MaxPooling2D(2, name="pool"),
                       layers.Conv2D(64, 3, name="heavy"), layers.Flatten(name="flat"), layers.Dense(3, name="last")],
                      seed=1)  # fmt: skip


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "resnet18", "vgg_small"])
@pytest.mark.parametrize("n", [2, 5])
def test_groups_have_the_bits_of_the_whole_batch(name, n, rng, monkeypatch):
    network = getattr(models, name)((64, 64, 3), 5, seed=2)
    x = rng.standard_normal((n, 64, 64, 3), dtype=np.float32)
    monkeypatch.setattr(groups, "MOST_BYTES", 1 << 40)
    whole = network(x)
    for most in (1, 1 << 19, 1 << 20):
        monkeypatch.setattr(groups, "MOST_BYTES", most)
        revise()
        for _ in range(3):  # eager, recorded, planned
            np.testing.assert_array_equal(network(x), whole)


def test_images_are_dealt_out_evenly_to_the_layers_in_front(rng, monkeypatch):
    network = stack()
    seen = calls(network)
    size = 4 * 12 * 12 * (8 + 8)
    monkeypatch.setattr(groups, "MOST_BYTES", 3 * size)
    network(rng.standard_normal((11, 12, 12, 2), dtype=np.float32))
    assert seen["wide"] == seen["relu"] == seen["pool"] == [3, 4, 4]
    assert seen["heavy"] == seen["last"] == [11]  # its weights are more than the maps of three images


def test_what_may_be_about_the_batch_sees_all_of_it(rng, monkeypatch):
    class Centred(layers.Layer):
        def forward(self, x, training=False):
            return x - x.mean(axis=0)

    monkeypatch.setattr(groups, "MOST_BYTES", 1)
    x = rng.standard_normal((4, 12, 12, 2), dtype=np.float32)
    network = stack(activity_regularizer=regularizers.L2(0.1))
    seen = calls(network)
    network(x)
    assert seen["wide"] == [4]
    network = Sequential([layers.Input((12, 12, 2)), layers.ReLU(name="relu"), Centred(), layers.Flatten()])
    seen = calls(network)
    assert network(x).any()
    assert seen["relu"] == [2, 2] or seen["relu"] == [1, 1, 1, 1]
    assert seen[network.layers[1].name] == [4]


def test_training_and_channels_first(rng, monkeypatch):
    monkeypatch.setattr(groups, "MOST_BYTES", 1)
    network = stack()
    seen = calls(network)
    network(rng.standard_normal((4, 12, 12, 2), dtype=np.float32), training=True)
    assert seen["wide"] == [4]  # statistics are those of the batch
    network = Sequential([layers.Input((2, 12, 12)), layers.Conv2D(8, 3, data_format="channels_first"),
                          layers.MaxPooling2D(2, data_format="channels_first"), layers.Flatten(), layers.Dense(3)], seed=1)  # fmt: skip
    x = rng.standard_normal((4, 2, 12, 12), dtype=np.float32)
    grouped = [network(x) for _ in range(3)]
    monkeypatch.setattr(groups, "MOST_BYTES", 1 << 40)
    revise()
    for y in grouped:
        np.testing.assert_array_equal(y, network(x))


def test_memory_of_a_plan_is_that_of_a_group(rng, monkeypatch):
    network = models.mobilenet_v1((64, 64, 3), 5)
    x = rng.standard_normal((16, 64, 64, 3), dtype=np.float32)
    sizes = []
    for most in (1 << 40, 1 << 20):
        monkeypatch.setattr(groups, "MOST_BYTES", most)
        revise()
        for _ in range(3):
            network(x)
        sizes += [plan.tape.bytes for kept in network._plans.idle.values() for plan in kept]
    assert sizes[1] < sizes[0] / 2
