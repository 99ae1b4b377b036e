import numpy as np
import openvino
from openvino import opset13 as op
from openvino.preprocess import PrePostProcessor

from . import Unsupported, planar, quickest
from .onnx_model import serialized

CORE = openvino.Core()


def version():
    return openvino.__version__.split("-")[0]


def model(case, arrays):
    x = op.parameter(planar(arrays["x"]).shape, np.float32)
    parameters, window = [x], ([case.stride] * 2, [case.padding] * 2, [case.padding] * 2)
    if case.op == "matmul":
        weight = op.parameter(arrays["weight"].shape, np.float32)
        return openvino.Model([op.matmul(x, weight, False, False)], [x, weight])
    if case.op == "relu":
        return openvino.Model([op.relu(x)], parameters)
    if case.op == "max_pool2d":
        dilation = [1, 1]
        y = op.max_pool(x, [case.stride] * 2, dilation, [case.padding] * 2, [case.padding] * 2, list(case.kernel))
        return openvino.Model([y.output(0)], parameters)
    weight, dilation, g = arrays["weight"].transpose(3, 2, 0, 1), [case.dilation] * 2, case.groups
    if g == 1:
        y = op.convolution(x, op.constant(np.ascontiguousarray(weight)), *window, dilation)
    else:
        grouped = weight.reshape(g, case.cout // g, case.cin // g, *case.kernel)
        y = op.group_convolution(x, op.constant(np.ascontiguousarray(grouped)), *window, dilation)
    return openvino.Model([op.add(y, op.constant(arrays["bias"].reshape(1, -1, 1, 1)))], parameters)


def channels_last(network):
    """The same model taking and giving NHWC, which the plug-in computes in without a reorder."""
    edges = PrePostProcessor(network)
    for edge in (edges.input(), edges.output()):
        edge.tensor().set_layout(openvino.Layout("NHWC"))
        edge.model().set_layout(openvino.Layout("NCHW"))
    return edges.build()


def configuration(threads, variant):
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    return config | ({"INFERENCE_PRECISION_HINT": "f32"} if variant == "f32" else {})


def prepare(case, arrays, threads, variant):
    if case.kind != "forward":
        raise Unsupported("inference only")

    def compiled(network, x):
        request = CORE.compile_model(network, "CPU", configuration(threads, variant)).create_infer_request()
        request.set_input_tensor(0, openvino.Tensor(x, shared_memory=True))
        if case.op == "matmul":
            request.set_input_tensor(1, openvino.Tensor(arrays["weight"], shared_memory=True))

        def call():
            request.infer()
            return request

        call.planar, call.operands = x is not arrays["x"], (x, arrays.get("weight"))  # shared, so kept alive
        return call

    if case.op == "matmul":
        return compiled(model(case, arrays), arrays["x"]), lambda r: r.get_output_tensor(0).data
    choices = [compiled(channels_last(model(case, arrays)), arrays["x"])]
    if case.cin > 1:  # at one channel both are the same bytes
        choices.append(compiled(model(case, arrays), planar(arrays["x"])))
    call = quickest(choices)

    def fetch(request):
        y = request.get_output_tensor(0).data
        return y.transpose(0, 2, 3, 1) if call.planar else y

    return call, fetch


def prepare_network(name, mode, x, labels, threads, variant):
    if mode != "infer":
        raise Unsupported("inference only")
    network = CORE.read_model(serialized(name, len(x)))
    request = CORE.compile_model(network, "CPU", configuration(threads, variant)).create_infer_request()
    x = planar(x)
    request.set_input_tensor(0, openvino.Tensor(x, shared_memory=True))

    def call(x=x):  # keeps the shared input alive
        request.infer()

    return call, lambda _: request.get_output_tensor(0).data
