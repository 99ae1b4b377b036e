"""Whole images, each in its own way: against the reference and SciPy, between guard pages, the same bits whoever does it.

The allowed error is `gamma` of the longest sum that makes one element, times the largest product in it: generous by what
cancels in a mean, and far below any wrong term.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from harness import (
    assert_exact,
    assert_same_bits,
    assert_within,
    gamma,
    guarded,
    guarded_empty,
    integers,
    strange_views,
)

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
FIRST = dict(data_format="channels_first")
MATRICES = np.array([[[1, 0, 0.3], [0, 1, -1.6]], [[0.6, 0.8, -1], [-0.8, 0.6, 2.5]], [[-1.2, 0, 9], [0.1, 0.7, -20]]])
EACH = np.array([0.5, -0.5, 0])
FLAGS = np.array([[True, False, True], [True, True, False]])
SHAPE = "shape of x"
CHANNELS = (1, 3, 6, 17, 70)

# name: (arguments after x, those of backward after what it takes first, whether that takes x too), for 3 images of 5 x 4
CASES = {
    "flip2d": (tuple(FLAGS), tuple(FLAGS), False),
    "crop2d": (([0, 2, 1], [1, 0, 1], 3, 2), ([0, 2, 1], [1, 0, 1], SHAPE), False),
    "crop2d all": ((0, 0, 5, 4), (0, 0, SHAPE), False),
    "adjust_brightness": ((EACH, (-1, 1)), (EACH, (-1, 1)), True),
    "adjust_contrast": ((EACH + 1, (-1, 1)), (EACH + 1, (-1, 1)), True),
    "adjust_contrast one": ((2.0, (-1, 1)), (2.0, (-1, 1)), True),
    **{f"affine2d {mode} {way}": ((MATRICES, mode, way), (MATRICES, mode, way), False)
       for mode in ("reflect", "constant", "nearest", "wrap") for way in ("bilinear", "nearest")},
    "affine2d one": ((MATRICES[1], "constant", "bilinear", 2.0), (MATRICES[1], "constant", "bilinear"), False),
}  # fmt: skip


def between_pages(arguments, at):
    """What there is for each sample, as kernels read it."""
    lists = (np.array(a) if isinstance(a, list) else a for a in arguments)
    return [guarded(a, at) if isinstance(a, np.ndarray) else a for a in lists]


def op(library, case, x, at="end", **options):
    return getattr(library, case.split()[0])(x, *between_pages(CASES[case][0], at), **options)


def back(library, case, dy, x, at="end", **options):
    """The gradient; the reference's flip is its own."""
    name, (_, arguments, takes_x) = case.split()[0], CASES[case]
    arguments = [x.shape if a is SHAPE else a for a in between_pages(arguments, at)]
    return getattr(library, name + "_backward" * (name != "flip2d"))(dy, *[x] * takes_x, *arguments, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_against_the_reference(isa, case, dtype, rng):
    for c in CHANNELS:
        x = rng.standard_normal((3, 5, 4, c)).astype(dtype)
        expected = op(ref, case, x)
        bound = 64 * gamma(x.size, dtype)
        dy = rng.standard_normal(expected.shape).astype(dtype)
        gradient = back(ref, case, dy, x)
        for at in ("start", "end"):
            out = guarded_empty(expected.shape, dtype, at)
            assert op(ops, case, guarded(x, at), at, out=out) is out
            assert_within(out, expected, bound * max(1, np.abs(expected).max()))
            out = guarded_empty(x.shape, dtype, at)
            assert back(ops, case, guarded(dy, at), guarded(x, at), at, out=out) is out
            assert_within(out, gradient, bound * max(1, np.abs(gradient).max()))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("case", CASES)
def test_any_memory(case, layout, rng):
    turn = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    x = rng.standard_normal((3, 5, 4, 6)).astype(np.float32)
    y = op(ops, case, x)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = back(ops, case, dy, x)
    options = {} if "brightness" in case else dict(data_format=layout)
    for (_, view), (_, gradient) in zip(strange_views(turn(x)), strange_views(turn(dy))):
        assert_same_bits(op(ops, case, view, **options), turn(y))
        assert_same_bits(back(ops, case, gradient, view, **options), turn(dx))


def test_same_bits_for_any_threads_and_batch(threads, rng):
    """Images of several tasks, alone and among others."""
    shape = (4, 90, 70, 5)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    crop = np.ascontiguousarray(dy[:, :70, :65])
    turns, light, flags = [0.1, -0.3, 0.6, 0], np.array([0.5, 0.1, 2, -1]), np.array([True, False, True, False])
    places, matrix = np.array([3, 0, 4, 5]), ops.rotation2d(turns, (90, 70))
    calls = {
        "flip2d": (x, flags, ~flags), "crop2d": (x, places, places, 70, 65),
        "crop2d_backward": (crop, places, places, shape),
        "affine2d": (x, matrix), "affine2d_backward": (dy, matrix, "wrap"),
        "adjust_brightness": (x, light, (-1, 1)), "adjust_brightness_backward": (dy, x, light, (-1, 1)),
        "adjust_contrast": (x, light, (-1, 1)), "adjust_contrast_backward": (dy, x, light, (-1, 1)),
    }  # fmt: skip
    for name, arguments in calls.items():
        expected = getattr(ops, name)(*arguments, num_threads=1)
        assert_same_bits(getattr(ops, name)(*arguments, num_threads=threads), expected)
        one = [a[2:3] if isinstance(a, np.ndarray) else (1, *a[1:]) if a is shape else a for a in arguments]
        assert_same_bits(getattr(ops, name)(*one), expected[2:3])


@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "wrap"])
def test_adjoint_is_exact(isa, mode, rng):
    """Weights that are parts of a power of 2: <map(x), y> = <x, back(y)> to the last bit."""
    matrix = np.array([[[0.5, 1, -3.25], [0.25, -1.5, 7]], [[1, 0, 2.5], [0, 1, -1.125]], [[2, 0, 0], [0, 2, 0.75]]])
    x, dy = integers(rng, (3, 9, 7, 3), np.float64), integers(rng, (3, 9, 7, 3), np.float64)
    y = ops.affine2d(x, matrix, mode)
    assert_exact(y, ref.affine2d(x, matrix, mode))
    assert (y * dy).sum() == (x * ops.affine2d_backward(dy, matrix, mode)).sum()


