"""The CPU's own rules for floating point: kernels don't depend on the caller's and leave them as they found them.

A library built with -ffast-math switches denormals off for the thread that loads it, and threads inherit that.
"""

import ctypes
import ctypes.util
import platform
import sys
import threading
import time

import numpy as np
import pytest
from harness import assert_same_bits, run_python

from cnnfast import Sequential, layers, ops

pytestmark = pytest.mark.skipif(
    not (sys.platform == "linux" and platform.machine() == "x86_64"), reason="reads the register of x86-64 by Linux's libm"
)

PLAIN, FLUSH, UP, DOWN, FLAGS, INEXACT = 0x1F80, 0x8040, 0x4000, 0x2000, 0x3F, 0x20
RULES = {"flush denormals": PLAIN | FLUSH, "round up": PLAIN | UP, "round down, flush": PLAIN | DOWN | FLUSH}

class Register:
    """MXCSR, the last word of what fegetenv stores."""

    def __init__(self):
        self._libm = ctypes.CDLL(ctypes.util.find_library("m"))
        self._environment = (ctypes.c_uint32 * 8)()

    def read(self):
        self._libm.fegetenv(self._environment)
        return self._environment[7]

    def write(self, value):
        self._libm.fegetenv(self._environment)
        self._environment[7] = value
        self._libm.fesetenv(self._environment)


@pytest.fixture(scope="module")
def inputs():
    """Values that make sums round, and denormal ones."""
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in [(4, 12, 12, 16), (3, 3, 16, 24), 24])
    return (x, x * np.float32(1e-39)), x, weight, weight[:, :, :1, :16].copy(), bias


def results(inputs):
    """Each kind of kernel, on one thread and on more."""
    both, x, weight, depthwise, bias = inputs
    for threads in (1, 3):
        for values in both:
            for algorithm in ("direct", "winograd"):
                yield ops.conv2d(values, weight, bias, 1, 1, algorithm=algorithm, num_threads=threads)
                yield ops.conv2d(values, weight, None, 1, 1, algorithm=algorithm, num_threads=threads)
            yield ops.conv2d_backward_weight(values, x, (3, 3, 16, 16), 1, 1, num_threads=threads)
            yield ops.conv2d(values, depthwise, None, 1, 1, 1, 16, num_threads=threads)
            yield ops.matmul(values[0], weight[0, :1], num_threads=threads)
            yield ops.avg_pool2d(values, 3, 2, 1, num_threads=threads)
            yield ops.max_pool2d(values, 2, num_threads=threads)
            yield from ops.batch_norm_stats(values, num_threads=threads)
            yield ops.relu(values, num_threads=threads)
            yield ops.leaky_relu(values, num_threads=threads)
            yield ops.gelu(values, num_threads=threads)
            yield ops.softmax(values, num_threads=threads)
            yield ops.exp(values, num_threads=threads)
            weights = values.copy()
            ops.sgd_step(weights, values, lr=0.5, num_threads=threads)
            yield weights


@pytest.mark.parametrize("rules", RULES)
def test_results_do_not_depend_on_the_callers_rules(isa, inputs, rules):
    """In a thread of its own, whose team inherits its rules."""
    expected, actual, seen, register = list(results(inputs)), [], [], Register()

    def strange():
        register.write(RULES[rules])
        for result in results(inputs):
            actual.append(result)
            seen.append(register.read() & ~FLAGS)

    thread = threading.Thread(target=strange)
    thread.start()
    thread.join()
    assert set(seen) == {RULES[rules]}, "the rules were changed"
    for a, e in zip(actual, expected, strict=True):
        assert_same_bits(a, e)
    assert any((abs(e) < np.finfo(np.float32).tiny).all() and e.any() for e in expected), "nothing was denormal"


@pytest.fixture
def flushing():
    assert ops.get_flush_denormals() is False
    ops.set_flush_denormals(True)
    yield
    ops.set_flush_denormals(False)


