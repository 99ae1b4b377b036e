"""Real training on real images: Fashion-MNIST, 60,000 clothes to learn from and 10,000 to be judged by.

The files are Debian's package dataset-fashion-mnist, or wherever CNNFAST_FASHION_MNIST says; with that set, missing
files are a failure.
"""

import os

import numpy as np
import pytest

from cnnfast import datasets, networks

DEBIAN = "/usr/share/datasets/fashion-mnist"

pytestmark = pytest.mark.fashion_mnist


def accuracy_after(epochs):
    folder = os.environ.get("CNNFAST_FASHION_MNIST")
    if folder is None and not os.path.isdir(DEBIAN):
        pytest.skip("Fashion-MNIST is not here: apt-get install dataset-fashion-mnist, or set CNNFAST_FASHION_MNIST")
    (x_train, y_train), (x_test, y_test) = datasets.load_idx(folder or DEBIAN)
    assert x_train.shape == (60_000, 28, 28) and x_test.shape == (10_000, 28, 28)
    x_train, x_test = (x[..., None].astype(np.float32) / 255 for x in (x_train, x_test))
    model = networks.small((28, 28, 1), classes=10, seed=0)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=epochs, batch_size=64, verbose=2)
    return model.evaluate(x_test, y_test, batch_size=256, verbose=0, return_dict=True)["accuracy"]


def test_one_epoch():
    assert accuracy_after(1) >= 0.87


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_four_epochs():
    assert accuracy_after(4) >= 0.91
