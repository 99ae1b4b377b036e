"""ncnn has no batch: a batch is a loop over images, as its users write it. Blobs stay packed on both sides of the call."""

import os
import tempfile

import ncnn
import numpy as np

from . import Unsupported, planar


def version():
    return ncnn.__version__


def _network(case, arrays, threads):
    """ncnn's text description and binary weights of one layer."""
    (kh, kw), s, p, d = case.kernel, case.stride, case.padding, case.dilation
    if case.op == "conv2d":
        weight = np.ascontiguousarray(arrays["weight"].transpose(3, 2, 0, 1))
        kind = "Convolution" if case.groups == 1 else "ConvolutionDepthWise"
        layer = f"{kind} op 1 1 x y 0={case.cout} 1={kw} 11={kh} 2={d} 3={s} 4={p} 5=1 6={weight.size} 7={case.groups}"
        blob = np.zeros(1, np.int32).tobytes() + weight.tobytes() + arrays["bias"].tobytes()
    elif case.op == "max_pool2d":
        layer, blob = f"Pooling op 1 1 x y 0=0 1={kw} 11={kh} 2={s} 3={p} 5=1", b""
    elif case.op == "relu":
        layer, blob = "ReLU op 1 1 x y", b""
    else:
        raise Unsupported(case.op)
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed"):
        if hasattr(net.opt, option):
            setattr(net.opt, option, False)
    with tempfile.TemporaryDirectory() as folder:
        param, weights = os.path.join(folder, "param"), os.path.join(folder, "bin")
        with open(param, "w") as file:
            file.write(f"7767517\n2 2\nInput x 0 1 x\n{layer}\n")
        with open(weights, "wb") as file:
            file.write(blob)
        if net.load_param(param) or net.load_model(weights):
            raise RuntimeError(f"ncnn cannot load {layer}")
    return net


def prepare(case, arrays, threads, variant):
    if case.kind != "forward":
        raise Unsupported("inference only")
    net = _network(case, arrays, threads)
    packing = next((p for p in (16, 8, 4) if case.cin % p == 0), 1)
    images = [ncnn.convert_packing(ncnn.Mat(image).clone(), packing) for image in planar(arrays["x"])]

    def run(image, kept=1):
        extractor = net.create_extractor()
        extractor.input("x", image)
        return extractor.extract("y", kept)[1]

    def call():
        for image in images:
            y = run(image)
        return y

    return call, lambda _: np.stack([np.array(run(image, 0)) for image in images]).transpose(0, 2, 3, 1)
