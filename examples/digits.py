"""Train a network on handwritten digits and draw what it sees.

    python examples/digits.py --out demo

Writes the trained network, pictures, and a page that walks one image through the network into the folder. The exit code
is 1 if the test accuracy is below 98 %.
"""

import argparse
import math
import pathlib
import sys

import numpy as np

from cnnfast import datasets, networks, optimizers, schedules, visualize
from cnnfast.explain import explain

BATCH = 32

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo"), help="folder for the results")
parser.add_argument("--epochs", type=int, default=30)
options = parser.parse_args()
options.out.mkdir(parents=True, exist_ok=True)

(x_train, y_train), (x_test, y_test) = datasets.load_digits()
x_train, x_test = (x[..., np.newaxis].astype(np.float32) / 255 for x in (x_train, x_test))

model = networks.small(x_train.shape[1:], classes=10, seed=0)
model.summary()
falling = schedules.CosineDecay(0.002, decay_steps=options.epochs * math.ceil(len(x_train) / BATCH))
model.compile(optimizer=optimizers.Adam(falling), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=options.epochs, batch_size=BATCH, validation_data=(x_test, y_test))
accuracy = model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]

model.save(options.out / "digits.cnnfast")
visualize.filters(model.layers[0], path=options.out / "filters.png")
visualize.feature_maps(model, x_test[0], path=options.out / "feature_maps.png")
visualize.training_curves(history, path=options.out / "training_curves.png")
visualize.confusion_matrix(y_test, model.predict(x_test, verbose=0), path=options.out / "confusion_matrix.png")
(options.out / "explain.html").write_text(explain(model, x_test[0], caption="the first test image"), "utf-8")

print(f"\nTest accuracy: {accuracy:.2%} of {len(y_test)} images the network had not seen")
for path in sorted(options.out.iterdir()):
    print(f"  wrote {path}")
sys.exit(accuracy < 0.98)
