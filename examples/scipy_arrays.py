"""SciPy's filters through cnnfast.ops: the same numbers, with strides, dilation, batches and channels besides.

    pip install cnnfast scipy
    python examples/scipy_arrays.py

The exit code is 1 if a result differs from SciPy's.
"""

import sys

import numpy as np
from scipy import ndimage, signal

from cnnfast import ops

rng = np.random.default_rng(0)
image = rng.normal(size=(200, 300))  # float64 stays float64
kernel = rng.normal(size=(5, 5))
x, weight = image[np.newaxis, :, :, np.newaxis], kernel[:, :, np.newaxis, np.newaxis]

# Networks' convolution is SciPy's correlation; to convolve as SciPy does, turn the filter round.
turned = np.ascontiguousarray(weight[::-1, ::-1])
nearest = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")

results = {
    "conv2d, correlate2d(mode='valid')": (ops.conv2d(x, weight), signal.correlate2d(image, kernel, "valid")),
    "conv2d, correlate2d(mode='full')": (ops.conv2d(x, weight, padding=4), signal.correlate2d(image, kernel)),
    "conv2d, convolve2d(mode='same')": (ops.conv2d(x, turned, padding="same"), signal.convolve2d(image, kernel, "same")),
    "conv2d, ndimage.correlate": (ops.conv2d(x, weight, padding="same"), ndimage.correlate(image, kernel, mode="constant")),
    "avg_pool2d, uniform_filter": (ops.avg_pool2d(nearest, 3, 1), ndimage.uniform_filter(image, 3, mode="nearest")),
    "max_pool2d, maximum_filter": (ops.max_pool2d(nearest, 3, 1), ndimage.maximum_filter(image, 3, mode="nearest")),
    "conv2d(stride=3), a ninth of it": (ops.conv2d(x, weight, stride=3), signal.correlate2d(image, kernel, "valid")[::3, ::3]),
}  # fmt: skip
for name, (ours, theirs) in results.items():
    print(f"{name:40} {ours.shape!s:20} largest difference {np.abs(ours[0, :, :, 0] - theirs).max():.1e}")
sys.exit(not all(np.allclose(ours[0, :, :, 0], theirs) for ours, theirs in results.values()))
