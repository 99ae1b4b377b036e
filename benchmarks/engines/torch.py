from functools import partial

import torch
import torch.nn.functional as F


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
