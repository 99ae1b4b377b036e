"""conv32 - pool - conv64 - pool - dense128 - dense10 on 28x28 images: a training step and inference."""

import numpy as np
import pytest

from cnnfast import Sequential, layers, optimizers

from .numpy_baseline import ConvNet


def network(batch):
    """The network in cnnfast and in NumPy with equal weights, and a batch for it."""
    model = Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ],
        seed=0,
    )
    model.compile(optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x, labels = rng.random((batch, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, batch)
    return model, ConvNet(x.shape, model.get_weights()), x, labels


@pytest.mark.parametrize("batch", [1, 64])
def bench_inference(benchmark, library, batch):
    model, baseline, x, _ = network(batch)
    np.testing.assert_allclose(model.predict_on_batch(x), baseline.predict(x), atol=1e-5)
    benchmark.group = f"inference, batch {batch}"
    benchmark(model.predict_on_batch if library == "cnnfast" else baseline.predict, x)


def bench_training_step(benchmark, library):
    model, baseline, x, labels = network(64)
    for _ in range(2):
        expected = baseline.train_step(x, labels)
        assert float(np.ravel(model.train_on_batch(x, labels))[0]) == pytest.approx(expected, rel=1e-4)
    for ours, theirs in zip(model.get_weights(), baseline.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    benchmark.group = "training step, batch 64"
    benchmark(model.train_on_batch if library == "cnnfast" else baseline.train_step, x, labels)
