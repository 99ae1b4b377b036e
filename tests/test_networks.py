"""The networks that come with the package: each trains and infers, and has the number of weights that is known of it."""

import numpy as np
import pytest

from cnnfast import models, networks

SHAPES = {"small": (12, 12, 1), "lenet5": (28, 28, 1), "vgg_small": (16, 16, 3)}


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_trains_and_infers(name, rng):
    """On a handful of images the loss falls; a step by a plan has the bits of an eager one."""
    shape = SHAPES.get(name, (16, 16, 3))
    x, y = rng.normal(size=(6, *shape)).astype(np.float32), np.arange(6) % 3
    model, eager = getattr(models, name)(shape, 3, seed=1), networks.NETWORKS[name](shape, 3, seed=1)
    for network, flag in ((model, False), (eager, True)):
        network.compile("adam", "sparse_categorical_crossentropy", run_eagerly=flag)
        losses = [network.train_on_batch(x, y) for _ in range(4)]
        assert losses[-1] < losses[0]
    assert sum(len(plans) for key, plans in model._plans.idle.items() if key[4] == "train") == 1
    for ours, theirs in zip(model.get_weights(), eager.get_weights()):
        assert ours.tobytes() == theirs.tobytes()
    answers = [model.predict_on_batch(x) for _ in range(3)]
    assert answers[0].shape == (6, 3) and np.allclose(answers[0].sum(1), 1, atol=1e-5)
    assert answers[2].tobytes() == eager.predict_on_batch(x).tobytes()


@pytest.mark.parametrize("name, parameters", [
    ("resnet18", 11_699_112), ("resnet34", 21_814_696), ("resnet50", 25_610_152), ("mobilenet_v1", 4_253_864),
    ("mobilenet_v2", 3_538_984),
])  # fmt: skip
def test_imagenet_sizes(name, parameters):
    """Weights for 1000 classes of 224 x 224 images, moving averages included, as the papers' networks have them."""
    model = networks.NETWORKS[name]((224, 224, 3), 1000)
    assert model.output_shape == (None, 1000)
    assert model.count_params() == parameters


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'cnnfast.models' has no attribute 'resnet19'"):
        _ = models.resnet19
