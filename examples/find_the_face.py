"""Find the face in a photograph: the network of face_or_not.py slides over scikit-image's astronaut.

    pip install cnnfast[examples]
    python examples/find_the_face.py --out face.png

The network learns on pictures of 25 x 25 pixels. Its Dense layers are convolutions in disguise: with the same weights as
filters it takes a picture of any size and answers for every place at once, every fourth pixel. Smaller and smaller copies
of the photograph make it find faces of any size. What else it takes for a face, it is shown: it scans pictures that have
none, learns from its mistakes, and scans again. In the end three networks learn from all that, and their mean counts.
Windows that overlap are one face, at their mean (non-maximum suppression); one that only a single window sees is none.

The exit code is 1 unless exactly one box is left and it lies on the face.
"""

import argparse
import sys
import warnings

import numpy as np
from face_or_not import EDGE, maps, network, pictures, train
from PIL import Image, ImageDraw
from skimage import color, data, transform
from sklearn.datasets import load_sample_images

from cnnfast import Sequential, datasets, layers

STEP = 4  # pixels between two windows: two poolings of two
LONGEST = 300  # pixels of the largest copy that is scanned
JURY = 3  # networks, of which the mean counts: what one takes for a face, the others seldom do
SURE, WITNESSES = 0.95, 3  # how sure how many windows must be of one face
FACE = (170, 65, 278, 175)  # of the astronaut, drawn by hand: left, top, right, bottom

FACELESS = ("brick", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "horse", "hubble_deep_field",
            "immunohistochemistry", "moon", "page", "retina", "rocket", "stereo_motorcycle", "text")  # fmt: skip


def grey(picture):
    """(height, width), float32 from 0 to 1."""
    if picture.ndim == 3:
        picture = color.rgb2gray(picture[..., :3])
    return (picture / (255 if picture.dtype == np.uint8 else 1)).astype(np.float32)


def faceless():
    """Photographs without a face that come with scikit-image and scikit-learn."""
    for name in FACELESS:
        picture = getattr(data, name)()
        yield grey(picture[0] if isinstance(picture, tuple) else picture)
    yield from map(grey, load_sample_images().images)


def pyramid(picture):
    """Yield the scale and the copy, each about a sixth smaller than the one before."""
    scale = min(1.0, LONGEST / max(picture.shape))
    while min(picture.shape) * scale >= EDGE:
        size = [round(n * scale) for n in picture.shape]
        yield scale, transform.resize(picture, size, anti_aliasing=scale < 1).astype(np.float32)
        scale /= 2**0.25


def sliding(model):
    """The network of one picture as one that slides: Dense weights (4 * 4 * 48, 64) are filters (4, 4, 48, 64)."""
    free = Sequential([
        *maps(size=None), layers.Conv2D(64, 4, activation="relu"), layers.Conv2D(1, 1, activation="sigmoid"),
    ])  # fmt: skip
    free.set_weights([w.reshape(own.shape) for w, own in zip(model.get_weights(), free.weights)])
    return free


def windows(free, copy, above):
    """Yield row, column and score of every window of a copy that the network takes for a face."""
    scores = free(copy[np.newaxis, ..., np.newaxis])[0, ..., 0]
    for row, column in np.argwhere(scores > above):
        yield STEP * row, STEP * column, scores[row, column]


def examples_against(images, rng):
    """What is no face: LFW's other pictures, parts of faces, and anything in pictures without one."""
    copies = [copy for picture in faceless() for _, copy in pyramid(picture)]
    others = [*images[100:]]
    for face in np.repeat(images[:100], 4, axis=0):
        size = rng.integers(10, 17)
        top, left = rng.integers(0, EDGE + 1 - size, 2)
        others.append(transform.resize(face[top : top + size, left : left + size], (EDGE, EDGE, 1)))
    for copy in copies:
        for _ in range(8):
            top, left = (rng.integers(0, n + 1 - EDGE) for n in copy.shape)
            others.append(copy[top : top + EDGE, left : left + EDGE, np.newaxis])
    return copies, others


