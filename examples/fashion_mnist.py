"""Name the clothes of Fashion-MNIST: 60,000 pictures to learn from, mirrored and shifted at random, 10,000 to be judged by.

    apt-get install dataset-fashion-mnist    # or any folder with its four files: --data FOLDER
    python examples/fashion_mnist.py --out fashion.cnnfast

The exit code is 1 if less than 93 % of the test pictures are named rightly.
"""

import argparse
import math
import sys

import numpy as np

from cnnfast import Sequential, datasets, layers, losses, optimizers, schedules

NAMES = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
BATCH = 64
RATE = 0.003  # the highest, after a fifth of the steps
MEAN, DEVIATION = 0.286, 0.353  # of the training pictures, whose pixels are from 0 to 1
AT_LEAST = 0.93


def convolution(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"),
        layers.BatchNormalization(momentum=0.95),
        layers.ReLU(),
    ]


def network(seed):
    return Sequential([
        layers.Input((28, 28, 1)),
        layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION),
        layers.RandomFlip("horizontal"),
        layers.ZeroPadding2D(1), layers.RandomCrop(28, 28),  # shifts by a pixel at most
        *convolution(32), layers.MaxPooling2D(2),
        *convolution(64), *convolution(64), layers.MaxPooling2D(2),
        *convolution(128), *convolution(128), layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ], seed=seed, class_names=NAMES)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="folder, by default %(default)s")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="file for the trained network")
    options = parser.parse_args()

    (x_train, y_train), (x_test, y_test) = datasets.load_idx(options.data)
    x_train, x_test = (x[..., np.newaxis].astype(np.float32) / 255 for x in (x_train, x_test))
    model = network(options.seed)
    steps = options.epochs * math.ceil(len(x_train) / BATCH)
    climb = steps // 5
    rate = schedules.CosineDecay(RATE / 10, decay_steps=steps - climb, warmup_target=RATE, warmup_steps=climb)
    model.compile(
        optimizers.AdamW(rate, weight_decay=0.05), losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"]
    )
    model.fit(x_train, np.eye(10)[y_train], batch_size=BATCH, epochs=options.epochs)
    if options.out:
        model.save(options.out)

    accuracy = np.mean(model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1) == y_test)
    print(f"\nTest accuracy: {accuracy:.2%} of {len(y_test)} pictures the network had not seen")
    sys.exit(bool(accuracy < AT_LEAST))


if __name__ == "__main__":
    main()
