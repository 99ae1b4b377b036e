"""What the performance page says, measured: ``python -m benchmarks.claims`` (or ``make bench-claims``).

Each claim is two ways to one result. They take turns, and the least time of each counts; the result is compared first.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np

import cnnfast
from cnnfast import groups, ops
from cnnfast.ops import cpu

from . import machine


class Claim(NamedTuple):
    what: str
    slow: tuple  # its name, and a call without arguments that returns an array
    fast: tuple


def claims():
    """Yield the claims, made when they are asked for: their arrays are large."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32)

    x, weight, bias = normal(8, 28, 28, 128), normal(3, 3, 128, 128), normal(128)
    yield Claim("3 × 3, 128 channels, 8 images of 28 × 28",
                ("summed directly", lambda: ops.conv2d(x, weight, padding=1, algorithm="direct")),
                ("the chosen algorithm", lambda: ops.conv2d(x, weight, padding=1)))
    wide, pointwise, thin = normal(8, 56, 56, 64), normal(1, 1, 64, 64), normal(64)
    yield Claim("1 × 1, 64 channels, 8 images of 56 × 56, then bias and ReLU",
                ("three calls", lambda: ops.relu(ops.conv2d(wide, pointwise) + thin)),
                ("fused", lambda: ops.conv2d(wide, pointwise, thin, activation="relu")))

    def without_pool():
        cnnfast.clear_cache()
        return ops.conv2d(wide, pointwise)

    yield Claim("the same convolution, its memory",
                ("new each time", without_pool), ("from the pool", lambda: ops.conv2d(wide, pointwise)))
    x_first, weight_first = (np.ascontiguousarray(a) for a in (x.transpose(0, 3, 1, 2), weight.transpose(3, 2, 0, 1)))
    yield Claim("the 3 × 3 convolution, its layout",
                ("channels first",
                 lambda: ops.conv2d(x_first, weight_first, padding=1, data_format="channels_first").transpose(0, 2, 3, 1)),
                ("channels last", lambda: ops.conv2d(x, weight, padding=1)))
    yield grouped(x, weight, 4)
    yield grouped(x, weight, 32)
    yield in_groups(normal(16, 224, 224, 3))
    planned, eager = (cnnfast.networks.lenet5((28, 28, 1), 10, 0) for _ in range(2))
    planned.compile("sgd", "mse")
    eager.compile("sgd", "mse", run_eagerly=True)
    one = normal(1, 28, 28, 1)
    yield Claim("LeNet-5, one image", ("layer by layer", lambda: eager.predict_on_batch(one)),
                ("its plan", lambda: planned.predict_on_batch(one)))
    tiny, small, large = normal(1, 4, 4, 2), normal(3, 3, 2, 2), normal(64, 4, 4, 2)
    yield Claim("64 images of 4 × 4, 2 channels, 3 × 3",
                ("64 calls", lambda: np.concatenate([ops.conv2d(large[i : i + 1], small) for i in range(64)])),
                ("one call", lambda: ops.conv2d(large, small)))
    yield Claim("one image of 4 × 4, 2 channels, 3 × 3",
                ("NumPy: windows and tensordot", lambda: by_numpy(tiny, small)), ("conv2d", lambda: ops.conv2d(tiny, small)))

    def portable():
        with cpu.using_isa("scalar"):
            return ops.conv2d(x[:1], weight, padding=1, algorithm="direct")

    yield Claim("one image of the 3 × 3 convolution, summed directly", ("portable kernels", portable),
                (cpu.available_isas()[-1], lambda: ops.conv2d(x[:1], weight, padding=1, algorithm="direct")))
    yield Claim("the 3 × 3 convolution with bias", ("1 thread", lambda: ops.conv2d(x, weight, bias, padding=1, num_threads=1)),
                ("2 threads", lambda: ops.conv2d(x, weight, bias, padding=1, num_threads=2)))


def grouped(x, weight, count):
    channels = weight.shape[2]
    mask = np.kron(np.eye(count), np.ones((channels // count,) * 2)).astype(np.float32)
    full = weight * mask
    narrow = np.ascontiguousarray(full[full != 0].reshape(3, 3, count, channels // count, channels // count)
                                  .transpose(0, 1, 3, 2, 4).reshape(3, 3, channels // count, channels))  # fmt: skip
    return Claim(f"the 3 × 3 convolution in {count} groups",
                 ("as one, the other weights zero", lambda: ops.conv2d(x, full, padding=1, algorithm="direct")),
                 (f"groups={count}, 1/{count} of the products", lambda: ops.conv2d(x, narrow, padding=1, groups=count)))


def in_groups(x):
    network, whole = (cnnfast.networks.mobilenet_v2(x.shape[1:], 10, 0) for _ in range(2))
    most, groups.MOST_BYTES = groups.MOST_BYTES, 1 << 40
    for _ in range(2):  # then its plan is made
        whole(x)
    groups.MOST_BYTES = most
    return Claim("MobileNet-v2, 16 images of 224 × 224", ("all together", lambda: whole(x)),
                 ("in groups of images", lambda: network(x)))


def by_numpy(x, weight):
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[:2], (1, 2))
    return np.tensordot(windows, weight, ((3, 4, 5), (2, 0, 1)))


def least(claim, seconds):
    """The least time of each way, in seconds; they take turns."""
    calls, best, end = [claim.slow[1], claim.fast[1]], [np.inf, np.inf], time.perf_counter() + seconds
    while time.perf_counter() < end:
        for way, call in enumerate(calls):
            for _ in range(3):
                start = time.perf_counter()
                call()
                best[way] = min(best[way], time.perf_counter() - start)
    return best


def difference(claim):
    """Of the two results, relative to their size."""
    slow, fast = np.asarray(claim.slow[1]()), np.asarray(claim.fast[1]())
    return float(np.linalg.norm(slow - fast) / np.linalg.norm(slow))


def main(argv=None):
    parser = argparse.ArgumentParser(prog="benchmarks.claims", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each claim, by default %(default)s")
    options = parser.parse_args(argv)
    print(machine.description(), end="\n\n")
    print("| what | one way | the other | times faster |\n| --- | --- | --- | ---: |")
    for claim in claims():
        assert difference(claim) < 1e-4, claim.what
        slow, fast = least(claim, options.seconds)
        print(f"| {claim.what} | {claim.slow[0]}: {readable(slow)} | {claim.fast[0]}: {readable(fast)} | {slow / fast:.2g} |")


def readable(seconds):
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


if __name__ == "__main__":
    main()