def taught(model, images, others, epochs):
    """The sliding network, after it has learnt to tell LFW's faces from `others`."""
    faces = np.repeat(images[:100], len(others) // 200, axis=0)  # half as many as the others
    labels = np.repeat([1, 0], [len(faces), len(others)])
    train(model, np.concatenate([faces, np.stack(others)]).astype(np.float32), labels, epochs, batch_size=64)
    return sliding(model)


def fresh(seed):
    return network(seed, [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.06, 0.06, fill_mode="nearest"),
        layers.RandomRotation(0.03, fill_mode="nearest"),
        layers.RandomContrast(0.4),
        layers.RandomBrightness(0.15, value_range=(0, 1)),
    ])  # fmt: skip


def learn(seed, rounds, epochs):
    """Train, scan what has no face, learn from the mistakes, again; return a jury of sliding networks."""
    rng = np.random.default_rng(seed)
    images, _ = pictures()
    copies, others = examples_against(images, rng)
    model = fresh(seed)
    for number in range(1, rounds + 1):
        free = taught(model, images, others, epochs)
        wrong = [(score, copy[row : row + EDGE, column : column + EDGE, np.newaxis])
                 for copy in copies for row, column, score in windows(free, copy, above=0.2)]  # fmt: skip
        print(f"round {number}: {len(wrong)} windows of pictures without a face might be one", flush=True)
        others += [window for _, window in sorted(wrong, key=lambda pair: -pair[0])[:1500]]
    jury = [taught(fresh(seed + number), images, others, 2 * epochs) for number in range(1, JURY + 1)]
    return lambda batch: np.mean([free(batch) for free in jury], axis=0)


def overlap(box, boxes):
    """Intersection over union of one box with each of `boxes`, (n, 4)."""
    (left, top, right, bottom), others = box, np.asarray(boxes, float).T
    width = np.minimum(right, others[2]) - np.maximum(left, others[0])
    height = np.minimum(bottom, others[3]) - np.maximum(top, others[1])
    shared = width.clip(0) * height.clip(0)
    return shared / ((right - left) * (bottom - top) + (others[2] - others[0]) * (others[3] - others[1]) - shared)


def find(free, picture):
    """Return the boxes (n, 4) of the faces in a grey picture: left, top, right, bottom."""
    found = [(score, np.array([column, row, column + EDGE, row + EDGE]) / scale)
             for scale, copy in pyramid(picture) for row, column, score in windows(free, copy, above=SURE)]  # fmt: skip
    boxes = np.array([box for _, box in sorted(found, key=lambda pair: -pair[0])]).reshape(-1, 4)
    kept, left = [], boxes
    while len(left):
        agreeing = boxes[overlap(left[0], boxes) > 0.4]
        if len(agreeing) >= WITNESSES:
            kept.append(agreeing.mean(axis=0))
        left = left[overlap(left[0], left) < 0.3]
    return np.array(kept).reshape(-1, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="face.png", help="the photograph with the box")
    parser.add_argument("--picture", help="scan this one instead of the astronaut")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15, help="in each round; twice as many at the end")
    options = parser.parse_args()

    photograph = data.astronaut() if options.picture is None else datasets.load_image(options.picture, color_mode="rgb")
    boxes = find(learn(options.seed, options.rounds, options.epochs), grey(photograph))
    canvas = Image.fromarray(photograph)
    for box in boxes:
        ImageDraw.Draw(canvas).rectangle([int(side) for side in box], outline="lime", width=3)
        print("face at left {:.0f}, top {:.0f}, right {:.0f}, bottom {:.0f}".format(*box))
    canvas.save(options.out)

    print(f"\nBoxes: {len(boxes)}")
    is_right = len(boxes) == 1
    if options.picture is None and len(boxes):
        shared = overlap(FACE, boxes)
        print(f"Overlap with the face (intersection over union): {shared.max():.2f}")
        is_right = is_right and shared.max() >= 0.6
    sys.exit(not is_right)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
