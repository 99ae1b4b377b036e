"""OpenCV's filters through cnnfast.ops: the same numbers, for batches and for any number of channels.

    pip install cnnfast opencv-python-headless
    python examples/opencv.py

The exit code is 1 if a result differs from OpenCV's.
"""

import sys

import cv2
import numpy as np

from cnnfast import ops

picture = np.zeros((120, 160, 3), np.uint8)
cv2.circle(picture, (80, 60), 40, (40, 200, 250), -1)
cv2.putText(picture, "cnnfast", (15, 70), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 120, 60), 2)
picture = picture.astype(np.float32) / 255  # OpenCV's arrays have their channels last, as the ops do
batch = picture[np.newaxis]

# filter2D applies one filter to every channel: a convolution in which each channel is a group of its own.
sharpen = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
weight = np.repeat(sharpen[:, :, np.newaxis, np.newaxis], 3, axis=3)  # (height, width, 1, channels)
sharp = ops.conv2d(batch, weight, padding="same", groups=3)
expected_sharp = cv2.filter2D(picture, -1, sharpen, borderType=cv2.BORDER_CONSTANT)

# Its default border mirrors the picture; numpy.pad calls that "reflect".
padded = np.pad(batch, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
mirrored = ops.conv2d(padded, weight, groups=3)

results = {
    "conv2d, filter2D": (sharp, expected_sharp),
    "conv2d, filter2D (mirrored border)": (mirrored, cv2.filter2D(picture, -1, sharpen)),
    "avg_pool2d, blur": (ops.avg_pool2d(batch, 5, 1, 2, count_include_pad=True),
                         cv2.blur(picture, (5, 5), borderType=cv2.BORDER_CONSTANT)),
    "avg_pool2d, resize(INTER_AREA)": (ops.avg_pool2d(batch, 4), cv2.resize(picture, (40, 30), interpolation=cv2.INTER_AREA)),
    "max_pool2d, dilate": (ops.max_pool2d(batch, 3, 1, 1), cv2.dilate(picture, np.ones((3, 3), np.uint8))),
}  # fmt: skip
for name, (ours, theirs) in results.items():
    print(f"{name:36} {ours.shape!s:20} largest difference {np.abs(ours[0] - theirs).max():.1e}")
sys.exit(not all(np.allclose(ours[0], theirs, atol=1e-5) for ours, theirs in results.values()))
