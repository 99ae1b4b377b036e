"""Memory that is reused: what was in it never shows, and it does not grow."""

import numpy as np
import pytest
from harness import assert_same_bits, run_python
from test_kernel_list import calls, results

from cnnfast import ops

PATTERNS = {"ones": 0xFFFFFFFFFFFFFFFF, "signalling": 0x7FBF8234B3307C7F, "NaN": 0x7FF0000000000001}
SIZES = [step * n for step in (1 << k for k in range(11, 17)) for n in range(8, 17)]  # bytes of every size class to 1 MiB


def fill_the_pool(pattern):
    """Leave the next blocks of each size class full of `pattern`."""
    ops.clear_cache()
    kept = []
    for size in SIZES:
        for _ in range(3):
            block = ops.relu(np.zeros(size // 4, np.float32))
            block.view(np.uint64)[:] = pattern
            kept.append(block)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_in_reused_memory_never_shows(isa, dtype, rng):
    """All kernels of the list, larger images for those that need more room: the same bits after zeros and after NaN."""
    dtype = np.dtype(dtype)
    cases = list(calls(rng, dtype))
    x, weight, dy = (rng.normal(size=s).astype(dtype) for s in [(2, 19, 23, 17), (3, 3, 17, 21), (2, 19, 23, 21)])
    for algorithm in ("direct", "winograd"):
        options = dict(algorithm=algorithm)
        cases += [("conv2d", (x, weight, None, 1, 1), options),
                  ("conv2d_backward_input", (dy, weight, x.shape, 1, 1), options),
                  ("conv2d_backward_weight", (x, dy, weight.shape, 1, 1), options)]  # fmt: skip
    cases += [("max_pool2d", (x, 3, 2, 1), dict(return_indices=True)), ("batch_norm_stats", (x,), {}),
              ("matmul", (dy.reshape(-1, 21), x.reshape(-1, 17)[:21]), {}), ("avg_pool2d", (x, 3, 2, 1), {})]  # fmt: skip

    def all_bits(pattern):
        bits = []
        fill_the_pool(pattern)
        for op, arguments, options in cases:
            for threads in (1, 3):
                bits.append([a.copy() for a in results(ops, op, arguments, dict(options, num_threads=threads), dtype)])
        return bits

    expected = all_bits(0)
    for pattern in PATTERNS.values():
        for (op, *_), before, after in zip(np.repeat(np.array(cases, object), 2, 0), expected, all_bits(pattern)):
            for a, b in zip(before, after, strict=True):
                assert_same_bits(b, a), op


def test_memory_stays_flat():
    """Prediction, training, saving and making networks: at most 1 MiB more after thousands of each."""
    child = run_python("""
import gc, io, resource, tempfile, warnings
import numpy as np
from cnnfast import Sequential, layers, load_model, saving
def make():
    model = Sequential([layers.Input((6, 6, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2),
                        layers.Flatten(), layers.Dense(3, activation="softmax")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
model = make()
x, y = np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype(np.float32), np.array([0, 1, 2, 0])
folder = tempfile.TemporaryDirectory()
def work(n):
    for _ in range(10 * n):
        model.predict_on_batch(x)
    for _ in range(2 * n):
        model.train_on_batch(x, y)
        model.predict(x, verbose=0)
    for _ in range(n // 5):
        model.save(folder.name + "/m.cnnfast")
        load_model(folder.name + "/m.cnnfast").predict_on_batch(x)
        make().train_on_batch(x, y)
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
work(100)
before = resident()
work(500)
print(resident() - before)
""")  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) <= 1 << 20, child.stdout
