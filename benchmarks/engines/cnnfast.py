from functools import partial

import numpy as np

import cnnfast
from benchmarks.zoo import EPSILON, LEARNING_RATE, MOMENTUM, NETWORKS, weights, with_activations
from cnnfast import ops

from . import Unsupported


def version():
    return cnnfast.__version__


def prepare(case, arrays, threads, variant):
    ops.set_num_threads(threads)
    a = arrays
    function = {
        ("conv2d", "forward"): "conv2d",
        ("conv2d", "input"): "conv2d_backward_input",
        ("conv2d", "weight"): "conv2d_backward_weight",
    }.get((case.op, case.kind), case.op)
    if not hasattr(ops, function):
        raise Unsupported(function)
    function = getattr(ops, function)
    if case.op == "conv2d":
        if variant == "direct" and (case.kernel != (3, 3) or case.stride != 1 or case.groups > 1):
            raise Unsupported("auto is direct")
        how = (case.stride, case.padding, case.dilation, case.groups)
        operands = {
            "forward": lambda: (a["x"], a["weight"], a["bias"]),
            "input": lambda: (a["dy"], a["weight"], case.input_shape),
            "weight": lambda: (a["x"], a["dy"], case.weight_shape),
        }[case.kind]()
        return partial(function, *operands, *how, algorithm=variant), lambda y: y
    if variant != "auto":
        raise Unsupported(variant)
    if case.op == "matmul":
        return partial(function, a["x"], a["weight"]), lambda y: y
    if case.op == "max_pool2d":
        return partial(function, a["x"], case.kernel, case.stride, case.padding), lambda y: y
    return partial(function, a["x"]), lambda y: y


# --- whole networks


def build(layers):
    """The layers of a network of `benchmarks.zoo`."""
    from cnnfast import layers as k

    made = []
    for kind, how, activation in with_activations(layers):
        if kind == "conv":
            filters, size, stride, padding, groups, bias = how
            padding = keras_padding(made, *how[1:4])
            if groups == 0:
                made.append(k.DepthwiseConv2D(size, stride, padding, use_bias=bias, activation=activation))
            else:
                made.append(k.Conv2D(filters, size, stride, padding, groups=groups, use_bias=bias, activation=activation))
        elif kind == "bn":
            made.append(k.BatchNormalization(epsilon=EPSILON))
        elif kind == "relu":
            made.append(k.ReLU())
        elif kind == "relu6":
            made.append(k.ReLU(6))
        elif kind == "pool":
            made.append(k.MaxPooling2D(*how[:2], keras_padding(made, *how)))  # pads with zeros, after a ReLU
        elif kind == "gap":
            made.append(k.GlobalAveragePooling2D())
        elif kind == "flatten":
            made.append(k.Flatten())
        elif kind == "dense":
            made.append(k.Dense(how[0], activation=activation))
        else:
            made.append(k.Residual(build(how[0]), build(how[1]) or None))
    return made


def keras_padding(made, size, stride, padding):
    """Symmetric padding in Keras's words: "same", or a layer of zeros before."""
    if padding and stride == 1 and 2 * padding == size - 1:
        return "same"
    if padding:
        made.append(cnnfast.layers.ZeroPadding2D(padding))
    return "valid"


def model(name):
    """The network with the weights that every library gets."""
    layers, shape, *_ = NETWORKS[name]
    net = cnnfast.Sequential([cnnfast.layers.Input(shape), *build(layers)])
    net.set_weights([w.reshape(v.shape) for w, v in zip(weights(name), net.get_weights(), strict=True)])
    return net


def prepare_network(name, mode, x, labels, threads, variant):
    ops.set_num_threads(threads)
    net = model(name)
    if mode == "infer":
        return partial(net.predict_on_batch, x), lambda y: y
    net.compile(
        cnnfast.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
        cnnfast.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return partial(net.train_on_batch, x, labels), lambda loss: float(np.ravel(loss)[0])
