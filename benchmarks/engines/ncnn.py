"""ncnn has no batch: a batch is a loop over images, as its users write it. Blobs stay packed on both sides of the call."""

import os
import tempfile

import ncnn
import numpy as np

from benchmarks.zoo import EPSILON, NETWORKS, weights

from . import Unsupported, planar

FLOAT32 = np.zeros(1, np.int32).tobytes()  # the tag before weights


def version():
    return ncnn.__version__


def _single(case, arrays):
    """ncnn's text description and binary weights of one layer."""
    (kh, kw), s, p, d = case.kernel, case.stride, case.padding, case.dilation
    if case.op == "conv2d":
        weight = arrays["weight"].transpose(3, 2, 0, 1)
        kind = "Convolution" if case.groups == 1 else "ConvolutionDepthWise"
        layer = f"{kind} op 1 1 x y 0={case.cout} 1={kw} 11={kh} 2={d} 3={s} 4={p} 5=1 6={weight.size} 7={case.groups}"
        blob = FLOAT32 + weight.tobytes() + arrays["bias"].tobytes()
    elif case.op == "max_pool2d":
        layer, blob = f"Pooling op 1 1 x y 0=0 1={kw} 11={kh} 2={s} 3={p} 5=1", b""
    elif case.op == "relu":
        layer, blob = "ReLU op 1 1 x y", b""
    else:
        raise Unsupported(case.op)
    return f"7767517\n2 2\nInput x 0 1 x\n{layer}\n", blob


def _load(text, blob, threads):
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed"):
        if hasattr(net.opt, option):
            setattr(net.opt, option, False)
    with tempfile.TemporaryDirectory() as folder:
        param, weights = os.path.join(folder, "param"), os.path.join(folder, "bin")
        with open(param, "w") as file:
            file.write(text)
        with open(weights, "wb") as file:
            file.write(blob)
        if net.load_param(param) or net.load_model(weights):
            raise RuntimeError(f"ncnn cannot load {text}")
    return net


def prepare(case, arrays, threads, variant):
    if case.kind != "forward":
        raise Unsupported("inference only")
    net = _load(*_single(case, arrays), threads)
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


# --- whole networks


class Builder:
    """A network of `benchmarks.zoo` with batch normalisation and ReLU folded into convolutions, as ncnnoptimize does."""

    def __init__(self):
        self.lines, self.blob, self.blobs = ["Input x 0 1 x"], b"", 1

    def layer(self, kind, inputs, parameters="", outputs=1):
        names = [f"b{self.blobs + k}" for k in range(outputs)]
        self.blobs += outputs
        self.lines.append(f"{kind} l{len(self.lines)} {len(inputs)} {outputs} {' '.join([*inputs, *names])} {parameters}")
        return names if outputs > 1 else names[0]

    def build(self, layers, x, shape, arrays):
        layers = list(layers)
        while layers:
            kind, *how = layers.pop(0)
            if kind == "conv":
                x, shape = self.convolution(how, layers, x, shape, arrays)
            elif kind == "relu":
                x = self.layer("ReLU", [x])
            elif kind == "relu6":
                x = self.layer("Clip", [x], "0=0 1=6")
            elif kind == "pool":
                k, stride, padding = how
                x = self.layer("Pooling", [x], f"0=0 1={k} 2={stride} 3={padding} 5=1")
                shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), shape[-1])
            elif kind == "gap":
                x, shape = self.layer("Pooling", [x], "0=1 4=1"), shape[-1:]
            elif kind == "flatten":
                x = self.layer("Flatten", [x])
            elif kind == "dense":
                weight = next(arrays).T
                if len(shape) == 3:  # the rows that follow a channels-last flattening, in channels-first order
                    weight = weight.reshape(-1, *shape).transpose(0, 3, 1, 2)
                relu = layers[:1] == [("relu",)] and bool(layers.pop(0))
                x = self.layer("InnerProduct", [x], f"0={how[0]} 1=1 2={weight.size} 9={int(relu)}")
                self.blob += FLOAT32 + weight.tobytes() + next(arrays).tobytes()
                shape = (how[0],)
            else:
                left, right = self.layer("Split", [x], outputs=2)
                main, end = self.build(how[0], left, shape, arrays)
                shortcut, _ = self.build(how[1], right, shape, arrays)
                x, shape = self.layer("BinaryOp", [main, shortcut], "0=0"), end
        return x, shape

    def convolution(self, how, layers, x, shape, arrays):
        filters, k, stride, padding, groups, biased = how
        weight = next(arrays)
        bias = next(arrays) if biased else np.zeros(filters, np.float32)
        if layers[:1] == [("bn",)]:
            layers.pop(0)
            gamma, beta, mean, variance = (next(arrays) for _ in range(4))
            scale = gamma / np.sqrt(variance + np.float32(EPSILON))
            weight, bias = weight * scale, (bias - mean) * scale + beta
        after = layers[:1] in ([("relu",)], [("relu6",)]) and layers.pop(0)[0]
        activation = {"relu": "9=1", "relu6": "9=3 -23310=2,0.0,6.0"}.get(after, "9=0")
        groups = groups or shape[-1]
        kind = "Convolution" if groups == 1 else "ConvolutionDepthWise"
        parameters = f"0={filters} 1={k} 3={stride} 4={padding} 5=1 6={weight.size} 7={groups} {activation}"
        self.blob += FLOAT32 + weight.transpose(3, 2, 0, 1).tobytes() + bias.tobytes()
        shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), filters)
        return self.layer(kind, [x], parameters), shape


def prepare_network(name, mode, x, labels, threads, variant):
    if mode != "infer":
        raise Unsupported("inference only")
    layers, shape, *_ = NETWORKS[name]
    builder = Builder()
    last, _ = builder.build(layers, "x", shape, iter(weights(name)))
    text = "\n".join(["7767517", f"{len(builder.lines)} {builder.blobs}", *builder.lines, ""])
    net = _load(text, builder.blob, threads)
    images = [ncnn.Mat(image).clone() for image in planar(x)]

    def run(image):
        extractor = net.create_extractor()
        extractor.input("x", image)
        return extractor.extract(last)[1]

    return lambda: [run(image) for image in images], lambda mats: np.stack([np.array(m) for m in mats])
