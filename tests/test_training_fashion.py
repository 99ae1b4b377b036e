"""Real training on real images, by the command anyone can repeat: cnnfast train --data FOLDER --epochs 4

Fashion-MNIST: 60,000 pictures of clothes to learn from, 10,000 to be judged by. The files are those of Debian's package
dataset-fashion-mnist, or wherever CNNFAST_FASHION_MNIST says; with that set, missing files are a failure.
"""

import os
import re

import pytest

from cnnfast import cli

DEBIAN = "/usr/share/datasets/fashion-mnist"

pytestmark = pytest.mark.fashion_mnist


def accuracy_after(epochs, capsys):
    folder = os.environ.get("CNNFAST_FASHION_MNIST")
    if folder is None and not os.path.isdir(DEBIAN):
        pytest.skip("Fashion-MNIST is not here: apt-get install dataset-fashion-mnist, or set CNNFAST_FASHION_MNIST")
    assert cli.main(["train", "--data", folder or DEBIAN, "--epochs", str(epochs)]) == 0
    out = capsys.readouterr().out
    assert "60,000 training images, 10,000 test images, 10 classes" in out
    return float(re.search(r"^test accuracy (\S+)$", out, re.M)[1])


@pytest.mark.timeout(1200)
def test_one_epoch(capsys):
    assert accuracy_after(1, capsys) >= 0.88


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_four_epochs(capsys):
    assert accuracy_after(4, capsys) >= 0.91
