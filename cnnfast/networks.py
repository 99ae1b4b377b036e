"""Untrained networks by name; `cnnfast.models` has them too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import layers
from .layers import Layer
from .models import Sequential

Shape = tuple[int, int, int]


def small(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build two convolution blocks and a dense layer, which fit images of 8 x 8 to about 64 x 64 pixels.

    Parameters
    ----------
    input_shape : (height, width, channels)
    classes : int
        Units of the last layer, a softmax.
    seed : int, optional
        Of the initial weights and of dropout.

    Returns
    -------
    Sequential
        Built, not compiled.
    """
    return Sequential([
        layers.Input(input_shape),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(classes, activation="softmax"),
    ], seed=seed)


def lenet5(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build LeNet-5 as it is trained today: ReLU, max-pooling and softmax.

    After Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
    1998. Its images are 32 x 32, or 28 x 28, which the first layer pads. Parameters and result as in `small`.
    """
    padding = "valid" if input_shape[0] >= 32 else "same"
    return Sequential([
        layers.Input(input_shape),
        layers.Conv2D(6, 5, padding=padding, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(classes, activation="softmax"),
    ], seed=seed)


def vgg_small(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build three pairs of 3 x 3 convolutions with batch normalization, 32, 64 and 128 wide, for images of CIFAR's size.

    After K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    Parameters and result as in `small`.
    """
    blocks: list[Layer] = []
    for filters in (32, 64, 128):
        blocks += [*_conv_bn_relu(filters, 3), *_conv_bn_relu(filters, 3), layers.MaxPooling2D(2)]
    return Sequential([
        layers.Input(input_shape), *blocks, layers.Flatten(), layers.Dense(128, activation="relu"),
        layers.Dense(classes, activation="softmax"),
    ], seed=seed)  # fmt: skip


def resnet18(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build ResNet-18 (K. He, X. Zhang, S. Ren and J. Sun, CVPR 2016).

    Images less than 64 pixels high begin with one 3 x 3 convolution, as for CIFAR; larger ones with 7 x 7 and a pool, as for
    ImageNet. Parameters and result as in `small`.
    """
    return _resnet(input_shape, classes, seed, (2, 2, 2, 2), _basic_block)


def resnet34(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build ResNet-34, as `resnet18`."""
    return _resnet(input_shape, classes, seed, (3, 4, 6, 3), _basic_block)


def resnet50(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build ResNet-50 with its bottlenecks, strides in their 3 x 3 convolutions; otherwise as `resnet18`."""
    return _resnet(input_shape, classes, seed, (3, 4, 6, 3), _bottleneck)


def mobilenet_v1(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build MobileNet v1, width 1 (A. G. Howard et al., arXiv 1704.04861). Parameters and result as in `small`.

    Images less than 64 pixels high are not made smaller by the first layer.
    """
    blocks = _conv_bn_relu(32, 3, _first_stride(input_shape))
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for filters, stride in rows:
        blocks += [layers.DepthwiseConv2D(3, stride, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        blocks += _conv_bn_relu(filters, 1)
    return _classifier(input_shape, blocks, classes, seed)


def mobilenet_v2(input_shape: Shape, classes: int, seed: int | None = None) -> Sequential:
    """Build MobileNet v2, width 1, with ReLU for ReLU6 (M. Sandler et al., CVPR 2018). Parameters and result as in `small`.

    Images less than 64 pixels high are not made smaller by the first layer.
    """
    blocks, channels = _conv_bn_relu(32, 3, _first_stride(input_shape)), 32
    for expansion, filters, count, first in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:  # fmt: skip
        for number in range(count):
            stride = first if number == 0 else 1
            main = [] if expansion == 1 else _conv_bn_relu(expansion * channels, 1)
            main += [layers.DepthwiseConv2D(3, stride, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
            main += [layers.Conv2D(filters, 1, use_bias=False), layers.BatchNormalization()]
            blocks += [layers.Residual(main)] if stride == 1 and channels == filters else main
            channels = filters
    return _classifier(input_shape, [*blocks, *_conv_bn_relu(1280, 1)], classes, seed)


def _conv_bn_relu(filters: int, size: int, stride: int = 1) -> list[Layer]:
    convolution = layers.Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal")
    return [convolution, layers.BatchNormalization(), layers.ReLU()]


def _first_stride(input_shape: Shape) -> int:
    return 1 if input_shape[0] < 64 else 2


def _basic_block(filters: int, stride: int, channels: int) -> tuple[list[Layer], int]:
    main = [*_conv_bn_relu(filters, 3, stride), *_conv_bn_relu(filters, 3)[:2]]
    return [layers.Residual(main, _projection(filters, stride, channels)), layers.ReLU()], filters


def _bottleneck(filters: int, stride: int, channels: int) -> tuple[list[Layer], int]:
    main = [*_conv_bn_relu(filters, 1), *_conv_bn_relu(filters, 3, stride), *_conv_bn_relu(4 * filters, 1)[:2]]
    return [layers.Residual(main, _projection(4 * filters, stride, channels)), layers.ReLU()], 4 * filters


def _projection(filters: int, stride: int, channels: int) -> list[Layer] | None:
    return None if stride == 1 and channels == filters else _conv_bn_relu(filters, 1, stride)[:2]


def _resnet(
    input_shape: Shape, classes: int, seed: int | None, counts: Sequence[int],
    block: Callable[[int, int, int], tuple[list[Layer], int]],
) -> Sequential:  # fmt: skip
    if _first_stride(input_shape) == 1:
        blocks = _conv_bn_relu(64, 3)
    else:
        blocks = [*_conv_bn_relu(64, 7, 2), layers.MaxPooling2D(3, 2, "same")]
    channels = 64
    for stage, count in enumerate(counts):
        for number in range(count):
            made, channels = block(64 * 2**stage, 2 if stage and number == 0 else 1, channels)
            blocks += made
    return _classifier(input_shape, blocks, classes, seed)


def _classifier(input_shape: Shape, blocks: Sequence[Layer], classes: int, seed: int | None) -> Sequential:
    return Sequential([
        layers.Input(input_shape), *blocks, layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax"),
    ], seed=seed)  # fmt: skip


NETWORKS: dict[str, Callable[..., Sequential]] = {
    "small": small, "lenet5": lenet5, "vgg_small": vgg_small, "resnet18": resnet18, "resnet34": resnet34,
    "resnet50": resnet50, "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2,
}  # fmt: skip
