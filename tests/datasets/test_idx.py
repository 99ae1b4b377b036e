import gzip
import os
import struct

import numpy as np
import pytest

from cnnfast import datasets

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def parts(rng):
    return [rng.integers(0, 256, (n, 4, 5), np.uint8) if k == 0 else rng.integers(0, 10, n, np.uint8)
            for n in (7, 3) for k in (0, 1)]


@pytest.fixture
def folder(tmp_path, parts):
    for name, part in zip(NAMES, parts):
        (tmp_path / name).write_bytes(idx(part))
    return tmp_path


def check(loaded, parts):
    (x_train, y_train), (x_test, y_test) = loaded
    for actual, expected in zip((x_train, y_train, x_test, y_test), parts):
        np.testing.assert_array_equal(actual, expected)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    x_train[:] = 0  # the arrays belong to the caller


def test_digits_are_there_and_plausible():
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert x_train.shape == (1442, 8, 8) and x_test.shape == (355, 8, 8)
    assert x_train.dtype == np.uint8 and x_train.min() == 0 and x_train.max() == 255
    assert set(np.unique(x_train)) <= {round(level * 255 / 16) for level in range(17)}
    assert np.bincount(y_train).tolist() == [143, 146, 142, 147, 145, 146, 145, 144, 140, 144]
    assert np.bincount(y_test).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    # A nearest-neighbour look-up knows them: images and labels go together.
    distance = ((x_test[:, None].astype(float) - x_train[None].astype(float)) ** 2).sum((2, 3))
    assert (y_train[distance.argmin(1)] == y_test).mean() > 0.97


def test_digits_equal_scikit_learns_copy():
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    ours = np.concatenate([x_train, x_test]).astype(int), np.concatenate([y_train, y_test])
    theirs = np.rint(reference.images * 255 / 16).astype(int), reference.target
    rows = [sorted((*image.ravel(), label) for image, label in zip(*pair)) for pair in (ours, theirs)]
    assert rows[0] == rows[1]


def test_reads_plain_and_gzip(folder, parts):
    check(datasets.load_idx(folder), parts)
    for name in NAMES[:2]:
        (folder / (name + ".gz")).write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    check(datasets.load_idx(str(folder)), parts)


def test_missing(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        datasets.load_idx(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        datasets.load_idx(folder / NAMES[0])
    (folder / NAMES[3]).unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        datasets.load_idx(folder)


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_at_every_byte(folder, compressed):
    whole = (folder / NAMES[1]).read_bytes()
    if compressed:
        (folder / NAMES[1]).unlink()
        whole = gzip.compress(whole)
    path = folder / (NAMES[1] + ".gz" * compressed)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="train-labels"):
            datasets.load_idx(folder)


@pytest.mark.parametrize("content, message", [
    (b"\x89PNG\r\n\x1a\n" + bytes(50), "not an IDX file"),
    (idx(np.zeros((7, 4), np.uint8)), "not an IDX file"),  # two dimensions
    (idx(np.zeros((7, 4, 5), np.uint8)).replace(b"\x08", b"\x0d", 1), "not an IDX file"),  # float32
    (idx(np.zeros((7, 4, 5), np.uint8)) + b"\0", "more bytes than"),
    (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "limit is max_bytes"),
    (struct.pack(">BBBB3I", 0, 0, 8, 3, 1000, 1000, 1000), "truncated"),
    (gzip.compress(idx(np.zeros((7, 4, 5), np.uint8)))[:-12] + bytes(12), "damaged gzip"),
    (gzip.compress(bytes(10_000_000)), "not an IDX file"),
    (gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 2, 2) + bytes(10_000_000)), "more bytes than"),
    (gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 1000, 1000, 1000)), "truncated"),
], ids=["png", "two dimensions", "float32", "a byte too many", "too large", "cut off", "gzip: damaged", "gzip: zeros",
        "gzip: too many bytes", "gzip: cut off"])  # gzip writes the time, and processes that share the tests must agree
def test_bad_images(folder, content, message):
    (folder / NAMES[0]).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load_idx(folder)
    assert NAMES[0] in str(caught.value)


def test_max_bytes_can_be_set(folder):
    with pytest.raises(ValueError, match="max_bytes=100"):
        datasets.load_idx(folder, max_bytes=100)


def test_number_of_labels(folder):
    (folder / NAMES[1]).write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match="7 images.*6 labels"):
        datasets.load_idx(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_does_not_block(folder):
    (folder / NAMES[0]).unlink()
    os.mkfifo(folder / NAMES[0])
    with pytest.raises(ValueError, match="not a regular file"):
        datasets.load_idx(folder)
