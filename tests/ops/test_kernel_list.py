"""Nothing untested can exist: every kernel of the one list runs here, on every ISA and dtype, and its result is right.

The calls below are small; each op's own test file is where it is tried hard. A kernel that no call reaches fails this file
by name: add its op to `calls`.
"""

import numpy as np
import pytest
from harness import assert_within, integers

from cnnfast import ops
from cnnfast import reference as ref
from cnnfast.ops import cpu
from cnnfast.ops.threads import tracing


def calls(rng, dtype):
    """(op, arguments, options); the reference takes the same, but knows no `algorithm` and no `precision`."""
    x, weight, bias = (integers(rng, shape, dtype) for shape in [(2, 9, 9, 6), (3, 3, 6, 8), (8,)])
    dy = integers(rng, (2, 9, 9, 8), dtype)
    for op in ("exp", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "softmax"):
        yield op, (x,), {}
    yield "log", (np.abs(x) + dtype.type(1),), {}
    yield "gelu", (x, "tanh"), {}
    for op in ("relu_backward", "leaky_relu_backward", "elu_backward", "silu_backward", "gelu_backward"):
        yield op, (x, x), {}
    yield "gelu_backward", (x, x, "tanh"), {}
    yield "clipped_relu", (x, 3.0, 0.25, 1.0), {}
    yield "clipped_relu_backward", (x, x, 3.0, 0.25, 1.0), {}
    p, target = np.abs(x) / 8 + dtype.type(0.25), np.abs(x) / 4
    for op in ("sigmoid_backward", "tanh_backward", "softmax_backward"):
        yield op, (x, p), {}
    yield "add", (x, x), dict(activation="relu")
    labels, dloss = rng.integers(0, 6, x.shape[:-1]), x[..., 0]
    yield "softmax_cross_entropy", (x, labels), {}
    yield "softmax_cross_entropy_backward", (dloss, p, labels), {}
    yield "cross_entropy", (p, labels), {}
    yield "cross_entropy_backward", (dloss, p, labels), {}
    yield "mse_loss", (x, target), {}
    yield "mse_loss_backward", (dloss, x, target), {}
    for op in ("sigmoid_cross_entropy", "binary_cross_entropy"):
        yield op, (p, target), {}
        yield op + "_backward", (x, p, target), {}
    yield "penalty", (x, 0.5, 0.25), {}
    yield "penalty_backward", (p, x, 0.5, 0.25), {}
    yield "dropout", (x, 0.25), dict(seed=3, step=5)
    yield "dropout", (x, 0.25), dict(seed=3, step=5, noise_shape=(2, 1, 9, 1))
    yield "random_uniform", ((3, 5), -1.0, [1.0, 2.0, 3.0]), dict(seed=3, step=5, dtype=dtype.name)
    yield "moving_average", (x, p, 0.75), {}
    mean, var = ref.batch_norm_stats(x)
    statistics = mean.astype(dtype), var.astype(dtype)
    yield "batch_norm", (x, *statistics), {}
    yield "batch_norm", (x, *statistics), dict(residual=p, activation="relu")
    yield "batch_norm_stats", (x,), {}
    yield "batch_norm_backward", (p[0, :2], x[0, :2], *statistics), {}
    yield "batch_norm_backward", (p[0, :2], x[0, :2], *statistics), dict(training=False)
    gate = dict(activation="relu", y=x[0, 2:4])
    yield "batch_norm_backward", (p[0, :2], x[0, :2], *statistics), dict(return_dresidual=True, **gate)
    yield "relu_backward", (x, p), dict(return_dbias=True)
    slopes = weight[0, 0, :, 0] / 4
    yield "prelu", (x, slopes.reshape(1, 1, 6)), {}
    yield "prelu_backward", (x, p, slopes.reshape(1, 1, 6)), {}
    yield "layer_norm", (x, 6, slopes), {}
    yield "layer_norm_backward", (p, x, 6, slopes), {}
    yield "group_norm", (x, 3, slopes), {}
    yield "group_norm_backward", (p, x, 3, slopes), {}
    lr = dict(lr=0.5, weight_decay=0.25)
    yield "sgd_step", (x, p, target), dict(momentum=0.5, **lr)
    yield "adam_step", (x, p, target, p), dict(beta_1=0.75, beta_2=0.5, eps=0.25, step=3, **lr)
    yield "rmsprop_step", (x, p, p, target), dict(rho=0.75, eps=0.25, momentum=0.5, **lr)
    yield "matmul", (x[0], x[1].transpose(0, 2, 1)), {}
    yield "dense", (x, weight[0, 0], bias), {}
    yield "dense_backward_input", (dy, weight[0, 0]), {}
    yield "dense_backward_weight", (x, dy), {}
    yield "dense_backward_bias", (dy,), {}
    wide = integers(rng, (1, 44, 44, 2), dtype)  # more tiles than a block has
    many, dmany = integers(rng, (2, 32, 32, 2), dtype), integers(rng, (2, 32, 32, 3), dtype)  # pixels enough for several sums
    yield "conv2d", (x, weight, bias, 1, 1), {}
    yield "conv2d_backward_input", (dy, weight, x.shape, 1, 1), {}
    yield "conv2d_backward_input", (many, integers(rng, (3, 3, 2, 2), dtype), (2, 64, 64, 2), 2, 1), {}
    yield "conv2d_backward_weight", (x, dy, weight.shape, 1, 1), {}
    yield "conv2d_backward_bias", (dy,), {}
    yield "conv2d_backward_weight", (many, dmany, (1, 1, 2, 3)), {}
    for precision in ("default", "strict"):
        winograd = dict(algorithm="winograd", precision=precision)
        yield "conv2d", (x, weight, bias, 1, 1), winograd
        yield "conv2d", (wide, integers(rng, (3, 3, 2, 3), dtype), None, 1, 1), winograd
        yield "conv2d_backward_input", (dy, weight, x.shape, 1, 1), winograd
        yield "conv2d_backward_weight", (x, dy, weight.shape, 1, 1), winograd
    narrow = integers(rng, (3, 3, 2, 6), dtype)  # three groups of 2 channels
    yield "conv2d", (x, narrow, None, 1, 1, 1, 3), {}
    yield "conv2d_backward_input", (x, narrow, x.shape, 1, 1, 1, 3), {}
    yield "conv2d_backward_weight", (x, x, narrow.shape, 1, 1, 1, 3), dict(algorithm="winograd")
    five = integers(rng, (5, 5, *weight.shape[2:]), dtype)
    yield "conv2d", (x, five, bias, 1, 2), dict(algorithm="winograd")
    yield "conv2d_backward_input", (dy, five, x.shape, 1, 2), dict(algorithm="winograd")
    yield "conv2d_backward_weight", (x, dy, five.shape, 1, 2), dict(algorithm="winograd")
    depthwise = weight[:, :, :1, :6].copy()
    yield "conv2d", (x, depthwise, None, 1, 1, 1, 6), {}
    yield "conv2d_backward_input", (x, depthwise, x.shape, 1, 1, 1, 6), {}
    yield "conv2d_backward_input", (x[:, :5, :5], depthwise, x.shape, 2, 1, 1, 6), {}
    yield "conv2d_backward_weight", (x, x, depthwise.shape, 1, 1, 1, 6), {}
    yield "conv2d", (x[..., :3], depthwise, None, 1, 1, 1, 3), {}  # two filters a channel
    yield "conv2d_backward_input", (x, depthwise, (*x.shape[:3], 3), 1, 1, 1, 3), {}
    yield "upsample2d", (x, (2, 3), "bilinear"), {}
    yield "upsample2d_backward", (x, 3, "bilinear"), {}
    each = np.array([0.25, -0.5])
    yield "flip2d", (x, [True, False], [True, True]), {}
    yield "crop2d", (x, [0, 3], [2, 1], 5, 4), {}
    yield "crop2d_backward", (x, [0, 3], [2, 1], (2, 12, 11, 6)), {}
    matrices = ops.rotation2d(each.astype(dtype), (9, 9)) + ops.translation2d(each.astype(dtype), each.astype(dtype), (9, 9))
    yield "affine2d", (x, matrices, "constant", "bilinear", 2.0), {}
    yield "affine2d_backward", (x, matrices, "reflect"), {}
    for op in ("adjust_brightness", "adjust_contrast"):
        yield op, (x, each, (-2, 3)), {}
        yield op + "_backward", (p, x, each, (-2, 3)), {}
    yield "concatenate", ([x, p[:, :, :, ::2]],), {}
    yield "pad2d", (x, ((1, 2), (0, 3)), 2.0), {}
    yield "pad2d_backward", (x, ((1, 2), (0, 3))), {}
    windows = (2, 2, 1)
    y, indices = ref.max_pool2d(x, *windows, return_indices=True)
    yield "max_pool2d", (x, *windows), {}
    yield "max_pool2d_backward", (y.astype(dtype), indices, x.shape, *windows), {}
    yield "max_pool2d_backward", (y.astype(dtype), indices, x.shape, *windows), dict(y=y.astype(dtype))
    yield "avg_pool2d", (x, *windows), {}
    yield "avg_pool2d_backward", (y.astype(dtype), x.shape, *windows), {}
    y, indices = ref.global_max_pool2d(x, return_indices=True)
    yield "global_max_pool2d", (x,), {}
    yield "global_max_pool2d_backward", (y.astype(dtype), indices, x.shape), {}
    yield "global_avg_pool2d", (x,), {}
    yield "global_avg_pool2d_backward", (y.astype(dtype), x.shape), {}


