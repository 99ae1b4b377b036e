"""Networks in words that every library is built from: lists of tuples.

``("conv", filters, kernel, stride, padding, groups, bias)`` (groups 0: depthwise), ``("bn",)``, ``("relu",)``, ``("relu6",)``,
``("pool", kernel, stride, padding)``, ``("gap",)``, ``("flatten",)``, ``("dense", units)`` and
``("residual", main, shortcut)``, lists again. Padding is symmetric. The output is logits.

``weights`` gives one list of arrays for all of them, in Keras's order and shapes; ``forward`` is the truth.
"""

import numpy as np

from . import numpy_baseline

EPSILON = 1e-3  # of batch normalisation
LEARNING_RATE, MOMENTUM = 0.01, 0.9  # of the SGD that training steps do


def conv(filters, kernel=3, stride=1, padding=None, groups=1, bias=True):
    return ("conv", filters, kernel, stride, kernel // 2 if padding is None else padding, groups, bias)


def conv_bn(filters, kernel=3, stride=1, groups=1, activation="relu"):
    return [conv(filters, kernel, stride, groups=groups, bias=False), ("bn",), (activation,)]


def lenet32_64():
    return [conv(32, 3, 1, 0), ("relu",), ("pool", 2, 2, 0), conv(64, 3, 1, 0), ("relu",), ("pool", 2, 2, 0),
            ("flatten",), ("dense", 128), ("relu",), ("dense", 10)]  # fmt: skip


def lenet5():
    return [conv(6, 5), ("relu",), ("pool", 2, 2, 0), conv(16, 5, 1, 0), ("relu",), ("pool", 2, 2, 0), ("flatten",),
            ("dense", 120), ("relu",), ("dense", 84), ("relu",), ("dense", 10)]  # fmt: skip


def vgg_small():
    net = []
    for filters in (32, 64, 128):
        net += [*conv_bn(filters), *conv_bn(filters), ("pool", 2, 2, 0)]
    return [*net, ("flatten",), ("dense", 128), ("relu",), ("dense", 10)]


def resnet18_cifar():
    net = conv_bn(64)
    for filters in (64, 128, 256, 512):
        for stride in (1 if filters == 64 else 2, 1):
            main = [*conv_bn(filters, 3, stride), conv(filters, bias=False), ("bn",)]
            shortcut = [] if stride == 1 else [conv(filters, 1, 2, bias=False), ("bn",)]
            net += [("residual", main, shortcut), ("relu",)]
    return [*net, ("gap",), ("dense", 10)]


def resnet50():
    net, channels = [*conv_bn(64, 7, 2), ("pool", 3, 2, 1)], 64
    for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and filters > 64 else 1
            main = [*conv_bn(filters, 1), *conv_bn(filters, 3, stride), conv(4 * filters, 1, bias=False), ("bn",)]
            shortcut = [] if channels == 4 * filters else [conv(4 * filters, 1, stride, bias=False), ("bn",)]
            net += [("residual", main, shortcut), ("relu",)]
            channels = 4 * filters
    return [*net, ("gap",), ("dense", 1000)]


def mobilenet_v1():
    net = conv_bn(32, 3, 2)
    rows = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    for channels, filters, stride in [*rows, *[(512, 512, 1)] * 5, (512, 1024, 2), (1024, 1024, 1)]:
        net += [*conv_bn(channels, 3, stride, groups=0), *conv_bn(filters, 1)]
    return [*net, ("gap",), ("dense", 1000)]


def mobilenet_v2():
    net, channels = conv_bn(32, 3, 2, activation="relu6"), 32
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, filters, blocks, first_stride in rows:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            main = conv_bn(expansion * channels, 1, activation="relu6") if expansion > 1 else []
            main += conv_bn(expansion * channels, 3, stride, 0, "relu6")
            main += [conv(filters, 1, bias=False), ("bn",)]
            net += [("residual", main, [])] if stride == 1 and channels == filters else main
            channels = filters
    return [*net, *conv_bn(1280, 1, activation="relu6"), ("gap",), ("dense", 1000)]


# name: (layers, image shape, training batch, inference batches)
NETWORKS = {
    "lenet5": (lenet5(), (28, 28, 1), 64, (1, 64)),
    "lenet32-64": (lenet32_64(), (28, 28, 1), 64, (1, 64)),
    "vgg-small": (vgg_small(), (32, 32, 3), 64, (1, 64)),
    "resnet18-cifar": (resnet18_cifar(), (32, 32, 3), 32, (1, 32)),
    "mobilenet_v1": (mobilenet_v1(), (224, 224, 3), 16, (1, 32)),
    "mobilenet_v2": (mobilenet_v2(), (224, 224, 3), 16, (1, 32)),
    "resnet50": (resnet50(), (224, 224, 3), 8, (1, 8)),
}


def with_activations(layers):
    """(kind, arguments, activation): a ReLU after a convolution or a dense layer as the layer's own, as users write it."""
    previous_fused = False
    for (kind, *how), after in zip(layers, [*layers[1:], (None,)]):
        fused = kind in ("conv", "dense") and after[0] == "relu"
        if kind != "relu" or not previous_fused:
            yield kind, how, "relu" if fused else None
        previous_fused = fused


def batch(name, size):
    """Images and labels, the same in every process."""
    rng = np.random.default_rng(5)
    layers, shape, *_ = NETWORKS[name]
    classes = layers[-1][1]
    return rng.random((size, *shape), dtype=np.float32), rng.integers(0, classes, size)


def weights(name):
    """He-initialised kernels, zero biases, batch-norm statistics away from 0 and 1."""
    rng = np.random.default_rng(6)
    layers, shape, *_ = NETWORKS[name]
    arrays = []

    def normal(*size, fan_in):
        return rng.standard_normal(size, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)

    def walk(layers, shape):
        for kind, *how in layers:
            if kind == "conv":
                filters, k, stride, padding, groups, bias = how
                depth = shape[-1] // (groups or shape[-1])
                arrays.append(normal(k, k, depth, filters, fan_in=k * k * depth))
                if bias:
                    arrays.append(np.zeros(filters, np.float32))
                shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), filters)
            elif kind == "bn":
                n = shape[-1]
                arrays.extend([rng.uniform(0.5, 1, n), rng.normal(0, 0.1, n), rng.normal(0, 0.1, n), rng.uniform(0.5, 1.5, n)])
            elif kind == "pool":
                k, stride, padding = how
                shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), shape[-1])
            elif kind == "gap":
                shape = shape[-1:]
            elif kind == "flatten":
                shape = (int(np.prod(shape)),)
            elif kind == "dense":
                arrays.extend([normal(shape[0], how[0], fan_in=shape[0]), np.zeros(how[0], np.float32)])
                shape = (how[0],)
            elif kind == "residual":
                end = walk(how[0], shape)
                walk(how[1], shape)
                shape = end
        return shape

    walk(layers, shape)
    return [np.ascontiguousarray(a, np.float32) for a in arrays]


