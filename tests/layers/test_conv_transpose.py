"""Conv2DTranspose: Keras's rules for the output's size and what is cut off, and that it is the gradient of a convolution."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from harness import integers

from cnnfast import layers


def keras_window(size, reach, stride, padding, output_padding):
    """(first, number) of the pixels of the full output that Keras returns; beyond its end there are zeros."""
    if padding == "valid":
        more = max(reach, stride) - reach if output_padding is None else output_padding
        return 0, (size - 1) * stride + reach + more
    if output_padding is None:
        grown, number = stride + reach - 2, size * stride
    else:
        grown, number = reach + reach % 2 - 2 + output_padding, (size - 1) * stride + reach % 2 + output_padding
    return reach - 1 - min(-(-grown // 2), reach - 1), number


def by_hand(x, kernel, stride, dilation, padding, output_padding):
    """Every input pixel adds its kernel to the output, which is then cut."""
    reach = (kernel.shape[0] - 1) * dilation + 1
    size = x.shape[1]
    first, number = keras_window(size, reach, stride, padding, output_padding)
    room = max((size - 1) * stride + reach, first + number)
    full = np.zeros((len(x), room, room, kernel.shape[2]))
    for r, c, i, j in np.ndindex(size, size, *kernel.shape[:2]):
        full[:, r * stride + i * dilation, c * stride + j * dilation] += x[:, r, c] @ kernel[i, j].T
    return full[:, first : first + number, first : first + number]


GEOMETRIES = [
    (k, s, d, p, o)
    for k, s, d, p in itertools.product((1, 2, 3, 4, 5), (1, 2, 3, 5), (1, 2), ("valid", "same"))
    for o in (None, *range(s))
]


def test_as_keras_computes_it(rng):
    for k, stride, dilation, padding, output_padding in GEOMETRIES:
        x, kernel = integers(rng, (1, 3, 3, 2), np.float32), integers(rng, (k, k, 3, 2), np.float32)
        layer = layers.Conv2DTranspose(3, k, stride, padding, output_padding, dilation_rate=dilation, use_bias=False)
        layer.build(x.shape)
        layer.set_weights([kernel])
        expected = by_hand(x, kernel, stride, dilation, padding, output_padding)
        np.testing.assert_array_equal(layer(x), expected, err_msg=str((k, stride, dilation, padding, output_padding)))
        assert layer.output_shape == (None, *expected.shape[1:])


REFUSED = [
    (lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=2), "output_padding must be less than strides=(2, 2), got (2, 2)"),
    (lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=-1), "Conv2DTranspose: output_padding must be at least 0, got -1"),
    (lambda: layers.Conv2DTranspose(0, 3), "Conv2DTranspose: filters must be positive, got 0"),
    (lambda: layers.Conv2DTranspose(3, 2, 2, "same", 0).build((None, 1, 1, 2)), "nothing is left of the input (None, 1, 1, 2)"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, message = REFUSED[number]
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
