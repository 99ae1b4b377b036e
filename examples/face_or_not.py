"""Is it a face? Trained on scikit-image's 200 pictures of 25 x 25 pixels from "Labeled Faces in the Wild".

    pip install cnnfast[examples]
    python examples/face_or_not.py

The protocol: ten folds, each with ten faces and ten pictures of something else, which a network judges that learnt from
the other 180; the figure is the mean over the folds. The exit code is 1 if it is below 97 %.
"""

import argparse
import math
import sys

import numpy as np
from skimage import data
from sklearn.model_selection import StratifiedKFold

from cnnfast import Sequential, layers, optimizers, schedules

EDGE = 25  # pixels of a picture
BATCH = 32
AT_LEAST = 0.97


def pictures():
    """(200, 25, 25, 1) from 0 to 1, and 1 for a face, 0 for something else."""
    images = data.lfw_subset().astype(np.float32)[..., np.newaxis]
    return images, np.repeat([1, 0], 100)


def maps(augmentation=(), size=EDGE):
    """The layers that look for parts of a face. Without padding, and so that no pixel is left over: 25, 22, 11, 8, 4."""
    return [
        layers.Input((size, size, 1)),
        *augmentation,
        layers.Conv2D(24, 4, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(48, 4, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ReLU(),
        layers.MaxPooling2D(2),
    ]  # fmt: skip


def network(seed, augmentation=()):
    """One picture, one answer."""
    return Sequential([
        *maps(augmentation),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(1, activation="sigmoid"),
    ], seed=seed, class_names=["something else", "face"])  # fmt: skip


def train(model, images, labels, epochs, batch_size=BATCH):
    falling = schedules.CosineDecay(0.002, decay_steps=epochs * math.ceil(len(images) / batch_size))
    model.compile(optimizers.Adam(falling), "binary_crossentropy")
    model.fit(images, labels[:, np.newaxis], batch_size=batch_size, epochs=epochs, verbose=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the networks and of the folds")
    options = parser.parse_args()

    images, labels = pictures()
    accuracies = []
    folds = StratifiedKFold(10, shuffle=True, random_state=options.seed)
    for fold, test in folds.split(images, labels):
        model = network(options.seed, [layers.RandomFlip("horizontal")])
        train(model, images[fold], labels[fold], options.epochs)
        is_face = model.predict(images[test], verbose=0)[:, 0] > 0.5
        accuracies.append((is_face == labels[test]).mean())
    print("folds:", ", ".join(f"{accuracy:.0%}" for accuracy in accuracies))
    print(f"\nCross-validated accuracy: {np.mean(accuracies):.2%} of {len(labels)} pictures")
    sys.exit(bool(np.mean(accuracies) < AT_LEAST))


if __name__ == "__main__":
    main()