def test_denormals_are_flushed_if_asked(isa, inputs, flushing):
    """As zeros, in and out, on every worker: the same bits for any number of threads and whatever the caller's rules."""
    register, tiny = Register(), np.finfo(np.float32).tiny
    ones = np.ones((64, 64), np.float32)
    for threads in (1, 3):
        for denormal in (ones * tiny / 4, ops.matmul(ones, ones * tiny / 128, num_threads=threads)):
            assert not ops.matmul(denormal, np.eye(64, dtype=np.float32) * 2**20, num_threads=threads).any()
        assert not ops.conv2d(inputs[0][1], inputs[2], algorithm="direct", num_threads=threads).any()
        assert not ops.leaky_relu(-ones * tiny, 0.3, num_threads=threads).any()
        assert (ops.leaky_relu(ones * tiny, num_threads=threads) == tiny).all()
    expected, before = list(results(inputs)), register.read() & ~FLAGS
    half = len(expected) // 2  # one thread, then three
    for a, b in zip(expected[:half], expected[half:], strict=True):
        assert_same_bits(a, b)
    register.write(PLAIN | UP)
    try:
        for a, b in zip(results(inputs), expected, strict=True):
            assert_same_bits(a, b)
        assert register.read() & ~FLAGS == PLAIN | UP
    finally:
        register.write(before)
    assert (np.array([tiny]) * np.float32(0.5))[0] > 0, "NumPy's own arithmetic was changed"


def test_a_network_of_denormals_is_flushed_too(flushing):
    """Through a plan as well: the third call runs one."""
    model = Sequential([layers.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)], seed=0)
    model.set_weights([np.full_like(w, 1e-40) for w in model.get_weights()])
    x = np.full((4, 8, 8, 2), 1e3, np.float32)
    assert not any(model.predict(x, verbose=0).any() for _ in range(3))
    ops.set_flush_denormals(False)
    assert model.predict(x, verbose=0).any()


def test_flushing_is_said_with_a_bool():
    for value in (1, None, "yes"):
        with pytest.raises(TypeError, match="set_flush_denormals: flush must be True or False, got"):
            ops.set_flush_denormals(value)
    assert ops.get_flush_denormals() is False


@pytest.mark.nightly
def test_denormal_weights_cost_nothing_when_flushed(flushing):
    """At most half as much again as plain ones: the contract's figure. The best of many short runs."""
    x = np.random.default_rng(0).normal(size=(4, 28, 28, 32)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32)

    def cost(weight):
        times = []
        for _ in range(50):
            start = time.perf_counter()
            ops.conv2d(x, weight, algorithm="direct", num_threads=1)
            times.append(time.perf_counter() - start)
        return min(times)

    assert cost(weight * np.float32(1e-39)) < 1.5 * cost(weight)


def test_flags_are_left_alone(isa):
    """What NumPy's errstate looks at: an overflow or an invalid operation inside a kernel is nobody's warning."""
    register = Register()
    x = np.array([[3e38, np.inf, 1e-40, -0.1]] * 4, np.float32)
    large, image, kernel = np.tile(x, (64, 64)), x[None, :, :, None], x[:2, :2, None, None]
    register.write(PLAIN)
    ops.matmul(x, x, num_threads=1)
    ops.matmul(large, large, num_threads=3)
    ops.exp(x)
    ops.log(x)
    ops.conv2d(image, kernel)
    assert register.read() & ~INEXACT == PLAIN  # scalars are converted outside of kernels


def test_importing_changes_no_rules():
    """Nothing that is loaded was linked with -ffast-math."""
    child = run_python("""
import numpy as np, threading
tiny = np.array([1e-40], np.float32)
import cnnfast.layers, cnnfast.models, cnnfast.saving
assert (tiny * np.float32(0.5))[0] > 0
seen = []
thread = threading.Thread(target=lambda: seen.append((tiny * np.float32(0.5))[0] > 0))
thread.start()
thread.join()
assert seen == [True]
""")
    assert child.returncode == 0, child.stderr
