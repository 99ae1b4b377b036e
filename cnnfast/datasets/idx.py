"""IDX files, the format of MNIST and Fashion-MNIST, and the digits that come with the package.

An IDX file is big-endian: two zero bytes, the element type (8 is uint8), the number of dimensions, each extent in four
bytes, then the elements in C order. http://yann.lecun.com/exdb/mnist
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np

from .files import folder_of, open_regular

Split = tuple[np.ndarray, np.ndarray]

_DEFLATE_RATIO = 1032  # no deflate stream grows more than this: a header that claims more is lying


def load_digits() -> tuple[Split, Split]:
    """Load the handwritten digits that come with the package.

    They are the 1,797 images of the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
    C. Kaynak, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0. Changes made here:
    the 17 grey levels are stretched to 0...255, and the images are divided into two parts: of each digit, in the order
    of the original, every fifth image is a test image. The same people wrote both parts.

    Returns
    -------
    ((x_train, y_train), (x_test, y_test))
        uint8 images (1442, 8, 8) and (355, 8, 8), 0 is paper and 255 is ink; int64 labels 0...9.
    """
    return load_idx(os.path.join(os.path.dirname(__file__), "digits"))


def load_idx(folder: str | os.PathLike[str], *, max_bytes: int = 2**30) -> tuple[Split, Split]:
    """Load a data set in the four files of MNIST.

    Parameters
    ----------
    folder : path
        Holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each as it is or with `.gz`.
    max_bytes : int
        The largest array that a file may ask for.

    Returns
    -------
    ((x_train, y_train), (x_test, y_test))
        uint8 images (N, height, width) and int64 labels (N,).

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A file is damaged, cut short, too big or not IDX; images and labels differ in number.
    """
    folder = folder_of("load_idx", folder)
    return _part(folder, "train", max_bytes), _part(folder, "t10k", max_bytes)


def _part(folder: str, part: str, max_bytes: int) -> Split:
    images_path = _find(folder, f"{part}-images-idx3-ubyte")
    labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = _read(images_path, 3, max_bytes), _read(labels_path, 1, max_bytes)
    if len(images) != len(labels):
        raise ValueError(f"load_idx: {images_path!r} has {len(images)} images, {labels_path!r} has {len(labels)} labels")
    return images, labels.astype(np.int64)


def _find(folder: str, name: str) -> str:
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx")):
        path = os.path.join(folder, candidate)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"load_idx: {folder!r} has neither {name} nor {name}.gz")


def _read(path: str, ndim: int, max_bytes: int) -> np.ndarray:
    """Read one IDX file of uint8, never more of it than its header asks for."""
    with open_regular(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        room = os.fstat(file.fileno()).st_size * (_DEFLATE_RATIO if compressed else 1)
        if not compressed:
            return _parse(file, path, ndim, room, max_bytes)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(unpacked, path, ndim, room, max_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"load_idx: {path!r}: damaged gzip file: {error}") from error


def _parse(file: BinaryIO | gzip.GzipFile, path: str, ndim: int, room: int, max_bytes: int) -> np.ndarray:
    magic = file.read(4)
    expected = bytes((0, 0, 8, ndim))
    if magic != expected:
        raise ValueError(f"load_idx: {path!r}: not an IDX file: starts with {magic.hex(' ')}, not {expected.hex(' ')}")
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(f"load_idx: {path!r}: file is truncated inside its header")
    shape = struct.unpack(f">{ndim}I", header)
    size = math.prod(shape)
    if size > max_bytes:
        raise ValueError(f"load_idx: {path!r}: header says {shape}, {size:,} bytes; the limit is max_bytes={max_bytes:,}")
    if size > room:
        raise ValueError(f"load_idx: {path!r}: file is truncated: header says {size:,} bytes, at most {room:,} present")
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"load_idx: {path!r}: file is truncated: header says {size:,} bytes, {len(data):,} present")
    if file.read(1):
        raise ValueError(f"load_idx: {path!r}: more bytes than the {size:,} that the header says")
    return np.frombuffer(bytearray(data), np.uint8).reshape(shape)