def test_not_finite_stays_where_it_has_weight(isa):
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2] = np.inf
    assert np.isinf(ops.affine2d(x, np.eye(2, 3))).sum() == 1
    assert np.isinf(ops.affine2d(x, ops.translation2d([0.1], [0.0], (5, 5)))).sum() == 2
    x[0, 2, 2] = np.nan
    assert np.isnan(ops.affine2d_backward(x, np.eye(2, 3))).sum() == 1
    assert np.isnan(ops.adjust_brightness(x, 0.5, (0, 1))).sum() == 1
    both = np.concatenate([x, np.ones_like(x)], -1)
    assert np.isnan(ops.adjust_contrast(both, 0.5, (0, 1))).any((0, 1, 2)).tolist() == [True, False]


def test_the_mean_is_accurate(isa, rng):
    x = rng.uniform(0.5, 1, (1, 300, 400, 3)).astype(np.float32)
    mean = ops.adjust_contrast(x, 0.0, (0, 1))
    assert_within(mean[0, 0, 0], x.astype(np.float64).mean((0, 1, 2)), 4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "wrap"])
def test_far_outside(isa, mode):
    """Every place that a matrix may name is some pixel's, or nobody's."""
    x = np.ones((1, 3, 5, 2), np.float32)
    for number in (2**31 - 1, -(2**31 - 1), 1e9 + 0.5):
        y = ops.affine2d(x, np.full((2, 3), float(number)), mode, fill_value=1.0)
        np.testing.assert_allclose(y, 1, rtol=1e-6)
        ops.affine2d_backward(y, np.full((2, 3), float(number)), mode)


def test_empty():
    for shape in [(0, 4, 5, 3), (2, 4, 5, 0)]:
        x = np.zeros(shape, np.float32)
        assert ops.affine2d(x, np.eye(2, 3)).shape == ops.affine2d_backward(x, np.eye(2, 3)).shape == shape
        assert ops.flip2d(x, True, False).shape == ops.adjust_contrast(x, 1, (0, 1)).shape == shape
        assert ops.adjust_brightness_backward(x, x, 1, (0, 1)).shape == shape
        y = ops.crop2d(x, 0, 1, 2, 3)
        assert ops.crop2d_backward(y, 0, 1, shape).shape == shape
    assert ops.rotation2d([], (4, 4)).shape == (0, 2, 3)


