"""Nothing untested can exist: every kernel of the one list runs here, on every ISA and dtype, and its result is right.

The calls below are small; each op's own test file is where it is tried hard. A kernel that no call reaches fails this file
by name: add the op's call to `CALLS`.
"""

import numpy as np
import pytest
from harness import assert_within, integers

from cnnfast import ops
from cnnfast import reference as ref
from cnnfast.ops import cpu
from cnnfast.ops.threads import tracing


def calls(rng, dtype):
    """(op, arguments, options); the reference takes the same."""
    x, weight, bias = (integers(rng, shape, dtype) for shape in [(2, 9, 9, 6), (3, 3, 6, 8), (8,)])
    dy = integers(rng, (2, 9, 9, 8), dtype)
    yield "relu", (x,), {}
    yield "relu_backward", (x, x), {}
    yield "matmul", (x[0], x[1].transpose(0, 2, 1)), {}
    yield "dense", (x, weight[0, 0], bias), {}
    yield "dense_backward_input", (dy, weight[0, 0]), {}
    yield "dense_backward_weight", (x, dy), {}
    yield "dense_backward_bias", (dy,), {}
    yield "conv2d", (x, weight, bias, 1, 1), {}
    yield "conv2d_backward_input", (dy, weight, x.shape, 1, 1), {}
    yield "conv2d_backward_weight", (x, dy, weight.shape, 1, 1), {}
    yield "conv2d_backward_bias", (dy,), {}
    windows = (2, 2, 1)
    y, indices = ref.max_pool2d(x, *windows, return_indices=True)
    yield "max_pool2d", (x, *windows), {}
    yield "max_pool2d_backward", (y.astype(dtype), indices, x.shape, *windows), {}
    yield "avg_pool2d", (x, *windows), {}
    yield "avg_pool2d_backward", (y.astype(dtype), x.shape, *windows), {}
    y, indices = ref.global_max_pool2d(x, return_indices=True)
    yield "global_max_pool2d", (x,), {}
    yield "global_max_pool2d_backward", (y.astype(dtype), indices, x.shape), {}
    yield "global_avg_pool2d", (x,), {}
    yield "global_avg_pool2d_backward", (y.astype(dtype), x.shape), {}


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def test_every_kernel_runs_and_is_right(isa, dtype, rng):
    tolerance = 8 * np.finfo(dtype).eps
    with tracing() as ran:
        for op, arguments, options in calls(rng, dtype):
            actual, expected = getattr(ops, op)(*arguments, **options), getattr(ref, op)(*arguments, **options)
            assert actual.dtype == dtype
            assert_within(actual, expected, tolerance * np.abs(expected))
        addresses = cpu.kernel_addresses(isa, dtype)
        untested = [name for name, address in addresses.items() if address not in ran]
        foreign = ran - set(addresses.values())
    assert not untested, f"no call in this file reaches {untested}"
    assert not foreign, f"{len(foreign)} kernels of another ISA or dtype ran"


def test_the_list_is_the_table():
    names = cpu.kernel_names()
    assert len(set(names)) == len(names) > 0
    tables = [cpu.kernel_addresses(isa, dtype) for isa in cpu.available_isas() for dtype in ("float32", "float64")]
    addresses = [address for table in tables for address in table.values()]
    assert all(addresses) and len(set(addresses)) == len(tables) * len(names)


def test_an_untested_kernel_would_show(isa):
    with tracing() as ran:
        ops.relu(np.ones(3, np.float32))
        assert ran == {cpu.kernel_addresses(isa, "float32")["relu"]}