def forward(layers, x, arrays, training=False):
    """Logits by the NumPy baseline; `training` takes batch-norm's statistics from the batch. `arrays` is an iterator."""
    for kind, *how in layers:
        if kind == "conv":
            _, _, stride, padding, groups, bias = how
            weight = next(arrays)
            bias = next(arrays) if bias else None
            x = numpy_baseline.conv2d(x, weight, bias, stride, padding, 1, groups or x.shape[-1]).copy()
        elif kind == "bn":
            gamma, beta, mean, variance = (next(arrays) for _ in range(4))
            if training:
                mean, variance = x.mean((0, 1, 2), dtype=np.float64), x.var((0, 1, 2), dtype=np.float64)
            scale = gamma / np.sqrt(variance + EPSILON)
            x = (x * scale + (beta - mean * scale)).astype(np.float32)
        elif kind == "relu":
            x = np.maximum(x, 0)
        elif kind == "relu6":
            x = np.clip(x, 0, 6)
        elif kind == "pool":
            k, stride, padding = how
            edge = (padding, padding)
            x = np.pad(x, ((0, 0), edge, edge, (0, 0)), constant_values=-np.inf)
            x = numpy_baseline.max_pool2d(x, k, stride).copy()
        elif kind == "gap":
            x = x.mean((1, 2))
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "dense":
            x = x @ next(arrays) + next(arrays)
        elif kind == "residual":
            main = forward(how[0], x, arrays, training)
            x = main + forward(how[1], x, arrays, training)
    return x


def loss(logits, labels):
    """Mean cross-entropy."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))