def test_flips(rng):
    x = integers(rng, (3, 4, 5, 2), np.float32)
    assert_exact(ops.flip2d(x, *FLAGS), ref.flip2d(x, *FLAGS))
    assert_same_bits(ops.flip2d(ops.flip2d(x, *FLAGS), *FLAGS), x)
    assert_exact(ops.flip2d(x, *FLAGS, **FIRST), ref.flip2d(x, *FLAGS, **FIRST))


@pytest.mark.parametrize("mode, theirs", [("reflect", "reflect"), ("nearest", "nearest"), ("wrap", "grid-wrap"),
                                          ("constant", "grid-constant")])  # fmt: skip
def test_affine_is_that_of_scipy(mode, theirs, rng):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = rng.standard_normal((3, 9, 8, 1))
    y = ops.affine2d(x, MATRICES, mode, fill_value=0.5)
    for image, matrix, actual in zip(x, MATRICES, y):
        expected = ndimage.affine_transform(image[..., 0], matrix[:, :2], matrix[:, 2], order=1, mode=theirs, cval=0.5)
        np.testing.assert_allclose(actual[..., 0], expected, atol=1e-12)


def test_quarter_turns_and_whole_shifts_are_exact(isa, rng):
    x = integers(rng, (4, 5, 5, 2), np.float64)
    turned = ops.affine2d(x, ops.rotation2d([0, 0.25, 0.5, -0.25], (5, 5)))
    expected = np.stack([np.rot90(image, k) for image, k in zip(x, (0, 1, 2, 3))])  # rot90 is counter-clockwise
    assert_exact(turned, expected)
    shifted = ops.affine2d(x, ops.translation2d([0.2] * 4, [-0.4] * 4, (5, 5)), "wrap")
    assert_exact(shifted, np.roll(x, (1, -2), (1, 2)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices(isa, dtype, rng):
    turns = np.append(rng.uniform(-2, 2, 400), [0, 0.125, -0.125, 0.375, 1e9 + 0.1, 2.0**60, 1e-300]).astype(dtype)
    expected = ref.rotation2d(turns - np.round(turns.astype(np.float64)), (7, 12))
    assert_within(ops.rotation2d(turns, (7, 12)), expected, 16 * np.finfo(np.float64).eps * 12)
    assert_within(ops.rotation2d(turns, (7, 12))[:, :, :2], expected[:, :, :2], 2 * np.finfo(np.float64).eps)
    down, right = rng.uniform(-1, 1, (2, 9)).astype(dtype)
    assert_exact(ops.translation2d(down, right, (7, 12)), ref.translation2d(down.astype(float), right.astype(float), (7, 12)))
    for at in ("start", "end"):
        assert_exact(ops.rotation2d(guarded(turns, at), (7, 12)), ops.rotation2d(turns, (7, 12)))
    assert ops.rotation2d(0.25, (3, 3)).tolist() == [[[0, 1, 0], [-1, 0, 2]]]


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
    (lambda: ops.adjust_brightness_backward(None, X, 1, (0, 1)), TypeError, "adjust_brightness_backward: dy must be an array"),
    (lambda: ops.adjust_contrast_backward(X[:1], X, 1, (0, 1)), ValueError, "dy must have the shape of the other arrays"),
    (lambda: ops.affine2d(X[:, :0], np.eye(2, 3)), ValueError, "affine2d: images must have pixels, got (2, 0, 5, 6)"),
    (lambda: ops.rotation2d([np.inf], (4, 4)), ValueError, "rotation2d: turns must be finite, got [inf]"),
    (lambda: ops.translation2d([0.5], [0.5, 1], (4, 4)), ValueError, "translation2d: right must be one for each of 1 samples"),
    (lambda: ops.adjust_contrast(X, 1, (1, 0)), ValueError, "value_range must be (lowest, highest), got (1, 0)"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    make, error, message = REFUSED[number]
    with pytest.raises(error, match=re.escape(message)):
        make()
