"""Gradients by central differences, to compare a layer's `backward` with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1e-6


def numerical(f: Callable[[], float], array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """d f() / d array at flat `indices`, f reading `array`, which is changed in place and restored."""
    flat = array.reshape(-1)
    assert np.shares_memory(flat, array)
    slopes = np.empty(len(indices))
    for n, i in enumerate(indices):
        value = flat[i]
        flat[i] = value + STEP
        above = f()
        flat[i] = value - STEP
        below = f()
        flat[i] = value
        slopes[n] = (above - below) / (2 * STEP)
    return slopes


def check_layer(layer, shape, rng, *, x=None, training=True, most=40):
    """`backward` against differences for the input and every weight: relative error at most 1e-6 of the largest slope."""
    if x is None:
        x = rng.standard_normal(shape)
    x = np.ascontiguousarray(x, np.float64)
    if not layer.built:
        layer.dtype = np.dtype(np.float64)
        layer.build((None, *x.shape[1:]))
        randomize(layer, rng)
    y = layer.forward(x, training=training)
    assert y.shape[1:] == layer.output_shape[1:]
    dy = rng.standard_normal(y.shape)
    dx = layer.backward(dy)
    assert dx.shape == x.shape and dx.dtype == np.float64

    def f():
        return float((layer.forward(x, training=training) * dy).sum())

    compare(f, x, dx, rng, most, "input")
    for parameter in layer.trainable_weights:
        compare(f, parameter.data, parameter.grad, rng, most, parameter.name)
    layer._saved = None


def compare(f, array, gradient, rng, most, what):
    indices = np.arange(array.size) if array.size <= most else rng.choice(array.size, most, replace=False)
    expected = numerical(f, array, indices)
    actual = np.ascontiguousarray(gradient).reshape(-1)[indices]
    scale = max(np.abs(expected).max(), 1e-2)
    assert np.abs(gradient).max() > 0, f"{what}: the gradient is zero everywhere"
    error = np.abs(actual - expected).max() / scale
    assert error <= 1e-6, f"{what}: relative error {error:.2e}"


def randomize(layer, rng):
    """Weights away from 0 and 1, variances positive, so that no term of a gradient is hidden."""
    for parameter in layer.weights:
        values = rng.standard_normal(parameter.shape) * 0.5
        parameter.data[...] = np.abs(values) + 0.5 if "variance" in parameter.name else values
