"""The ops written in Python: against the reference and SciPy.

The allowed error is `gamma` of the longest sum that makes one element, times the largest product in it: generous by what
cancels in a mean, and far below any wrong term.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, gamma, integers, strange_views

from cnnfast import ops
from cnnfast import reference as ref

FIRST = dict(data_format="channels_first")
MATRICES = np.array([[[1, 0, 0.3], [0, 1, -1.6]], [[0.6, 0.8, -1], [-0.8, 0.6, 2.5]], [[-1.2, 0, 9], [0.1, 0.7, -20]]])

# name: (forward arguments after x, backward arguments after what it takes first, shape, whether backward takes x too, options)
CASES = {
    "adjust_brightness": (([0.5, -0.5, 0], (-1, 1)), ([0.5, -0.5, 0], (-1, 1)), (3, 5, 4, 6), True, {}),
    "adjust_contrast": (([0.5, 1.5, 0], (-1, 1)), ([0.5, 1.5, 0], (-1, 1)), (3, 5, 4, 6), True, {}),
    "adjust_contrast first": ((2.0, (-1, 1)), (2.0, (-1, 1)), (3, 6, 5, 4), True, FIRST),
    "crop2d": (([0, 2, 1], [1, 0, 1], 3, 2), ([0, 2, 1], [1, 0, 1], (3, 5, 4, 6)), (3, 5, 4, 6), False, {}),
    "crop2d first": ((1, 0, 3, 4), (1, 0, (3, 6, 5, 4)), (3, 6, 5, 4), False, FIRST),
    **{f"affine2d {mode} {way}": ((MATRICES, mode, way), (MATRICES, mode, way), (3, 5, 4, 6), False, {})
       for mode in ("reflect", "constant", "nearest", "wrap") for way in ("bilinear", "nearest")},
    "affine2d first": ((MATRICES[1],), (MATRICES[1],), (2, 3, 5, 4), False, FIRST),
}  # fmt: skip


def cast(arguments, dtype):
    """Weights in the dtype of x; matrices and numbers stay."""
    floats = lambda a: isinstance(a, np.ndarray) and a is not MATRICES and a.shape != (2, 3)  # noqa: E731
    return [a.astype(dtype) if floats(a) else a for a in arguments]


def tuples(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_against_the_reference(case, dtype, rng):
    name, (forward, backward, shape, with_x, options) = case.split()[0], CASES[case]
    forward, backward = cast(forward, dtype), cast(backward, dtype)
    x = rng.standard_normal(shape).astype(dtype)
    y, expected = getattr(ops, name)(x, *forward, **options), getattr(ref, name)(x, *forward, **options)
    bound = 64 * gamma(math.prod(shape), dtype)
    assert y.dtype == dtype and y.flags.c_contiguous
    assert_within(y, expected, bound * max(1, np.abs(expected).max()))
    out = np.empty_like(y)
    assert getattr(ops, name)(x, *forward, **options, out=out) is out
    assert_same_bits(out, y)
    dy = rng.standard_normal(y.shape).astype(dtype)
    saved = (x,) if with_x else ()
    gradients = tuples(getattr(ops, f"{name}_backward")(dy, *saved, *backward, **options))
    truths = tuples(getattr(ref, f"{name}_backward")(dy, *saved, *backward, **options))
    assert len(gradients) == len(truths)
    for gradient, truth in zip(gradients, truths):
        assert gradient.dtype == dtype and not np.may_share_memory(gradient, dy)
        assert_within(gradient, truth, bound * max(1, np.abs(truth).max()))


@pytest.mark.parametrize("case", CASES)
def test_any_memory(case, rng):
    name, (forward, _, shape, _, options) = case.split()[0], CASES[case]
    forward = cast(forward, np.float32)
    x = rng.standard_normal(shape).astype(np.float32)
    expected = getattr(ops, name)(x, *forward, **options)
    for _, view in strange_views(x):
        assert_same_bits(getattr(ops, name)(view, *forward, **options), expected)


def test_flips(rng):
    x = integers(rng, (3, 4, 5, 2), np.float32)
    flips = ([True, False, True], [True, True, False])
    assert_exact(ops.flip2d(x, *flips), ref.flip2d(x, *flips))
    assert_same_bits(ops.flip2d(ops.flip2d(x, *flips), *flips), x)
    assert_exact(ops.flip2d(x, *flips, **FIRST), ref.flip2d(x, *flips, **FIRST))


@pytest.mark.parametrize("mode, theirs", [("reflect", "reflect"), ("nearest", "nearest"), ("wrap", "grid-wrap"),
                                          ("constant", "grid-constant")])  # fmt: skip
def test_affine_is_that_of_scipy(mode, theirs, rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = rng.standard_normal((3, 9, 8, 1))
    y = ops.affine2d(x, MATRICES, mode, fill_value=0.5)
    for image, matrix, actual in zip(x, MATRICES, y):
        expected = ndimage.affine_transform(image[..., 0], matrix[:, :2], matrix[:, 2], order=1, mode=theirs, cval=0.5)
        np.testing.assert_allclose(actual[..., 0], expected, atol=1e-12)


def test_quarter_turns_and_whole_shifts_are_exact(rng):
    x = integers(rng, (4, 5, 5, 2), np.float64)
    turned = ops.affine2d(x, ops.rotation2d([0, 0.25, 0.5, -0.25], (5, 5)))
    expected = np.stack([np.rot90(image, k) for image, k in zip(x, (0, 1, 2, 3))])  # rot90 is counter-clockwise
    np.testing.assert_allclose(turned, expected, atol=1e-12)
    shifted = ops.affine2d(x, ops.translation2d([0.2] * 4, [-0.4] * 4, (5, 5)), "wrap")
    np.testing.assert_allclose(shifted, np.roll(x, (1, -2), (1, 2)), atol=1e-12)


def test_random_uniform(rng):
    for seed, step in ((0, 0), (1, 2**64 - 1), (2**63 + 5, 7)):
        expected = ref.random_uniform((3, 5), -1, 2, seed=seed, step=step)
        np.testing.assert_array_equal(ops.random_uniform((3, 5), -1, 2, seed=seed, step=step), expected)
    drawn = ops.random_uniform((20000,), seed=3, step=1)
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 6 * math.sqrt(1 / 12 / 20000)
    assert not np.array_equal(drawn, ops.random_uniform((20000,), seed=3, step=2))


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.crop2d(X, 2, 0, 3, 3), ValueError, "crop2d: top must be from 0 to 1, for the window to fit, got [2, 2]"),
    (lambda: ops.crop2d(X, 0, 0, 5, 3), ValueError, "crop2d: the window must fit into the image of (4, 5), got (5, 3)"),
    (lambda: ops.crop2d(X, 0.5, 0, 3, 3), TypeError, "crop2d: top must be ints, got 0.5"),
    (lambda: ops.crop2d_backward(X, 0, 0, (2, 3, 5, 6)), ValueError, "input_shape must be that of an image around dy"),
    (lambda: ops.flip2d(X, 1, True), TypeError, "flip2d: vertical must be bools, got 1"),
    (lambda: ops.affine2d(X, np.eye(3)), ValueError, "affine2d: matrix must have shape (2, 3) or (2, 2, 3), got (3, 3)"),
    (lambda: ops.affine2d(X, np.full((2, 3), np.nan)), ValueError, "affine2d: matrix must be finite"),
    (lambda: ops.affine2d(X, np.eye(2, 3), "mirror"), ValueError, "affine2d: mode must be"),
    (lambda: ops.adjust_brightness(X, [1, 2, 3], (0, 1)), ValueError, "delta must be one for each of 2 samples, got shape (3,)"),
    (lambda: ops.adjust_contrast(X, np.nan, (0, 1)), ValueError, "adjust_contrast: factor must be finite, got nan"),
    (lambda: ops.adjust_contrast(X, 1, (1, 0)), ValueError, "value_range must be (lowest, highest), got (1, 0)"),
    (lambda: ops.random_uniform((2,), seed=-1, step=0), ValueError, "random_uniform: seed must be not negative, got -1"),
    (lambda: ops.random_uniform((2,), 1, 0, seed=1, step=0), ValueError, "low must be at most high, got 1.0 and 0.0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()
