"""A network of `benchmarks.zoo` as an ONNX model: what ONNX Runtime and OpenVINO are given."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.zoo import EPSILON, NETWORKS, weights


class Builder:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, kind, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def build(self, layers, x, shape, arrays):
        """Adds `layers` after the tensor `x` of the channels-last `shape`; returns the last tensor and its shape."""
        for kind, *how in layers:
            if kind == "conv":
                filters, k, stride, padding, groups, bias = how
                operands = [self.constant(next(arrays).transpose(3, 2, 0, 1))]
                if bias:
                    operands.append(self.constant(next(arrays)))
                window = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": [padding] * 4}
                x = self.node("Conv", x, *operands, group=groups or shape[-1], **window)
                shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), filters)
            elif kind == "bn":
                operands = [self.constant(next(arrays)) for _ in range(4)]
                x = self.node("BatchNormalization", x, *operands, epsilon=EPSILON)
            elif kind == "relu":
                x = self.node("Relu", x)
            elif kind == "relu6":
                x = self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))
            elif kind == "pool":
                k, stride, padding = how
                x = self.node("MaxPool", x, kernel_shape=[k, k], strides=[stride] * 2, pads=[padding] * 4)
                shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), shape[-1])
            elif kind == "gap":
                x, shape = self.node("Flatten", self.node("GlobalAveragePool", x)), shape[-1:]
            elif kind == "flatten":
                x = self.node("Flatten", x)
            elif kind == "dense":
                weight = next(arrays)
                if len(shape) == 3:  # the rows that follow a channels-last flattening, in channels-first order
                    weight = weight.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(len(weight), -1)
                x, shape = self.node("Gemm", x, self.constant(weight), self.constant(next(arrays))), (how[0],)
            else:
                main, end = self.build(how[0], x, shape, arrays)
                shortcut, _ = self.build(how[1], x, shape, arrays)
                x, shape = self.node("Add", main, shortcut), end
        return x, shape


def serialized(name, batch):
    layers, shape, *_ = NETWORKS[name]
    builder = Builder()
    y, end = builder.build(layers, "x", shape, iter(weights(name)))
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        builder.nodes, name,
        [helper.make_tensor_value_info("x", floats, [batch, shape[2], *shape[:2]])],
        [helper.make_tensor_value_info(y, floats, [batch, *end])],
        builder.constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()
