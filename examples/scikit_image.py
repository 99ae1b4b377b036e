"""scikit-image's pictures through cnnfast.ops: the same numbers, for a whole batch at once.

    pip install cnnfast scikit-image
    python examples/scikit_image.py

The exit code is 1 if a result differs from scikit-image's.
"""

import sys

import numpy as np
from skimage import color, data, filters, measure, util

from cnnfast import ops

# Pictures of one size are a batch (samples, height, width, channels); the ops take float32 or float64.
batch = np.stack([util.img_as_float32(picture[:300, :400]) for picture in (data.astronaut(), data.coffee())])
print("a batch of", len(batch), "pictures:", batch.shape, batch.dtype)

# block_reduce is pooling whose stride is its window.
smallest = ops.avg_pool2d(batch, 4)
brightest = ops.max_pool2d(batch, (4, 5))
expected_smallest = np.stack([measure.block_reduce(picture, (4, 4, 1), np.mean) for picture in batch])
expected_brightest = np.stack([measure.block_reduce(picture, (4, 5, 1), np.max) for picture in batch])

# A filter is a weight (height, width, 1, 1); "reflect" of scikit-image is "symmetric" of numpy.pad.
gray = color.rgb2gray(batch)[..., np.newaxis]
sobel = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], gray.dtype) / 4
padded = np.pad(gray, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric")
edges = ops.conv2d(padded, sobel[:, :, np.newaxis, np.newaxis])[..., 0]
expected_edges = np.stack([filters.sobel_h(picture) for picture in gray[..., 0]])

results = {
    "avg_pool2d, block_reduce(np.mean)": (smallest, expected_smallest),
    "max_pool2d, block_reduce(np.max)": (brightest, expected_brightest),
    "conv2d, sobel_h": (edges, expected_edges),
}
for name, (ours, theirs) in results.items():
    print(f"{name:36} {ours.shape!s:20} largest difference {np.abs(ours - theirs).max():.1e}")
sys.exit(not all(np.allclose(ours, theirs, atol=1e-6) for ours, theirs in results.values()))
