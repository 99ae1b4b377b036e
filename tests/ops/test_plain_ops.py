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
W = np.array([0.5, -1, 2, 3, 0.25, 1])

# name: (forward arguments after x, backward arguments after what it takes first, shape, whether backward takes x too, options)
CASES = {
    "layer_norm": ((6, W, W + 1), (6, W), (3, 5, 4, 6), True, {}),
    "layer_norm plain": (((4, 6),), ((4, 6),), (3, 5, 4, 6), True, {}),
    "group_norm": ((3, W, W + 1, 0.1), (3, W, 0.1), (3, 5, 4, 6), True, {}),
    "group_norm first": ((2, W), (2, W), (3, 6, 5, 4), True, FIRST),
    "prelu": ((np.stack([W] * 4),), (np.stack([W] * 4),), (7, 4, 6), True, {}),
    "prelu shared": ((W.reshape(1, 1, 6),), (W.reshape(1, 1, 6),), (3, 5, 4, 6), True, {}),
    "upsample2d": ((2,), (2,), (2, 3, 4, 5), False, {}),
    "upsample2d bilinear": (((3, 2), "bilinear"), ((3, 2), "bilinear"), (2, 3, 4, 5), False, {}),
    "upsample2d bilinear one pixel": (((4, 1), "bilinear"), ((4, 1), "bilinear"), (2, 1, 1, 5), False, {}),
    "upsample2d first": (((2, 3), "bilinear"), ((2, 3), "bilinear"), (2, 5, 3, 4), False, FIRST),
    "adjust_brightness": (([0.5, -0.5, 0], (-1, 1)), ([0.5, -0.5, 0], (-1, 1)), (3, 5, 4, 6), True, {}),
    "adjust_contrast": (([0.5, 1.5, 0], (-1, 1)), ([0.5, 1.5, 0], (-1, 1)), (3, 5, 4, 6), True, {}),
    "adjust_contrast first": ((2.0, (-1, 1)), (2.0, (-1, 1)), (3, 6, 5, 4), True, FIRST),
    "crop2d": (([0, 2, 1], [1, 0, 1], 3, 2), ([0, 2, 1], [1, 0, 1], (3, 5, 4, 6)), (3, 5, 4, 6), False, {}),
    "crop2d first": ((1, 0, 3, 4), (1, 0, (3, 6, 5, 4)), (3, 6, 5, 4), False, FIRST),
    "dropout2d": ((0.4,), (0.4,), (3, 5, 4, 6), False, dict(seed=2, step=3)),
    "dropout2d first": ((0.4,), (0.4,), (3, 6, 5, 4), False, dict(seed=2, step=3, **FIRST)),
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


def test_flips_and_rescale(rng):
    x = integers(rng, (3, 4, 5, 2), np.float32)
    flips = ([True, False, True], [True, True, False])
    assert_exact(ops.flip2d(x, *flips), ref.flip2d(x, *flips))
    assert_same_bits(ops.flip2d(ops.flip2d(x, *flips), *flips), x)
    assert_exact(ops.flip2d(x, *flips, **FIRST), ref.flip2d(x, *flips, **FIRST))
    assert_exact(ops.rescale(x, [2, 4], 1), ref.rescale(x, [2, 4], 1))


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


def test_dropout2d_drops_infinities_too():
    x = np.full((40, 2, 2, 3), np.inf, np.float32)
    values = np.unique(ops.dropout2d(x, 0.5, seed=0, step=0))
    np.testing.assert_array_equal(values, [0, np.inf])


def test_infinities_are_no_warnings():
    x = np.array([[np.inf, -np.inf, np.nan, 1]], np.float32)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(ops.prelu(x, np.zeros(4, np.float32)), [[np.inf, np.nan, np.nan, 1]])
        assert np.isnan(ops.layer_norm(x, 4)).all()
        assert np.isnan(ops.group_norm(x, 2)).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 33, 130, 1000])
def test_normalizing_a_sample_does_not_see_the_batch(channels, rng):
    x = rng.standard_normal((37, channels)).astype(np.float32)
    grouped = rng.standard_normal((5, 3, 3, channels)).astype(np.float32)
    assert_same_bits(np.concatenate([ops.layer_norm(row[None], channels) for row in x]), ops.layer_norm(x, channels))
    assert_same_bits(np.concatenate([ops.group_norm(s[None], 1) for s in grouped]), ops.group_norm(grouped, 1))


def test_normalizing_is_accurate_for_a_large_mean(rng):
    x = (rng.standard_normal((4, 4096)) + 1e4).astype(np.float32)
    np.testing.assert_allclose(ops.layer_norm(x, 4096), ref.layer_norm(x, 4096), atol=1e-5)


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.layer_norm(X, 5), ValueError, "layer_norm: normalized_shape must be the last axes of x, (2, 4, 5, 6), got (5,)"),
    (lambda: ops.layer_norm(X, 6, np.ones(5, np.float32)), ValueError, "layer_norm: weight must have shape (6,), got (5,)"),
    (lambda: ops.layer_norm(X, 6, eps=0), ValueError, "layer_norm: eps must be positive, got 0"),
    (lambda: ops.layer_norm(X, 6, np.ones(6)), TypeError, "layer_norm: weight must have the dtype of the other arrays, float32"),
    (lambda: ops.layer_norm(X.astype(int), 6), TypeError, "layer_norm: x must be float32 or float64, got int64"),
    (lambda: ops.group_norm(X, 4), ValueError, "group_norm: num_groups must divide the 6 channels of x, got 4"),
    (lambda: ops.group_norm(X, 0), ValueError, "group_norm: num_groups must be positive, got 0"),
    (lambda: ops.prelu(X, np.ones((4, 5), np.float32)), ValueError, "prelu: weight must have the shape of a sample of x"),
    (lambda: ops.upsample2d(X, 0), ValueError, "upsample2d: scale_factor must be positive, got 0"),
    (lambda: ops.upsample2d(X, (1, 2, 3)), ValueError, "upsample2d: scale_factor must be an int or a tuple of 2 ints"),
    (lambda: ops.upsample2d(X, 2, "cubic"), ValueError, "upsample2d: mode must be 'nearest' or 'bilinear', got 'cubic'"),
    (lambda: ops.upsample2d(X[0], 2), ValueError, "upsample2d: x must be 4-D, got shape (4, 5, 6)"),
    (lambda: ops.upsample2d(X, 2, out=X), ValueError, "upsample2d: out must have shape (2, 8, 10, 6), got (2, 4, 5, 6)"),
    (lambda: ops.upsample2d_backward(X, 3), ValueError, "upsample2d_backward: scale_factor must divide the size of dy, (4, 5)"),
    (lambda: ops.upsample2d(X, 2, data_format="NCHW"), ValueError, "upsample2d: data_format must be 'channels_last' or"),
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
    (lambda: ops.rescale(X, [1, 2]), ValueError, "rescale: scale must broadcast to the shape of x, (2, 4, 5, 6), got (2,)"),
    (lambda: ops.random_uniform((2,), seed=-1, step=0), ValueError, "random_uniform: seed must be not negative, got -1"),
    (lambda: ops.random_uniform((2,), 1, 0, seed=1, step=0), ValueError, "low must be at most high, got 1.0 and 0.0"),
    (lambda: ops.dropout2d(X, 1.0, seed=1, step=0), ValueError, "p must be in 0 <= p < 1, got 1.0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()
