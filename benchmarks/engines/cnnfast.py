from functools import partial

import cnnfast
from cnnfast import ops

from . import Unsupported


def version():
    return cnnfast.__version__


def prepare(case, arrays, threads, variant):
    cnnfast.set_num_threads(threads)
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
