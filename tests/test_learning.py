"""Networks that learn real data."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from harness import ROOT

from cnnfast import Sequential, datasets, layers


def test_digits_in_three_epochs():
    """UCI's handwritten digits, 8 x 8: at least 96 % of the test images after three epochs."""
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    x_train, x_test = (x[..., None].astype(np.float32) / 255 for x in (x_train, x_test))
    model = Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ], seed=0)  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.003
    model.fit(x_train, y_train, epochs=3, batch_size=32, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0)[1] >= 0.96


def test_importing_layers_and_models_imports_nothing_heavy():
    program = "import sys, cnnfast.layers, cnnfast.models, cnnfast.saving, cnnfast.callbacks; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, cwd=ROOT)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "cnnfast" in loaded and not loaded & {"tqdm", "safetensors", "matplotlib", "PIL", "sklearn", "scipy"}
