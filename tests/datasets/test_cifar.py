import numpy as np
import pytest

from cnnfast import datasets


def write(path, images, *labels):
    """One record an image: its labels, then red, green and blue planes."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    path.write_bytes(np.concatenate([np.stack(labels, 1), planes], 1).astype(np.uint8).tobytes())


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (12, 32, 32, 3), np.uint8)


@pytest.fixture
def ten(tmp_path, images):
    for i in range(5):
        write(tmp_path / f"data_batch_{i + 1}.bin", images[2 * i:2 * i + 2], np.arange(2 * i, 2 * i + 2))
    write(tmp_path / "test_batch.bin", images[10:], np.array([3, 9]))
    return tmp_path


def test_cifar_10(ten, images):
    (x_train, y_train), (x_test, y_test) = datasets.load_cifar(ten)
    np.testing.assert_array_equal(x_train, images[:10])
    np.testing.assert_array_equal(x_test, images[10:])
    assert y_train.tolist() == list(range(10)) and y_test.tolist() == [3, 9] and y_test.dtype == np.int64


def test_cifar_100(tmp_path, images):
    write(tmp_path / "train.bin", images[:10], np.arange(10) + 10, np.arange(10) * 10)
    write(tmp_path / "test.bin", images[10:], np.array([0, 19]), np.array([0, 99]))
    (x_train, fine), (x_test, _) = datasets.load_cifar(tmp_path)
    np.testing.assert_array_equal(x_train, images[:10])
    np.testing.assert_array_equal(x_test, images[10:])
    assert fine.tolist() == list(range(0, 100, 10))
    (_, coarse), _ = datasets.load_cifar(tmp_path, label_mode="coarse")
    assert coarse.tolist() == list(range(10, 20))


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3073 + 1)])
def test_not_whole_records(ten, content):
    (ten / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_3.*whole number"):
        datasets.load_cifar(ten)


def test_bad_label_mode_and_folder(ten, tmp_path):
    (ten / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match="label 10 is outside 0...9"):
        datasets.load_cifar(ten)
    with pytest.raises(ValueError, match="label_mode must be"):
        datasets.load_cifar(ten, label_mode="medium")
    (ten / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_2"):
        datasets.load_cifar(ten)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="neither"):
        datasets.load_cifar(tmp_path / "empty")
