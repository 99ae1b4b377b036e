from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.zoo import EPSILON, LEARNING_RATE, MOMENTUM, NETWORKS, weights


def version():
    return torch.__version__


def prepare(case, arrays, threads, variant):
    torch.set_num_threads(threads)
    torch.inference_mode().__enter__()
    memory_format = torch.channels_last if variant == "channels_last" else torch.contiguous_format

    def activation(a):
        return torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)

    def image(y):
        return y.permute(0, 2, 3, 1).numpy()

    if case.op == "matmul":
        x, weight = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["weight"])
        return partial(torch.mm, x, weight), torch.Tensor.numpy
    x = activation(arrays["x"])
    if case.op == "relu":
        return partial(torch.relu, x), image
    if case.op == "max_pool2d":
        return partial(F.max_pool2d, x, case.kernel, case.stride, case.padding), image
    weight = torch.from_numpy(arrays["weight"]).permute(3, 2, 0, 1).contiguous(memory_format=memory_format)
    stride, padding, dilation = [case.stride] * 2, [case.padding] * 2, [case.dilation] * 2
    if case.kind == "forward":
        bias = torch.from_numpy(arrays["bias"])
        return partial(F.conv2d, x, weight, bias, stride, padding, dilation, case.groups), image
    mask = [case.kind == "input", case.kind == "weight", False]
    backward = partial(
        torch.ops.aten.convolution_backward, activation(arrays["dy"]), x, weight, None, stride, padding, dilation,
        False, [0, 0], case.groups, mask,
    )  # fmt: skip
    if case.kind == "input":
        return backward, lambda d: image(d[0])
    return backward, lambda d: d[1].permute(2, 3, 1, 0).numpy()


# --- whole networks


class Residual(torch.nn.Module):
    def __init__(self, main, shortcut):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x):
        return self.main(x) + self.shortcut(x)


def build(layers, shape, arrays):
    """The network as modules with the given weights; also the shape of its output, channels last."""
    modules = []

    def kernel(a):
        return torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(a)))

    for kind, *how in layers:
        if kind == "conv":
            filters, k, stride, padding, groups, bias = how
            module = torch.nn.Conv2d(shape[-1], filters, k, stride, padding, groups=groups or shape[-1], bias=bias)
            module.weight = kernel(next(arrays).transpose(3, 2, 0, 1))
            if bias:
                module.bias = kernel(next(arrays))
            shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), filters)
        elif kind == "bn":
            module = torch.nn.BatchNorm2d(shape[-1], eps=EPSILON)
            module.weight, module.bias = kernel(next(arrays)), kernel(next(arrays))
            module.running_mean.copy_(torch.from_numpy(next(arrays)))
            module.running_var.copy_(torch.from_numpy(next(arrays)))
        elif kind == "relu":
            module = torch.nn.ReLU(inplace=True)
        elif kind == "relu6":
            module = torch.nn.ReLU6(inplace=True)
        elif kind == "pool":
            k, stride, padding = how
            module = torch.nn.MaxPool2d(k, stride, padding)
            shape = (*((n + 2 * padding - k) // stride + 1 for n in shape[:2]), shape[-1])
        elif kind == "gap":
            module, shape = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()), shape[-1:]
        elif kind == "flatten":
            module = torch.nn.Flatten()
        elif kind == "dense":
            weight = next(arrays).T
            if len(shape) == 3:  # the rows that follow a channels-last flattening, in channels-first order
                weight = weight.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(len(weight), -1)
            module = torch.nn.Linear(weight.shape[1], how[0])
            module.weight, module.bias, shape = kernel(weight), kernel(next(arrays)), (how[0],)
        else:
            main, end = build(how[0], shape, arrays)
            shortcut, _ = build(how[1], shape, arrays)
            module, shape = Residual(main, shortcut), end
        modules.append(module)
    return torch.nn.Sequential(*modules), shape


def inferring(net, x, mode):
    def call():
        with mode():
            return net(x)

    return call


def prepare_network(name, mode, x, labels, threads, variant):
    torch.set_num_threads(threads)
    layout, _, compiled = variant.partition(" ")
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    layers, shape, *_ = NETWORKS[name]
    net, _ = build(layers, shape, iter(weights(name)))
    net = net.to(memory_format=memory_format)
    x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    if mode == "infer":
        net.eval()
        if not compiled:
            return inferring(net, x, torch.inference_mode), torch.Tensor.numpy
        for freezing in (True, False):  # weights as constants, folded and packed; 2.13 fails at that for some shapes
            torch._dynamo.reset()
            torch._inductor.config.freezing = freezing
            call = inferring(torch.compile(net, dynamic=False), x, torch.no_grad)
            try:
                call()
                break
            except Exception:
                if not freezing:
                    raise
        return call, torch.Tensor.numpy
    labels = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)

    def loss_of(x, labels):
        return F.cross_entropy(net(x), labels)

    torch._dynamo.reset()
    torch._inductor.config.freezing = False
    function = torch.compile(loss_of, dynamic=False) if compiled else loss_of
    net.train()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = function(x, labels)
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda loss: loss.item()