def tile_calls(rng, isa, dtype):
    if isa == "amx" and dtype == np.float32:
        yield "conv2d", (integers(rng, (2, 8, 8, 6)), integers(rng, (3, 3, 6, 8))), dict(algorithm="split")


def results(library, op, arguments, options, dtype):
    """All arrays that the call returns or changes."""
    arguments = [np.array(a, dtype) if op.endswith("_step") else a for a in arguments]
    returned = getattr(library, op)(*arguments, **options)
    return arguments if returned is None else returned if isinstance(returned, tuple) else (returned,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_runs_and_is_right(isa, dtype, rng):
    dtype = np.dtype(dtype)
    with tracing() as ran:
        for op, arguments, options in [*calls(rng, dtype), *tile_calls(rng, isa, dtype)]:
            actual = results(ops, op, arguments, options, dtype)
            options = {name: value for name, value in options.items() if name not in ("algorithm", "precision")}
            expected = results(ref, op, arguments, options, np.float64)
            for a, e in zip(actual, expected, strict=True):
                assert a.dtype == (np.float64 if op == "penalty" else dtype)
                assert_within(a, e, 256 * np.finfo(dtype).eps * (1 + np.abs(e).max())), op
        addresses = cpu.kernel_addresses(isa, dtype.name)
        untested = [name for name, address in addresses.items() if address not in ran]
        foreign = ran - set(addresses.values())
    assert not untested, f"no call in this file reaches {untested}"
    assert not foreign, f"{len(foreign)} kernels of another ISA or dtype ran"


def test_the_list_is_the_table():
    names = cpu.kernel_names()
    assert len(set(names)) == len(names) > 0
    isas = cpu.available_isas()
    table = cpu.kernel_addresses
    tables = [table(isa, dtype) for isa in isas[:3] for dtype in ("float32", "float64")]
    for isa in isas[2:]:  # doubles are there to check by
        assert table(isa, "float64") == table("avx2", "float64")
    if "avx512" in isas:
        tables.pop()
    if "amx" in isas:  # AVX-512's kernels, and its own
        own = {name: address for name, address in table("amx", "float32").items() if name not in tables[-1]}
        assert own.keys() == {"split_weights", "conv2d_split"} and table("amx", "float32") == {**tables[-1], **own}
        tables[-1] = table("amx", "float32")
    addresses = [address for table in tables for address in table.values()]
    assert len(set(addresses)) == len(addresses) >= len(tables) * (len(names) - 2)


def test_an_untested_kernel_would_show(isa):
    with tracing() as ran:
        ops.relu(np.ones(3, np.float32))
        assert ran == {cpu.kernel_addresses(isa, "float32")["relu"]}
