"""What constructors of layers refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cnnfast import Sequential, initializers, layers, regularizers

Conv2D, Depthwise, Dense = layers.Conv2D, layers.DepthwiseConv2D, layers.Dense

REFUSED = [
    *[(lambda v=v: Conv2D(v, 3), e, "Conv2D: filters must be") for v, e in
      ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("2", TypeError), (None, TypeError))],
    *[(lambda v=v: Dense(v), e, "Dense: units must be") for v, e in
      ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError))],
    *[(lambda v=v: Conv2D(2, v), e, "Conv2D: kernel_size must be") for v, e in
      ((0, ValueError), ((3, 0), ValueError), ((3,), ValueError), ((1, 1, 1), ValueError), ((), ValueError),
       (1.5, TypeError), ((1, 2.0), TypeError), ("2", TypeError))],
    (lambda: Conv2D(2, 3, strides=0), ValueError, "Conv2D: strides must be positive, got 0"),
    (lambda: Conv2D(2, 3, dilation_rate=-1), ValueError, "Conv2D: dilation_rate must be positive, got -1"),
    (lambda: Conv2D(2, 3, padding="foo"), ValueError, "Conv2D: padding must be 'valid' or 'same', got 'foo'"),
    (lambda: Conv2D(2, 3, padding=1), TypeError, "Conv2D: padding must be 'valid' or 'same', got 1"),
    (lambda: Conv2D(2, 3, data_format="nchw"), ValueError, "data_format must be 'channels_last' or 'channels_first'"),
    (lambda: Conv2D(3, 3, groups=2), ValueError, "filters must be a multiple of groups, got 3 and 2"),
    (lambda: Conv2D(2, 3, activation="rlu"), ValueError, "unknown activation 'rlu'; choose from linear, relu"),
    (lambda: Conv2D(2, 3, activation=np.tanh), TypeError, "activation must be a name"),
    (lambda: Conv2D(2, 3, use_bias=1), TypeError, "use_bias must be True or False, got 1"),
    (lambda: Conv2D(2, 3, kernel_initializer="xavier"), ValueError, "unknown initializer 'xavier'; choose from"),
    (lambda: Conv2D(2, 3, kernel_initializer=3), TypeError, "initializer must be a name"),
    (lambda: Conv2D(2, 3, kernel_regularizer="l3"), ValueError, "unknown regularizer"),
    (lambda: Conv2D(2, 3, name="a/b"), ValueError, "name must be a string without '/'"),
    (lambda: Conv2D(2, 3, name=3), ValueError, "name must be a string"),
    (lambda: Conv2D(2, 3, trainable=1), TypeError, "trainable must be True or False"),
    (lambda: Conv2D(2, 3, dtype="float16"), ValueError, "dtype must be float32 or float64"),
    (lambda: Depthwise(3, depth_multiplier=0), ValueError, "depth_multiplier must be positive"),
    (lambda: Depthwise(3, groups=2), TypeError, "groups"),
    (lambda: layers.MaxPooling2D(0), ValueError, "MaxPooling2D: pool_size must be positive, got 0"),
    (lambda: layers.MaxPooling2D(2, padding="causal"), ValueError, "MaxPooling2D: padding must be"),
    (lambda: layers.AveragePooling2D(2, strides=(1, -1)), ValueError, "AveragePooling2D: strides must be positive"),
    (lambda: layers.GlobalMaxPooling2D(keepdims=1), TypeError, "keepdims must be True or False"),
    *[(lambda v=v: layers.Dropout(v), ValueError, "Dropout: rate must be") for v in (1.0, -0.1, float("nan"))],
    (lambda: layers.Dropout("half"), TypeError, "Dropout: rate must be a number"),
    (lambda: layers.Dropout(0.5, seed=-1), ValueError, "seed must be at least 0"),
    (lambda: layers.BatchNormalization(epsilon=0), ValueError, "epsilon must be positive, got 0"),
    (lambda: layers.BatchNormalization(epsilon=-1), ValueError, "epsilon must be positive"),
    (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "momentum must be from 0 to 1"),
    (lambda: layers.BatchNormalization(axis=0).build((None, 3)), ValueError, "axis 0 is no channel axis"),
    (lambda: layers.BatchNormalization(axis=7).build((None, 3)), ValueError, "axis 7 is no channel axis"),
    (lambda: layers.LeakyReLU(float("inf")), ValueError, "negative_slope must be finite"),
    (lambda: layers.Reshape((2, -1, -1)), ValueError, "at most one -1"),
    (lambda: layers.Reshape(3), TypeError, "target_shape must be a tuple"),
    (lambda: layers.Reshape((2, 4)).build((None, 3, 3)), ValueError, r"(None, 3, 3) does not fit target_shape (2, 4)"),
    (lambda: layers.Reshape((2, -1)).build((None, 3, 3)), ValueError, "does not fit target_shape"),
    (lambda: layers.ZeroPadding2D(-1), ValueError, "padding must be at least 0, got -1"),
    (lambda: layers.ZeroPadding2D((1, 2, 3)), ValueError, "padding must be an int or a tuple of 2"),
    (lambda: layers.Input(3), TypeError, "shape must be a tuple of ints, got 3"),
    (lambda: layers.Input((3, 0)), ValueError, "shape must be positive, got 0"),
    (lambda: layers.Input(shap=(3,)), TypeError, "shap"),
    (lambda: layers.Residual(3), TypeError, "Residual: main must be"),
    (lambda: layers.Residual("Conv2D"), TypeError, "Residual: main must be a Layer, got 'Conv2D'"),
    (lambda: layers.Residual(*[Dense(2)] * 2), ValueError, "got the same one twice"),
    (lambda: layers.Residual([]).build((None, 3)), ValueError, "a network without layers"),
    (lambda: Conv2D(4, 3, groups=2).build((None, 8, 8, 3)), ValueError, "3 input channels are no multiple of groups=2"),
    (lambda: Conv2D(4, 3).build((None, 8, 8, None)), ValueError, "the number of channels must be known"),
    (lambda: Dense(4).build((None, None)), ValueError, "the size of the last axis must be known"),
    (lambda: layers.MaxPooling2D(3).build((None, 2, 8, 1)), ValueError, "does not fit into the input"),
    (lambda: Dense(4).set_weights([]), RuntimeError, "set_weights before build"),
    (lambda: Sequential([Dense(2, dtype="float64")], dtype="float32").build((None, 3)), ValueError,
     "dtype float64 in a network of float32"),
    (lambda: initializers.VarianceScaling(scale=0), ValueError, "scale must be positive"),
    (lambda: initializers.VarianceScaling(mode="fan"), ValueError, "mode must be"),
    (lambda: initializers.VarianceScaling(distribution="normal"), ValueError, "distribution must be"),
    (lambda: regularizers.L2(-1), ValueError, "l2 must be finite and not negative"),
    (lambda: regularizers.L1(float("nan")), ValueError, "l1 must be finite"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_numpy_numbers_and_keras_spellings_are_fine():
    layer = Conv2D(np.int64(4), np.array([3, 3]).tolist(), strides=np.int32(2), padding="SAME")
    assert (layer.filters, layer.kernel_size, layer.strides, layer.padding) == (4, (3, 3), (2, 2), "same")
    assert layers.Reshape(np.array([2, 3])).target_shape == (2, 3)
    described = {"class_name": "HeNormal", "config": {}}
    for name in ("he_normal", "HeNormal", initializers.HeNormal, initializers.HeNormal(), described):
        assert type(Conv2D(4, 3, kernel_initializer=name).kernel_initializer) is initializers.HeNormal


def test_positional_arguments_are_in_keras_order():
    conv = Conv2D(4, 3, 2, "same", "channels_last", 1, 2, "relu", False, "he_normal", "ones")
    assert (conv.strides, conv.padding, conv.dilation_rate, conv.groups) == ((2, 2), "same", (1, 1), 2)
    assert not conv.use_bias and conv.activation.name == "relu"
    assert layers.MaxPooling2D(3, 1, "same").strides == (1, 1) and layers.MaxPooling2D().strides == (2, 2)
    assert Depthwise(3, 1, "same", 2).depth_multiplier == 2
    norm = layers.BatchNormalization()
    assert (norm.axis, norm.momentum, norm.epsilon) == (-1, 0.99, 0.001)
    assert layers.LeakyReLU().negative_slope == 0.3
