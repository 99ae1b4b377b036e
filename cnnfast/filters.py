"""The classic hand-made filters, applied by the same convolution that networks learn theirs for.

>>> edges = filters.apply(picture, filters.SOBEL_X)

A filter is a float32 array (height, width), written as it lies over the picture (cross-correlation, as everywhere in
this package). Source: R. C. Gonzalez and R. E. Woods, "Digital Image Processing", chapter 3.
"""

from __future__ import annotations

import math

import numpy as np

from . import ops


def _kernel(*rows: tuple[float, ...]) -> np.ndarray:
    kernel = np.array(rows, np.float32)
    kernel.flags.writeable = False
    return kernel


IDENTITY = _kernel((0, 0, 0), (0, 1, 0), (0, 0, 0))
SOBEL_X = _kernel((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))  # bright where the picture gets brighter to the right
SOBEL_Y = _kernel((-1, -2, -1), (0, 0, 0), (1, 2, 1))  # ... downwards
LAPLACIAN = _kernel((0, 1, 0), (1, -4, 1), (0, 1, 0))
SHARPEN = _kernel((0, -1, 0), (-1, 5, -1), (0, -1, 0))
EMBOSS = _kernel((-2, -1, 0), (-1, 1, 1), (0, 1, 2))

CLASSIC = {
    "identity": IDENTITY, "sobel_x": SOBEL_X, "sobel_y": SOBEL_Y, "laplacian": LAPLACIAN, "sharpen": SHARPEN,
    "emboss": EMBOSS,
}


def box(size: int) -> np.ndarray:
    """Return the filter (size, size) that averages."""
    if size < 1:
        raise ValueError(f"box: size must be positive, got {size}")
    return np.full((size, size), 1 / size**2, np.float32)


def gaussian(sigma: float, size: int | None = None) -> np.ndarray:
    """Return the filter that blurs by a bell curve.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels.
    size : int, optional
        Odd; by default three standard deviations each way.

    Returns
    -------
    ndarray
        (size, size), of sum 1.
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"gaussian: sigma must be positive, got {sigma}")
    size = 2 * math.ceil(3 * sigma) + 1 if size is None else size
    if size < 1 or size % 2 == 0:
        raise ValueError(f"gaussian: size must be odd and positive, got {size}")
    bell = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    kernel = np.outer(bell, bell)
    return (kernel / kernel.sum()).astype(np.float32)


def apply(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve each channel of a picture with one filter, through `ops.conv2d`.

    Parameters
    ----------
    image : ndarray
        (height, width) or (height, width, channels), of any real dtype.
    kernel : ndarray
        (height, width).

    Returns
    -------
    ndarray
        The picture's shape; float64 for a float64 picture, otherwise float32. Outside the picture is zero. Values are
        not clipped: an edge filter's are negative on one side of an edge.

    Raises
    ------
    ValueError
        The picture or the kernel has another number of dimensions.
    """
    image, kernel = np.asarray(image), np.asarray(kernel)
    if image.ndim not in (2, 3):
        raise ValueError(f"apply: image must have 2 or 3 dimensions, got {image.ndim}")
    if kernel.ndim != 2:
        raise ValueError(f"apply: kernel must have 2 dimensions, got {kernel.ndim}")
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    # One channel after the other is a batch of pictures with one channel.
    batch = image.astype(dtype).reshape(*image.shape[:2], -1).transpose(2, 0, 1)[..., None]
    result = ops.conv2d(batch, kernel.astype(dtype)[..., None, None], padding="same")
    return result[..., 0].transpose(1, 2, 0).reshape(image.shape)
