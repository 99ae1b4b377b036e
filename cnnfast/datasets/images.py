"""Pictures from files, through Pillow (`pip install cnnfast[image]`)."""

from __future__ import annotations

import operator
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import folder_of, open_regular

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "PPM")
MODES = {"rgb": "RGB", "grayscale": "L"}


def load_image(
    path: str | os.PathLike[str],
    image_size: tuple[int, int] | None = None,
    *,
    color_mode: str = "rgb",
    max_pixels: int = 64_000_000,
) -> np.ndarray:
    """Load one picture.

    The content decides the format, whatever the name says. A picture is turned as its EXIF orientation says. Of 16-bit
    samples the high byte is kept; palettes and CMYK become RGB; what is transparent is shown on white; of an animation
    the first frame is taken, with a warning.

    Parameters
    ----------
    path : path
        A PNG, JPEG, BMP or PPM/PGM file.
    image_size : (height, width), optional
        The picture is resized to this (bilinear, antialiased; the proportions are not kept).
    color_mode : "rgb" or "grayscale"
        Three channels or one.
    max_pixels : int
        A larger picture is refused before it is decoded.

    Returns
    -------
    ndarray
        uint8 (height, width, 3) or (height, width, 1).

    Raises
    ------
    ValueError
        The file is not one of these formats, is damaged or cut short, or has too many pixels.
    """
    if color_mode not in MODES:
        raise ValueError(f"load_image: color_mode must be 'rgb' or 'grayscale', got {color_mode!r}")
    if image_size is not None:
        image_size = _size("load_image", image_size)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError("load_image needs Pillow: pip install 'cnnfast[image]'") from error
    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise ValueError(f"{width} x {height} pixels; the limit is max_pixels={max_pixels:,}")
                animated = getattr(picture, "is_animated", False)
                pixels = _pixels(picture, MODES[color_mode], image_size)
        except MemoryError:
            raise
        except UnidentifiedImageError:
            raise ValueError(f"load_image: {os.fspath(path)!r}: not a {', '.join(FORMATS)} picture") from None
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"load_image: {os.fspath(path)!r}: more than max_pixels={max_pixels:,}: {error}") from error
        except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
            raise ValueError(f"load_image: {os.fspath(path)!r}: {error}") from error
    if animated:
        warnings.warn(f"load_image: {os.fspath(path)!r} has several frames: taking the first", stacklevel=2)
    return pixels


def _pixels(picture: Image.Image, mode: str, image_size: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image, ImageOps

    picture.load()
    upright: Any = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8))
    if upright.mode == "F":
        raise ValueError("pictures of floating-point numbers are not supported")
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright)
        upright = paper
    upright = upright.convert(mode)
    if image_size is not None:
        height, width = image_size
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(upright)
    return pixels[..., None] if mode == "L" else pixels


def load_folder(
    path: str | os.PathLike[str],
    image_size: tuple[int, int],
    *,
    color_mode: str = "rgb",
    max_pixels: int = 64_000_000,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Load pictures that lie in one folder a class: `path/cat/1.jpg`, `path/dog/a.png`.

    Classes and files are taken in alphabetical order; names that begin with a dot are left out.

    Parameters
    ----------
    path : path
        The folder of the class folders.
    image_size : (height, width)
        Every picture is resized to this.
    color_mode, max_pixels
        As in `load_image`.

    Returns
    -------
    images, labels, class_names
        uint8 (N, height, width, channels), int64 (N,), and the N-th class's folder name at place N.

    Raises
    ------
    ValueError
        No class folder, a class without a picture, or a file that is no picture `load_image` reads.
    """
    size = _size("load_folder", image_size)
    path = folder_of("load_folder", path)
    class_names = [name for name in _visible(path) if os.path.isdir(os.path.join(path, name))]
    if not class_names:
        raise ValueError(f"load_folder: {path!r} has no class folder in it")
    files, labels = [], []
    for label, name in enumerate(class_names):
        found = [os.path.join(path, name, file) for file in _visible(os.path.join(path, name))]
        if not found:
            raise ValueError(f"load_folder: {os.path.join(path, name)!r} has no picture in it")
        files += found
        labels += [label] * len(found)
    images = np.empty((len(files), *size, 3 if color_mode == "rgb" else 1), np.uint8)
    for image, file in zip(images, files):
        image[:] = load_image(file, size, color_mode=color_mode, max_pixels=max_pixels)
    return images, np.array(labels, np.int64), class_names


def _size(function: str, image_size: tuple[int, int]) -> tuple[int, int]:
    """`image_size` as two ints."""
    try:
        height, width = (operator.index(extent) for extent in image_size)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: image_size must be two ints (height, width), got {image_size!r}") from None
    if min(height, width) < 1:
        raise ValueError(f"{function}: image_size must be positive, got {image_size!r}")
    return height, width


def _visible(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))
