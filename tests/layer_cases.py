"""Every layer in the forms that take different paths: (how to make it, shape of its input with a batch)."""

from __future__ import annotations

from cnnfast import layers

IMAGE = (3, 7, 6, 4)
IMAGE_FIRST = (3, 4, 7, 6)
FIRST = "channels_first"
LINE = (3, 9, 4)
LINE_FIRST = (3, 4, 9)

CASES = {
    "Conv2D": (lambda: layers.Conv2D(5, 3), IMAGE),
    "Conv2D relu": (lambda: layers.Conv2D(5, 3, padding="same", activation="relu"), IMAGE),
    "Conv2D sigmoid stride": (lambda: layers.Conv2D(5, 3, strides=2, padding="same", activation="sigmoid"), IMAGE),
    "Conv2D gelu": (lambda: layers.Conv2D(2, (3, 1), activation="gelu"), IMAGE),
    "Conv2D groups": (lambda: layers.Conv2D(6, 3, groups=2, activation="tanh"), IMAGE),
    "Conv2D dilated": (lambda: layers.Conv2D(2, 2, dilation_rate=(2, 3), use_bias=False), IMAGE),
    "Conv2D first": (lambda: layers.Conv2D(5, 3, strides=(1, 2), data_format=FIRST, activation="elu"), IMAGE_FIRST),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, padding="same"), IMAGE),
    "DepthwiseConv2D multiplier": (
        lambda: layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, activation="silu"), IMAGE),
    "DepthwiseConv2D first": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=3, data_format=FIRST), IMAGE_FIRST),
    "MaxPooling2D": (lambda: layers.MaxPooling2D(), IMAGE),
    "MaxPooling2D same": (lambda: layers.MaxPooling2D(3, strides=2, padding="same"), IMAGE),
    "MaxPooling2D first": (lambda: layers.MaxPooling2D((2, 3), data_format=FIRST), IMAGE_FIRST),
    "AveragePooling2D": (lambda: layers.AveragePooling2D(), IMAGE),
    "AveragePooling2D same": (lambda: layers.AveragePooling2D(3, strides=2, padding="same"), IMAGE),
    "AveragePooling2D first": (lambda: layers.AveragePooling2D(2, strides=1, data_format=FIRST), IMAGE_FIRST),
    "GlobalAveragePooling2D": (lambda: layers.GlobalAveragePooling2D(), IMAGE),
    "GlobalAveragePooling2D keepdims first": (
        lambda: layers.GlobalAveragePooling2D(data_format=FIRST, keepdims=True), IMAGE_FIRST),
    "GlobalMaxPooling2D": (lambda: layers.GlobalMaxPooling2D(), IMAGE),
    "GlobalMaxPooling2D keepdims first": (
        lambda: layers.GlobalMaxPooling2D(data_format=FIRST, keepdims=True), IMAGE_FIRST),
    "Flatten": (lambda: layers.Flatten(), IMAGE),
    "Flatten first": (lambda: layers.Flatten(data_format=FIRST), IMAGE_FIRST),
    "Reshape": (lambda: layers.Reshape((6, -1)), IMAGE),
    "ZeroPadding2D": (lambda: layers.ZeroPadding2D(((1, 2), (0, 3))), IMAGE),
    "ZeroPadding2D first": (lambda: layers.ZeroPadding2D((1, 2), data_format=FIRST), IMAGE_FIRST),
    "Dense": (lambda: layers.Dense(5, activation="leaky_relu"), (4, 6)),
    "Dense softmax": (lambda: layers.Dense(5, activation="softmax", use_bias=False), (4, 6)),
    "Dense 3-D": (lambda: layers.Dense(5, activation="swish"), (4, 3, 6)),
    "Activation": (lambda: layers.Activation("tanh"), IMAGE),
    "ReLU": (lambda: layers.ReLU(), IMAGE),
    "ReLU slope": (lambda: layers.ReLU(negative_slope=0.1), IMAGE),
    "ReLU limits": (lambda: layers.ReLU(1.5, 0.2, 0.5), IMAGE),
    "ReLU 6": (lambda: layers.ReLU(max_value=6), IMAGE),
    "LeakyReLU": (lambda: layers.LeakyReLU(), IMAGE),
    "Sigmoid": (lambda: layers.Sigmoid(), IMAGE),
    "Softmax": (lambda: layers.Softmax(), IMAGE),
    "Softmax axis": (lambda: layers.Softmax(axis=1), IMAGE),
    "BatchNormalization": (lambda: layers.BatchNormalization(), IMAGE),
    "BatchNormalization axis": (lambda: layers.BatchNormalization(axis=1, epsilon=0.1), IMAGE_FIRST),
    "BatchNormalization 2-D": (lambda: layers.BatchNormalization(center=False), (5, 6)),
    "BatchNormalization plain": (lambda: layers.BatchNormalization(center=False, scale=False), IMAGE),
    "BatchNormalization frozen": (lambda: layers.BatchNormalization(trainable=False, epsilon=0.1), IMAGE),
    "BatchNormalization frozen first": (lambda: layers.BatchNormalization(axis=1, scale=False, trainable=False), IMAGE_FIRST),
    "Dropout": (lambda: layers.Dropout(0.4, seed=3), IMAGE),
    "Dropout noise_shape": (lambda: layers.Dropout(0.4, (None, 1, None, 4), 3), IMAGE),
    "SeparableConv2D": (
        lambda: layers.SeparableConv2D(3, 3, strides=2, padding="same", depth_multiplier=2, activation="tanh"), IMAGE),
    "SeparableConv2D first": (lambda: layers.SeparableConv2D(3, 2, data_format=FIRST, use_bias=False), IMAGE_FIRST),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid"), IMAGE),
    "Conv2DTranspose valid": (lambda: layers.Conv2DTranspose(3, (2, 4), strides=(3, 2), activation="silu"), IMAGE),
    "Conv2DTranspose first": (lambda: layers.Conv2DTranspose(2, 3, data_format=FIRST, use_bias=False), IMAGE_FIRST),
    "Cropping2D": (lambda: layers.Cropping2D(((1, 2), (0, 3))), IMAGE),
    "Cropping2D first": (lambda: layers.Cropping2D(1, data_format=FIRST), IMAGE_FIRST),
    "Parallel": (
        lambda: layers.Parallel([layers.Conv2D(3, 1), [layers.Conv2D(2, 3, padding="same"), layers.Sigmoid()], []]), IMAGE),
    "Parallel add": (lambda: layers.Parallel([layers.Conv2D(4, 1), layers.Sigmoid(), []], "add"), IMAGE),
    "Parallel first": (
        lambda: layers.Parallel([layers.Conv2D(3, 1, data_format=FIRST), layers.Sigmoid()], axis=1), IMAGE_FIRST),
    "Residual": (lambda: layers.Residual(layers.Conv2D(4, 3, padding="same")), IMAGE),
    "Residual shortcut": (
        lambda: layers.Residual(
            [layers.Conv2D(6, 3, strides=2, padding="same", activation="tanh"), layers.BatchNormalization()],
            layers.Conv2D(6, 1, strides=2),
        ), IMAGE),
    "Conv1D": (lambda: layers.Conv1D(5, 3), LINE),
    "Conv1D causal": (lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="tanh"), LINE),
    "Conv1D same first": (
        lambda: layers.Conv1D(6, (4,), 2, "same", FIRST, groups=2, use_bias=False, activation="gelu"), LINE_FIRST),
    "MaxPooling1D": (lambda: layers.MaxPooling1D(), LINE),
    "MaxPooling1D first": (lambda: layers.MaxPooling1D(3, 2, "same", FIRST), LINE_FIRST),
    "AveragePooling1D": (lambda: layers.AveragePooling1D(3, 2, "same"), LINE),
    "AveragePooling1D first": (lambda: layers.AveragePooling1D(2, data_format=FIRST), LINE_FIRST),
    "GlobalAveragePooling1D": (lambda: layers.GlobalAveragePooling1D(), LINE),
    "GlobalAveragePooling1D first": (lambda: layers.GlobalAveragePooling1D(FIRST, keepdims=True), LINE_FIRST),
    "GlobalMaxPooling1D": (lambda: layers.GlobalMaxPooling1D(keepdims=True), LINE),
    "GlobalMaxPooling1D first": (lambda: layers.GlobalMaxPooling1D(FIRST), LINE_FIRST),
    "Conv2DTranspose output_padding": (
        lambda: layers.Conv2DTranspose(3, (3, 4), strides=3, padding="same", output_padding=(1, 2)), IMAGE),
    "Conv2DTranspose output_padding first": (
        lambda: layers.Conv2DTranspose(3, 2, 2, "valid", 1, FIRST, activation="tanh"), IMAGE_FIRST),
    "UpSampling2D": (lambda: layers.UpSampling2D((3, 2)), IMAGE),
    "UpSampling2D bilinear": (lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"), IMAGE),
    "UpSampling2D bilinear first": (lambda: layers.UpSampling2D(2, FIRST, "bilinear"), IMAGE_FIRST),
    "UpSampling2D first": (lambda: layers.UpSampling2D(2, FIRST), IMAGE_FIRST),
    "LayerNormalization": (lambda: layers.LayerNormalization(), IMAGE),
    "LayerNormalization axes": (lambda: layers.LayerNormalization([1, 2, 3], center=False), IMAGE),
    "LayerNormalization first": (lambda: layers.LayerNormalization(1, 0.1, scale=False), IMAGE_FIRST),
    "LayerNormalization 2-D": (lambda: layers.LayerNormalization(), (4, 6)),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), IMAGE),
    "GroupNormalization instance": (lambda: layers.GroupNormalization(-1, scale=False), IMAGE),
    "GroupNormalization first": (lambda: layers.GroupNormalization(2, axis=1, center=False), IMAGE_FIRST),
    "SpatialDropout2D": (lambda: layers.SpatialDropout2D(0.4, seed=3), IMAGE),
    "SpatialDropout2D first": (lambda: layers.SpatialDropout2D(0.4, FIRST, 3), IMAGE_FIRST),
    "ActivityRegularization": (lambda: layers.ActivityRegularization(0.1, 0.2), IMAGE),
    "PReLU": (lambda: layers.PReLU("he_normal"), IMAGE),
    "PReLU shared": (lambda: layers.PReLU(shared_axes=[1, 2]), IMAGE),
    "Rescaling": (lambda: layers.Rescaling(0.5, -1.0), IMAGE),
    "Rescaling by channel": (lambda: layers.Rescaling([0.5, 1, 2, 3], [0, 1, 2, 3]), IMAGE),
    "RandomFlip": (lambda: layers.RandomFlip(seed=1), IMAGE),
    "RandomFlip first": (lambda: layers.RandomFlip("vertical", 1, FIRST), IMAGE_FIRST),
    "RandomTranslation": (lambda: layers.RandomTranslation(0.3, (0.1, 0.5), seed=2), IMAGE),
    "RandomTranslation first": (
        lambda: layers.RandomTranslation(0.3, 0.2, "constant", fill_value=2.0, data_format=FIRST), IMAGE_FIRST),
    "RandomRotation": (lambda: layers.RandomRotation(0.2, "wrap", seed=2), IMAGE),
    "RandomRotation nearest first": (
        lambda: layers.RandomRotation((0.1, 0.4), "nearest", "nearest", data_format=FIRST), IMAGE_FIRST),
    "RandomCrop": (lambda: layers.RandomCrop(4, 3, seed=1), IMAGE),
    "RandomCrop first": (lambda: layers.RandomCrop(7, 2, 1, FIRST), IMAGE_FIRST),
    "RandomBrightness": (lambda: layers.RandomBrightness(0.3, (-1, 1)), IMAGE),
    "RandomContrast": (lambda: layers.RandomContrast(0.6, (-1, 1)), IMAGE),
    "RandomContrast first": (lambda: layers.RandomContrast((0.2, 0.9), (-1, 2), 3, data_format=FIRST), IMAGE_FIRST),
}  # fmt: skip
