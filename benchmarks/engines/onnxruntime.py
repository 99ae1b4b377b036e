import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import Unsupported, planar, quickest
from .onnx_model import serialized


def version():
    return onnxruntime.__version__


def model(case, arrays):
    """One node as an ONNX model: NCHW operands, weights constant as in a network."""
    attributes = {"kernel_shape": case.kernel, "strides": [case.stride] * 2, "pads": [case.padding] * 4}
    constants = {}
    if case.op == "conv2d":
        attributes |= {"dilations": [case.dilation] * 2, "group": case.groups}
        constants = {"w": np.ascontiguousarray(arrays["weight"].transpose(3, 2, 0, 1)), "b": arrays["bias"]}
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    elif case.op == "max_pool2d":
        node = helper.make_node("MaxPool", ["x"], ["y"], **attributes)
    elif case.op == "matmul":
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
    else:
        node = helper.make_node("Relu", ["x"], ["y"])
    inputs = ["x", "w"] if case.op == "matmul" else ["x"]
    shapes = {"x": planar(arrays["x"]).shape, "w": case.op == "matmul" and arrays["weight"].shape}
    graph = helper.make_graph(
        [node], "case",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made.SerializeToString()


def prepare(case, arrays, threads, variant):
    if case.kind != "forward":
        raise Unsupported("inference only")
    serialized = model(case, arrays)
    levels = onnxruntime.GraphOptimizationLevel

    def session(level):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level, options.log_severity_level = level, 3
        made = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        binding = made.io_binding()  # inputs and outputs stay where they are: no copy is timed
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(planar(arrays["x"])))
        if case.op == "matmul":
            binding.bind_ortvalue_input("w", onnxruntime.OrtValue.ortvalue_from_numpy(arrays["weight"]))
        shape = case.output_shape if len(case.output_shape) == 2 else [case.output_shape[i] for i in (0, 3, 1, 2)]
        output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
        binding.bind_ortvalue_output("y", output)

        def call():
            made.run_with_iobinding(binding)
            return output

        return call

    # ORT_ENABLE_ALL works in blocks of channels and reorders at the network's edges, ORT_ENABLE_EXTENDED in planes
    call = quickest([session(levels.ORT_ENABLE_ALL), session(levels.ORT_ENABLE_EXTENDED)])
    return call, lambda y: y.numpy() if len(case.output_shape) == 2 else y.numpy().transpose(0, 2, 3, 1)


def prepare_network(name, mode, x, labels, threads, variant):
    if mode != "infer":
        raise Unsupported("inference only")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(serialized(name, len(x)), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(planar(x)))
    y = session.get_outputs()[0]
    output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(y.shape, np.float32)
    binding.bind_ortvalue_output(y.name, output)
    return lambda: session.run_with_iobinding(binding), lambda _: output.numpy()
