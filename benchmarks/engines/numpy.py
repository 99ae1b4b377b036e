from functools import partial

import numpy as np

from benchmarks import numpy_baseline
from benchmarks.zoo import LEARNING_RATE, MOMENTUM, weights

from . import Unsupported


def version():
    return np.__version__


def prepare(case, arrays, threads, variant):
    x = arrays["x"]
    if case.op == "matmul":
        return partial(np.matmul, x, arrays["weight"], out=np.empty(case.output_shape, np.float32)), lambda y: y
    if case.op == "relu":
        return partial(np.maximum, x, np.float32(0), out=np.empty_like(x)), lambda y: y
    if case.op == "max_pool2d":
        if case.padding:
            raise Unsupported("padding")
        return partial(numpy_baseline.MaxPool2d(x.shape, case.kernel, case.stride).forward, x), lambda y: y
    plan = numpy_baseline.Conv2d(
        case.input_shape, case.weight_shape, case.stride, case.padding, case.dilation, case.groups
    )
    if case.kind == "forward":
        return partial(plan.forward, x, arrays["weight"], arrays["bias"]), lambda y: y
    if case.kind == "input":
        return partial(plan.backward_input, arrays["dy"], arrays["weight"]), lambda y: y
    return partial(plan.backward_weight, x, arrays["dy"]), lambda y: y


def prepare_network(name, mode, x, labels, threads, variant):
    if name != "lenet32-64":
        raise Unsupported("one network is written out")
    net = numpy_baseline.ConvNet(x.shape, weights(name))
    if mode == "train":
        return partial(net.train_step, x, labels, LEARNING_RATE, MOMENTUM), lambda loss: loss
    return lambda: net._forward(x, False)[-1], lambda y: y
