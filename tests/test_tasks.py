"""Real tasks on real pictures: the examples that train, each with the figure that it must reach (make nightly)."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from cnnfast import datasets, load_model

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
FASHION_MNIST = os.environ.get("CNNFAST_FASHION_MNIST", "/usr/share/datasets/fashion-mnist")


def run(name, *arguments, **variables):
    """What the example prints; it must think itself that it is good enough."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.nightly
@pytest.mark.fashion_mnist
@pytest.mark.timeout(3600)
def test_fashion_mnist(tmp_path):
    out = run("fashion_mnist.py", "--data", FASHION_MNIST, "--out", tmp_path / "fashion.cnnfast")
    said = float(re.search(r"^Test accuracy: (\S+)% of 10000", out, re.M)[1])
    _, (x, y) = datasets.load_idx(FASHION_MNIST)
    predicted = load_model(tmp_path / "fashion.cnnfast").predict(x[..., None] / np.float32(255), verbose=0).argmax(axis=1)
    assert 100 * np.mean(predicted == y) == pytest.approx(said, abs=0.005)
    assert said >= 93


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_mnist_5000():
    out = run("mnist_5000.py")
    assert len(re.findall(r"^fold \d: \S+% of 1000 images$", out, re.M)) == 5
    assert float(re.search(r"^Cross-validated accuracy: (\S+)% of 5000", out, re.M)[1]) >= 98.5


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_face_or_not():
    out = run("face_or_not.py")
    folds = [float(fold) for fold in re.findall(r"(\d+)%,?", out.splitlines()[0])]
    mean = float(re.search(r"^Cross-validated accuracy: (\S+)% of 200", out, re.M)[1])
    assert len(folds) == 10 and np.mean(folds) == pytest.approx(mean) and mean >= 97


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed, highest", [(0, "avx512"), (1, "avx2")])
def test_find_the_face(tmp_path, seed, highest):
    """One box, on the face, and drawn there: green along the box's edge and nowhere else. By no luck of one training."""
    out = run("find_the_face.py", "--out", tmp_path / "face.png", "--seed", seed, CNNFAST_MAX_ISA=highest)
    boxes = re.findall(r"^face at left (\d+), top (\d+), right (\d+), bottom (\d+)$", out, re.M)
    assert len(boxes) == 1 and "\nBoxes: 1\n" in out
    left, top, right, bottom = map(int, boxes[0])
    width, height = min(right, 278) - max(left, 170), min(bottom, 175) - max(top, 65)  # with the face, drawn by hand
    shared = width * height / ((right - left) * (bottom - top) + 108 * 110 - width * height)
    assert width > 0 and height > 0 and shared >= 0.6
    green = np.argwhere((datasets.load_image(tmp_path / "face.png", color_mode="rgb") == (0, 255, 0)).all(axis=-1))
    assert np.abs(green.min(axis=0) - (top, left)).max() <= 2 and np.abs(green.max(axis=0) - (bottom, right)).max() <= 2


@pytest.fixture
def finder(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import find_the_face

    return find_the_face


def test_the_sliding_network_answers_as_the_network_of_one_picture(finder, rng):
    """To the last pixel, at every fourth place: what is slid over the photograph is the network that was trained."""
    model = finder.network(seed=0)
    model.set_weights([rng.normal(size=w.shape) / 4 if w.ndim > 1 else rng.random(w.shape) for w in model.get_weights()])
    photograph = rng.random((41, 50), np.float32)
    scores = finder.sliding(model)(photograph[None, ..., None])[0, ..., 0]
    assert scores.shape == (5, 7) and scores.std() > 0.01
    places = [(4 * row, 4 * column) for row in range(5) for column in range(7)]
    patches = np.stack([photograph[top : top + 25, left : left + 25, None] for top, left in places])
    np.testing.assert_allclose(scores.reshape(-1, 1), model.predict(patches, verbose=0), rtol=0, atol=1e-5)


def test_windows_that_overlap_are_one_face(finder):
    """Three windows on one place are one face, at their mean; one that stands alone is none."""
    sure = {(5, 20): 0.97, (5, 21): 0.99, (6, 20): 0.96, (20, 2): 0.98, (12, 30): 0.5}

    def scores(copy):
        answer = np.zeros((1, (copy.shape[1] - 25) // 4 + 1, (copy.shape[2] - 25) // 4 + 1, 1), np.float32)
        if copy.shape[1:3] == (120, 160):
            for (row, column), score in sure.items():
                answer[0, row, column] = score
        return answer

    photograph = np.zeros((120, 160), np.float32)
    np.testing.assert_allclose(finder.find(scores, photograph), [[81 + 1 / 3, 21 + 1 / 3, 106 + 1 / 3, 46 + 1 / 3]])
    del sure[5, 20]
    assert finder.find(scores, photograph).shape == (0, 4)
    np.testing.assert_allclose(finder.overlap((0, 0, 2, 2), [[1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 2, 2]]), [1 / 7, 0, 1])
