"""CIFAR-10 and CIFAR-100 in their binary form, https://www.cs.toronto.edu/~kriz/cifar.html

A record is one label byte (CIFAR-10) or two (CIFAR-100: coarse, fine), then 3,072 bytes: red, green, blue, each 32 x 32.
"""

from __future__ import annotations

import os

import numpy as np

from .files import folder_of, open_regular

Split = tuple[np.ndarray, np.ndarray]

_PIXELS = 3 * 32 * 32
_TEN = ([f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"])
_HUNDRED = (["train.bin"], ["test.bin"])


def load_cifar(folder: str | os.PathLike[str], *, label_mode: str = "fine") -> tuple[Split, Split]:
    """Load CIFAR-10 or CIFAR-100, whichever the folder holds.

    Parameters
    ----------
    folder : path
        Holds `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin`, or `train.bin` and `test.bin`.
    label_mode : "fine" or "coarse"
        For CIFAR-100: its 100 classes or its 20 groups of classes.

    Returns
    -------
    ((x_train, y_train), (x_test, y_test))
        uint8 images (N, 32, 32, 3) and int64 labels (N,).

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A file is not a whole number of records, or has a label that does not exist.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"load_cifar: label_mode must be 'fine' or 'coarse', got {label_mode!r}")
    folder = folder_of("load_cifar", folder)
    if os.path.exists(os.path.join(folder, _TEN[0][0])):
        files, label_bytes, column, classes = _TEN, 1, 0, 10
    elif os.path.exists(os.path.join(folder, _HUNDRED[0][0])):
        files, label_bytes, column, classes = _HUNDRED, 2, int(label_mode == "fine"), 100 if label_mode == "fine" else 20
    else:
        raise FileNotFoundError(f"load_cifar: {folder!r} has neither {_TEN[0][0]} nor {_HUNDRED[0][0]}")
    train, test = ([_read(os.path.join(folder, name), label_bytes) for name in names] for names in files)
    return _split(train, label_bytes, column, classes, folder), _split(test, label_bytes, column, classes, folder)


def _read(path: str, label_bytes: int) -> np.ndarray:
    with open_regular(path) as file:
        size, record = os.fstat(file.fileno()).st_size, label_bytes + _PIXELS
        if size == 0 or size % record:
            raise ValueError(f"load_cifar: {path!r}: {size:,} bytes is not a whole number of {record}-byte records")
        return np.fromfile(file, np.uint8).reshape(-1, record)


def _split(batches: list[np.ndarray], label_bytes: int, column: int, classes: int, folder: str) -> Split:
    records = np.concatenate(batches)
    labels = records[:, column].astype(np.int64)
    if labels.max() >= classes:
        raise ValueError(f"load_cifar: {folder!r}: label {labels.max()} is outside 0...{classes - 1}")
    images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels
