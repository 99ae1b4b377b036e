"""Layer and group normalization: bounds from the arithmetic, rows that see nothing but themselves, same bits on any path."""

import re

import numpy as np
import pytest
from harness import assert_same_bits, assert_within, guarded, guarded_empty, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
FIRST = dict(data_format="channels_first")
# name: (shape of x, what follows x, options): every tail, rows longer than a block of sums, blocks of columns, single pixels
CASES = {
    **{f"layer {n}": ((5, n), (n,), {}) for n in (1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 130)},
    "layer long": ((2, 9000), (9000,), {}),
    "layer many rows": ((600, 3), (3,), {}),
    "layer axes": ((3, 5, 4, 6), ((4, 6),), {}),
    "layer all": ((3, 5, 4, 6), ((5, 4, 6),), {}),
    **{f"group {c} by {g}": ((3, 5, 4, c), (g,), {}) for c, g in [(1, 1), (6, 2), (6, 6), (17, 1), (24, 3), (64, 32), (130, 65)]},
    "group blocks": ((2, 3, 7, 600), (200,), {}),
    "group few blocks": ((2, 9, 520), (4,), {}),
    "group one pixel": ((4, 48), (6,), {}),
    "group many pixels": ((2, 70, 60, 5), (5,), {}),
    "group first": ((3, 6, 5, 4), (2,), FIRST),
}


def named(case):
    return ("layer_norm" if case.startswith("layer") else "group_norm"), *CASES[case]


def arguments(rng, case, dtype, mean=0.0):
    name, shape, (size,), options = named(case)
    channels = (shape[1] if options else shape[-1],) if name == "group_norm" else size if isinstance(size, tuple) else (size,)
    x, dy = rng.standard_normal((2, *shape))
    weight, bias = rng.standard_normal((2, *channels))
    return name, size, options, *(a.astype(dtype) for a in (x * 1.5 + mean, dy, weight, bias))


def backwards(name, dy, x, size, weight, options):
    """The exact gradients, and the size of what is summed for each of them; at most, for the first one."""
    function = getattr(ref, name + "_backward")
    exact = function(dy, x, size, weight, **options)
    normal = np.abs(getattr(ref, name)(x, size, **options))
    rows = ref._in_groups(ref._nhwc(x, options.get("data_format", "channels_last")), size) if name == "group_norm" else x
    scale = ref._normalize(rows, (1, 3) if name == "group_norm" else ref._last_axes(size), 1e-5)[1].max()
    largest = scale * np.abs(dy).max() * (1 if weight is None else np.abs(weight).max()) * (1 + normal.max() ** 2)
    others = {"layer_norm": tuple(range(dy.ndim - np.ndim(exact[1]))),
              "group_norm": (0, *range(2, dy.ndim)) if options else tuple(range(dy.ndim - 1))}[name]  # fmt: skip
    return exact, largest, (np.abs(dy) * normal).sum(others), np.abs(dy).sum(others)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_against_the_reference(isa, case, dtype, rng):
    name, size, options, x, dy, weight, bias = arguments(rng, case, dtype)
    forward, backward, u = getattr(ops, name), getattr(ops, name + "_backward"), np.finfo(dtype).eps / 2
    for w, b in ((None, None), (weight, None), (None, bias), (weight, bias)):
        exact = getattr(ref, name)(wide(x), size, *(a if a is None else wide(a) for a in (w, b)), **options)
        bound = 32 * u * (1 + np.abs(exact).max())
        for at in ("start", "end"):
            out = guarded_empty(x.shape, dtype, at)
            guards = [a if a is None else guarded(a, at) for a in (w, b)]
            assert forward(guarded(x, at), size, *guards, out=out, **options) is out
            assert_within(out, exact, bound)
        exact, largest, product, total = backwards(name, wide(dy), wide(x), size, None if w is None else wide(w), options)
        bounds = 16 * u * largest, 32 * u * (1 + product), 24 * u * total
        for at in ("start", "end"):
            outs = tuple(guarded_empty(e.shape, dtype, at) for e in exact)
            guards = [a if a is None else guarded(a, at) for a in (dy, x)]
            results = backward(*guards, size, w if w is None else guarded(w, at), out=outs, **options)
            for actual, out, e, bound in zip(results, outs, exact, bounds, strict=True):
                assert actual is out
                assert_within(actual, e, bound)


@pytest.mark.parametrize("case", CASES)
def test_any_memory_and_in_place(case, rng):
    name, size, options, x, dy, weight, bias = arguments(rng, case, np.float32)
    forward, backward = getattr(ops, name), getattr(ops, name + "_backward")
    y, gradients = forward(x, size, weight, bias, **options), backward(dy, x, size, weight, **options)
    for kind, view in strange_views(x):
        assert_same_bits(forward(view, size, weight, bias, **options), y)
        for a, b in zip(backward(dict(strange_views(dy))[kind], view, size, weight, **options), gradients):
            assert_same_bits(a, b)
    inplace = x.copy()
    assert forward(inplace, size, weight, bias, out=inplace, **options) is inplace
    assert_same_bits(inplace, y)
    inplace = dy.copy()
    backward(inplace, x, size, weight, out=(inplace, None, None), **options)
    assert_same_bits(inplace, gradients[0])


@pytest.mark.parametrize(
    "case", ["layer many rows", "layer axes", "layer long", "group blocks", "group 64 by 32", "group many pixels"]
)
def test_same_bits_for_any_threads_and_batch(case, threads, rng):
    name, size, _, x, dy, weight, bias = arguments(rng, case, np.float32)
    forward, backward = getattr(ops, name), getattr(ops, name + "_backward")
    y = forward(x, size, weight, bias, num_threads=1)
    assert_same_bits(forward(x, size, weight, bias, num_threads=threads), y)
    gradients = backward(dy, x, size, weight, num_threads=1)
    for a, b in zip(backward(dy, x, size, weight, num_threads=threads), gradients):
        assert_same_bits(a, b)
    for i in (0, len(x) - 1):
        assert_same_bits(forward(x[i : i + 1], size, weight, bias), y[i : i + 1])
        assert_same_bits(backward(dy[i : i + 1], x[i : i + 1], size, weight)[0], gradients[0][i : i + 1])


@pytest.mark.parametrize("name, shape, size", [("layer_norm", (4, 4096), 4096), ("group_norm", (2, 64, 64, 4), 2)])
def test_accurate_for_a_large_mean(isa, name, shape, size, rng):
    x = (rng.standard_normal(shape) + 1e4).astype(np.float32)
    dy = rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(getattr(ops, name)(x, size), getattr(ref, name)(x, size), atol=1e-5)
    actual, exact = (getattr(library, name + "_backward")(dy, x, size) for library in (ops, ref))
    for a, e, scale in zip(actual, exact, (1, 64, 64)):
        np.testing.assert_allclose(a, e, atol=1e-5 * scale)


def test_a_constant_has_no_deviation(isa):
    x = np.full((3, 50, 6), 1 / 3, np.float32)
    for y in (ops.layer_norm(x, 6), ops.layer_norm(x, (50, 6)), ops.group_norm(x, 3)):
        assert np.abs(y).max() < 1e-4


@pytest.mark.parametrize("name, size", [("layer_norm", 8), ("group_norm", 2)])
def test_what_is_not_finite_stays_where_it_is(isa, name, size, rng):
    x = rng.standard_normal((5, 8)).astype(np.float32)
    clean = getattr(ops, name)(x, size)
    x[1, 0], x[2, 1], x[3, 2] = np.nan, np.inf, -np.inf
    with np.errstate(all="raise"):
        y = getattr(ops, name)(x, size)
    touched = np.zeros((5, 8), bool)
    touched[1:4, : 8 if name == "layer_norm" else 4] = True
    assert np.isnan(y[touched]).all()
    assert_same_bits(y[~touched], clean[~touched])


def test_large_numbers_do_not_overflow_on_the_way(isa):
    assert np.isfinite(ops.layer_norm(np.full((2, 600), 3e38, np.float32), 600)).all()


def test_no_samples():
    x = np.zeros((0, 4, 6), np.float32)
    assert ops.layer_norm(x, 6).shape == (0, 4, 6)
    dx, dweight, dbias = ops.layer_norm_backward(x, x, 6)
    assert dx.shape == (0, 4, 6) and (dweight == 0).all() and (dbias == 0).all() and dweight.shape == (6,)


X = np.zeros((2, 4, 5, 6), np.float32)
REFUSED = [
    (lambda: ops.layer_norm(X, 5), ValueError, "layer_norm: normalized_shape must be the last axes of x, (2, 4, 5, 6), got (5,)"),
    (lambda: ops.layer_norm(X, ()), ValueError, "layer_norm: normalized_shape must be the last axes of x, (2, 4, 5, 6), got ()"),
    (lambda: ops.layer_norm(X, 6.0), TypeError, "layer_norm: normalized_shape must be an int, got 6.0"),
    (lambda: ops.layer_norm(X, 6, np.ones(5, np.float32)), ValueError, "layer_norm: weight must have shape (6,), got (5,)"),
    (lambda: ops.layer_norm(X, 6, eps=0), ValueError, "layer_norm: eps must be positive, got 0"),
    (lambda: ops.layer_norm(X, 6, np.ones(6)), TypeError, "layer_norm: weight must have the dtype of the other arrays, float32"),
    (lambda: ops.layer_norm(X.astype(int), 6), TypeError, "layer_norm: x must be float32 or float64, got int64"),
    (lambda: ops.layer_norm_backward(X[:1], X, 6), ValueError, "layer_norm_backward: dy must have the shape of the other arrays"),
    (lambda: ops.layer_norm_backward(X, X, 6, out=X), TypeError, "out must be a tuple of 3 arrays, got ndarray"),
    (lambda: ops.group_norm(X, 4), ValueError, "group_norm: num_groups must divide the 6 channels of x, got 4"),
    (lambda: ops.group_norm(X, 0), ValueError, "group_norm: num_groups must be positive, got 0"),
    (lambda: ops.group_norm(X[:0], 2), ValueError, "group_norm: x must have a batch and channels, none of them empty"),
    (lambda: ops.group_norm(X[0, 0, 0], 2), ValueError, "group_norm: x must have a batch and channels"),
    (lambda: ops.group_norm(X, 2, bias=np.ones(3, np.float32)), ValueError, "group_norm: bias must have shape (6,), got (3,)"),
    (lambda: ops.group_norm(X, 2, eps=-1), ValueError, "group_norm: eps must be positive, got -1"),
    (lambda: ops.group_norm(X, 2, data_format="NCHW"), ValueError, "group_norm: data_format must be 'channels_last' or"),
    (lambda: ops.group_norm(X, 2, num_threads=0), ValueError, "group_norm: num_threads must be positive, got 0"),
    (lambda: ops.group_norm_backward(X[:1], X, 2), ValueError, "group_norm_backward: dy must have the shape of the other arrays"),
]  # fmt: skip


@pytest.mark.parametrize("make, error, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
