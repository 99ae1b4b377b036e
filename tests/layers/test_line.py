"""Sequences: against the same layers for images, against loops, and what they refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from harness import assert_same_bits, integers

from cnnfast import layers
from cnnfast import reference as ref


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 3)])
def test_conv1d(padding, stride, dilation, rng):
    x = integers(rng, (2, 11, 4), np.float32)
    layer = layers.Conv1D(6, 3, stride, padding, dilation_rate=dilation, groups=2)
    layer.build(x.shape)
    kernel, bias = integers(rng, (3, 2, 6), np.float32), integers(rng, (6,), np.float32)
    layer.set_weights([kernel, bias])
    reach = 2 * dilation
    before = {"valid": 0, "causal": reach, "same": max((-(-11 // stride) - 1) * stride + reach + 1 - 11, 0) // 2}[
        padding
    ]
    steps = -(-(11 - (reach if padding == "valid" else 0)) // stride)
    expected = np.tile(bias, (2, steps, 1))
    for t, tap in np.ndindex(steps, 3):
        source = t * stride + tap * dilation - before
        if 0 <= source < 11:
            halves = [x[:, source, 2 * g : 2 * g + 2] @ kernel[tap, :, 3 * g : 3 * g + 3] for g in (0, 1)]
            expected[:, t] += np.concatenate(halves, 1)
    np.testing.assert_array_equal(layer(x), expected)
    first = layers.Conv1D(6, 3, stride, padding, "channels_first", dilation, 2)
    first.build((2, 4, 11))
    first.set_weights([kernel, bias])
    assert_same_bits(first(x.transpose(0, 2, 1)), expected.transpose(0, 2, 1))


def test_a_causal_output_depends_on_no_later_step(rng):
    x = rng.standard_normal((1, 9, 2)).astype(np.float32)
    layer = layers.Conv1D(3, 4, padding="causal", dilation_rate=2)
    y = layer(x)
    x[:, 5:] = np.nan
    assert_same_bits(layer(x)[:, :5], y[:, :5])
    assert np.isnan(layer(x)[:, 5:]).all()


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pools(padding, rng):
    x = integers(rng, (2, 11, 4), np.float32)
    for make, op in ((layers.MaxPooling1D, ref.max_pool2d), (layers.AveragePooling1D, ref.avg_pool2d)):
        expected = op(x[:, None], (1, 3), (1, 2), padding)[:, 0]
        np.testing.assert_allclose(make(3, 2, padding)(x), expected, rtol=1e-6)
        np.testing.assert_allclose(
            make(3, 2, padding, "channels_first")(x.swapaxes(1, 2)).swapaxes(1, 2), expected, rtol=1e-6
        )
    np.testing.assert_allclose(layers.GlobalAveragePooling1D()(x), x.mean(1), rtol=1e-6)
    np.testing.assert_array_equal(layers.GlobalMaxPooling1D(keepdims=True)(x), x.max(1, keepdims=True))


REFUSED = [
    (lambda: layers.Conv1D(2, (3, 3)), ValueError, "Conv1D: kernel_size must be an int, got (3, 3)"),
    (lambda: layers.Conv1D(2, 0), ValueError, "Conv1D: kernel_size must be positive, got 0"),
    (lambda: layers.Conv1D(2, 3, strides=1.5), TypeError, "Conv1D: strides must be an int, got 1.5"),
    (
        lambda: layers.Conv1D(2, 3, padding="full"),
        ValueError,
        "padding must be 'valid' or 'same' or 'causal', got 'full'",
    ),
    (lambda: layers.Conv1D(3, 3, groups=2), ValueError, "Conv1D: filters must be a multiple of groups, got 3 and 2"),
    (lambda: layers.Conv1D(2, 3).build((None, 8, 8, 3)), ValueError, '"conv1d": expected an input of 3 dimensions'),
    (lambda: layers.Conv1D(2, 9).build((None, 8, 3)), ValueError, "does not fit into the input"),
    (lambda: layers.Conv1D(2, 3).build((None, 8, None)), ValueError, "the number of channels must be known"),
    (lambda: layers.MaxPooling1D((2, 2)), ValueError, "MaxPooling1D: pool_size must be an int, got (2, 2)"),
    (lambda: layers.AveragePooling1D(2, 0), ValueError, "AveragePooling1D: strides must be positive, got 0"),
    (lambda: layers.MaxPooling1D(2, padding="causal"), ValueError, "MaxPooling1D: padding must be"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()
