"""Batch norm: statistics that survive a large mean, bounds from the number of values, same bits on any path."""

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, guarded_empty, integers, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
SHAPES = [
    (2, 1),
    (7, 1),
    (40, 3),
    (5, 16),
    (3, 4, 19),
    (2, 9, 9, 32),
    (2, 7, 11, 130),
    (70, 1, 1, 257),
    (5000, 5),
    (40, 16, 16, 3),
]


def batch(rng, shape, dtype, mean=2.0):
    x, dy = rng.standard_normal((2, *shape))
    weight, bias = rng.standard_normal((2, shape[-1]))
    return tuple(a.astype(dtype) for a in (x * 1.5 + mean, dy, weight, bias))


def axes(x):
    return tuple(range(x.ndim - 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_stats(isa, dtype, shape, rng):
    u = np.finfo(dtype).eps / 2
    for mean in (0.0, 3.0, 1e4):
        x = batch(rng, shape, dtype, mean)[0]
        exact_mean, exact_var = ref.batch_norm_stats(wide(x))
        outs = guarded_empty(shape[-1], dtype), guarded_empty(shape[-1], dtype, "start")
        for at in ("start", "end"):
            m, v = ops.batch_norm_stats(guarded(x, at), out=outs)
            assert m is outs[0] and v is outs[1]
            size = np.abs(wide(x)).mean(axes(x))
            # each chunk's mean is corrected and they are merged in double: in float32 little more than one rounding
            assert_within(m, exact_mean, (2 if dtype == np.float32 else 24) * u * size)
            # deviations are rounded to u |x| at most, whatever the mean; E[x**2] - E[x]**2 would be off by u mean**2;
            # their errors are as random as the deviations themselves
            assert_within(
                v, exact_var, 24 * u * exact_var + 8 * u * size * np.sqrt(exact_var) / np.sqrt(x.size / shape[-1])
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_1e4_deviation_1(isa, dtype, rng):
    x = (rng.standard_normal((30_000, 4)) + 1e4).astype(dtype)
    mean, var = ops.batch_norm_stats(x)
    exact_mean, exact_var = ref.batch_norm_stats(wide(x))
    assert_within(mean, exact_mean, 2 * np.spacing(dtype(1e4)))
    assert_within(var, exact_var, 2e-6 if dtype == np.float32 else 1e-11)
    naive = (x * x).mean(0) - x.mean(0) ** 2
    assert np.abs(naive - exact_var).max() > 100 * np.abs(var - exact_var).max()  # the formula that must never be used


@pytest.mark.parametrize("dtype", DTYPES)
def test_stats_of_integers_are_exact(isa, dtype, rng):
    x = integers(rng, (64, 4, 4, 6), dtype)
    x[1::2] = -x[::2]  # a mean of exactly 0, 1024 values
    mean, var = ops.batch_norm_stats(x)
    assert_exact(mean, np.zeros(6))
    assert_exact(var, (x * x).mean((0, 1, 2)))
    third = dtype(1 / 3)
    mean, var = ops.batch_norm_stats(np.full((999, 3), third))
    assert_within(mean, np.full(3, third), 2 * np.spacing(third))
    assert_within(var, np.zeros(3), 4 * np.spacing(third) ** 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_non_finite_values_stay_in_their_channel(isa, dtype, rng):
    x = batch(rng, (300, 5), dtype)[0]
    clean = ops.batch_norm_stats(x)
    x[7, 1], x[8, 2], x[9, 3], x[10, 3] = np.nan, np.inf, np.inf, -np.inf
    mean, var = ops.batch_norm_stats(x)
    assert_exact(mean, [clean[0][0], np.nan, np.inf, np.nan, clean[0][4]])
    assert_exact(var, [clean[1][0], np.nan, np.nan, np.nan, clean[1][4]])
    if dtype == np.float32:  # the mean does not overflow on its way
        huge = np.full((600, 2), 3e38, dtype)
        assert_exact(ops.batch_norm_stats(huge)[0], huge[0])


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(isa, dtype, shape, activation, rng):
    u = np.finfo(dtype).eps / 2
    x, _, weight, bias = batch(rng, shape, dtype)
    mean, var = (a.astype(dtype) for a in ref.batch_norm_stats(x))
    for w, b, eps in [(None, None, 1e-5), (weight, None, 1e-3), (None, bias, 1e-3), (weight, bias, 1e-5)]:
        arguments = [mean, var, w, b]
        exact = ref.batch_norm(wide(x), *(a if a is None else wide(a) for a in arguments), eps)
        scale = np.abs(1 / np.sqrt(wide(var) + eps) * (1 if w is None else wide(w)))
        bound = 4 * u * (scale * np.abs(wide(x) - mean) + (0 if b is None else np.abs(b)))
        if activation == "sigmoid":
            exact, bound = ref.sigmoid(exact), bound / 4 + 4 * u * ref.sigmoid(exact)
        elif activation == "relu":
            exact = ref.relu(exact)
        for at in ("start", "end"):
            out = guarded_empty(shape, dtype, at)
            guards = [a if a is None else guarded(a, at) for a in arguments]
            assert ops.batch_norm(guarded(x, at), *guards, eps, activation=activation, out=out) is out
            assert_within(out, exact, bound)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_backward(isa, dtype, shape, training, rng):
    u = np.finfo(dtype).eps / 2
    x, dy, weight, _ = batch(rng, shape, dtype)
    mean, var = (a.astype(dtype) for a in ref.batch_norm_stats(x))
    for w in (None, weight):
        wide_w = None if w is None else wide(w)
        exact = ref.batch_norm_backward(wide(dy), wide(x), wide(mean), wide(var), wide_w, training=training)
        scale = 1 / np.sqrt(wide(var) + 1e-5)
        normal, size = np.abs(wide(x) - mean) * scale, np.abs(wide(dy))
        n = x.size // shape[-1]
        dweight, dbias = (size * normal).sum(axes(x)), size.sum(axes(x))
        dx = (
            (size + (dbias + normal * dweight) / n) * np.abs(scale * (1 if w is None else w))
            if training
            else np.abs(exact[0])
        )
        bounds = [bound * 24 * u for bound in (dx, dweight, dbias)]
        for at in ("start", "end"):
            outs = tuple(guarded_empty(e.shape, dtype, at) for e in exact)
            guards = [a if a is None else guarded(a, at) for a in (dy, x, mean, var, w)]
            results = ops.batch_norm_backward(*guards, training=training, out=outs)
            for actual, out, expected, bound in zip(results, outs, exact, bounds):
                assert actual is out
                assert_within(actual, expected, bound)


def ugly(rng, array):
    """Values at which a mask could go wrong: zeros of both signs, NaN, infinities."""
    array = array.copy()
    spots = rng.integers(0, array.size, 8)
    array.flat[spots] = [0.0, -0.0, np.nan, np.inf, -np.inf, -0.0, 0.0, np.nan]
    return array


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_is_bit_for_bit_the_separate_ops(isa, dtype, shape, rng):
    """Residual, activation and the ReLU's gradient inside the passes, NaN and zeros included."""
    x, dy, weight, bias = batch(rng, shape, dtype)
    residual = ugly(rng, rng.standard_normal(shape).astype(dtype))
    dirty = ugly(rng, x)  # for whatever does not mix the pixels
    stats = tuple(a.astype(dtype) for a in ref.batch_norm_stats(x))
    for w, b in ((weight, bias), (None, None)):
        plain = ops.batch_norm(dirty, *stats, w, b)
        for activation in (None, "relu", "sigmoid"):
            expected = ops.add(plain, residual, activation=activation)
            for at in ("start", "end"):
                out = guarded_empty(shape, dtype, at)
                ops.batch_norm(
                    guarded(dirty, at), *stats, w, b, residual=guarded(residual, at), activation=activation, out=out
                )
                assert_same_bits(out, expected)
        for training, images in ((True, (x, residual)), (False, (dirty, residual)), (True, (dirty, residual))):
            image, shortcut = images
            y = ops.batch_norm(image, *stats, w, b, activation="relu")
            sums = ops.batch_norm(image, *stats, w, b, residual=shortcut, activation="relu")
            for at in ("start", "end"):
                arguments = [guarded(dy, at), guarded(image, at), *stats, w]
                options = dict(activation="relu", training=training, bias=b)
                expected = ops.batch_norm_backward(
                    ops.relu_backward(dy, y), image, *stats, w, training=training, num_threads=1
                )
                for given in (None, guarded(y, at)):
                    outs = tuple(guarded_empty(e.shape, dtype, at) for e in expected)
                    for a, e in zip(ops.batch_norm_backward(*arguments, y=given, out=outs, **options), expected):
                        assert_same_bits(a, e)
                gated = ops.relu_backward(dy, sums)
                expected = (*ops.batch_norm_backward(gated, image, *stats, w, training=training), gated)
                outs = tuple(guarded_empty(e.shape, dtype, at) for e in expected)
                results = ops.batch_norm_backward(
                    *arguments, y=guarded(sums, at), return_dresidual=True, out=outs, **options
                )
                for a, out, e in zip(results, outs, expected, strict=True):
                    assert a is out
                    assert_same_bits(a, e)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_fused_in_any_layout_in_place_and_on_threads(layout, threads, rng):
    x, dy, weight, bias = batch(rng, (70, 9, 8, 20), np.float32)
    residual = rng.standard_normal(x.shape).astype(np.float32)
    stats = ops.batch_norm_stats(x)
    turn = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    plain, options = dict(num_threads=1), dict(data_format=layout, num_threads=threads)
    y = ops.batch_norm(x, *stats, weight, bias, residual=residual, activation="relu", **plain)
    given = dict(residual=turn(residual), activation="relu", **options)
    assert_same_bits(ops.batch_norm(turn(x), *stats, weight, bias, **given), turn(y))
    for name in ("x", "residual"):  # in place, and onto the residual
        out = turn(x if name == "x" else residual).copy()
        arguments = (out if name == "x" else turn(x), *stats, weight, bias)
        given["residual"] = out if name == "residual" else turn(residual)
        assert ops.batch_norm(*arguments, out=out, **given) is out
        assert_same_bits(out, turn(y))
    fused = dict(activation="relu", y=y, return_dresidual=True)
    expected = ops.batch_norm_backward(dy, x, *stats, weight, **fused, **plain)
    fused["y"] = turn(y)
    turned = (turn(expected[0]), *expected[1:3], turn(expected[3]))
    for place in (None, 0, 3):  # where dy is overwritten
        gradient = turn(dy).copy()
        outs = None if place is None else tuple(gradient if i == place else None for i in range(4))
        results = ops.batch_norm_backward(gradient, turn(x), *stats, weight, out=outs, **fused, **options)
        assert place is None or results[place] is gradient
        for a, e in zip(results, turned, strict=True):
            assert_same_bits(a, e)


def test_constants_pass_no_gradient(rng):
    """Without training, an infinite x does not touch dx."""
    x, dy, weight, _ = batch(rng, (6, 4), np.float32)
    x[:] = np.inf
    dx = ops.batch_norm_backward(dy, x, np.zeros(4, np.float32), np.ones(4, np.float32), weight, training=False)[0]
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("activation", [None, "relu"])
def test_large_maps_have_the_bits_of_small_ones(isa, activation, rng):
    """From 24 MB on they are written past the caches, if they begin at a cache line."""
    x, dy, weight, bias = batch(rng, (4, 240, 240, 32), np.float32)
    room = np.empty(x.size + 32, np.float32)
    first = -room.ctypes.data % 64 // 4
    outs = [room[start : start + x.size].reshape(x.shape) for start in (first, first + 1)]
    mean, var = ops.batch_norm_stats(x)
    whole, shifted = (
        ops.batch_norm(x, mean, var, weight, bias, activation=activation, out=out, num_threads=2).copy() for out in outs
    )
    assert_same_bits(whole, shifted)
    whole, shifted = (
        ops.batch_norm_backward(dy, x, mean, var, weight, out=(out, None, None), num_threads=2)[0].copy() for out in outs
    )
    assert_same_bits(whole, shifted)


@pytest.mark.parametrize("shape", [(2000, 40), (9, 33, 21, 3), (40, 2, 700)])
def test_same_bits_for_any_threads_and_batch(threads, shape, rng):
    x, dy, weight, bias = batch(rng, shape, np.float32)
    mean, var = ops.batch_norm_stats(x, num_threads=1)
    for a, b in zip(ops.batch_norm_stats(x, num_threads=threads), (mean, var)):
        assert_same_bits(a, b)
    y = ops.batch_norm(x, mean, var, weight, bias, num_threads=1)
    assert_same_bits(ops.batch_norm(x, mean, var, weight, bias, num_threads=threads), y)
    for i in (0, 5, len(x) - 1):
        assert_same_bits(ops.batch_norm(x[i : i + 1], mean, var, weight, bias), y[i : i + 1])
    options = {"num_threads": threads}
    for a, b in zip(
        ops.batch_norm_backward(dy, x, mean, var, weight, **options),
        ops.batch_norm_backward(dy, x, mean, var, weight, num_threads=1),
    ):
        assert_same_bits(a, b)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_any_memory_and_layout(layout, rng):
    x, dy, weight, bias = batch(rng, (3, 5, 4, 6), np.float32)
    stats = ops.batch_norm_stats(x)
    y, grads = ops.batch_norm(x, *stats, weight, bias), ops.batch_norm_backward(dy, x, *stats, weight)
    turn = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, -1, 1))
    options = {"data_format": layout}
    for kind, view in strange_views(turn(x)):
        for a, b in zip(ops.batch_norm_stats(view, **options), stats):
            assert_same_bits(a, b)
        assert_same_bits(ops.batch_norm(view, *stats, weight, bias, **options), turn(y))
        gradient = dict(strange_views(turn(dy)))[kind]
        for a, b in zip(
            ops.batch_norm_backward(gradient, view, *stats, weight, **options), (turn(grads[0]), *grads[1:])
        ):
            assert_same_bits(a, b)
        if kind not in ("read-only", "big-endian"):
            out = np.copy(view, order="K")
            assert ops.batch_norm(turn(x), *stats, weight, bias, out=out, **options) is out
            assert_same_bits(out, turn(y))
    inplace = turn(x).copy()
    ops.batch_norm(inplace, *stats, weight, bias, out=inplace, **options)
    assert_same_bits(inplace, turn(y))
    inplace = turn(dy).copy()
    ops.batch_norm_backward(inplace, turn(x), *stats, weight, out=(inplace, None, None), **options)
    assert_same_bits(inplace, turn(grads[0]))
    same = stats[0].copy(), stats[1].copy()
    ops.batch_norm(x, *same, weight, bias, out=np.empty_like(x))
    assert_same_bits(same[0], stats[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_moving_average(isa, dtype, rng):
    for n in range(40):
        average, value = rng.standard_normal((2, n)).astype(dtype)
        for momentum in (0.0, 0.99, 1.0):
            expected = ref.moving_average(wide(average), wide(value), momentum)
            updated = guarded(average, readonly=False)
            assert ops.moving_average(updated, guarded(value), momentum, out=updated) is updated
            assert_within(updated, expected, 3 * np.finfo(dtype).eps * (np.abs(average) + np.abs(value)))


X, C = np.ones((4, 3), np.float32), np.ones(3, np.float32)
ERRORS = [
    (lambda: ops.batch_norm(X, C[:2], C), ValueError, r"batch_norm: mean must have shape \(3,\), got \(2,\)"),
    (lambda: ops.batch_norm(X, C, C, C, C.astype(float)), TypeError, r"batch_norm: bias must have the dtype"),
    (lambda: ops.batch_norm(X, C, C, eps=0), ValueError, r"batch_norm: eps must be positive, got 0"),
    (lambda: ops.batch_norm(X, C, C, eps=np.nan), ValueError, r"batch_norm: eps must be finite, got nan"),
    (lambda: ops.batch_norm(X, C, C, activation="tanh"), ValueError, r"batch_norm: activation must be None, 'relu' or"),
    (lambda: ops.batch_norm(np.float32(1), C, C), ValueError, r"batch_norm: x must be \(\.\.\., C\), got shape \(\)"),
    (
        lambda: ops.batch_norm(C, C, C, data_format="channels_first"),
        ValueError,
        r"x must be \(N, C, \.\.\.\), got shape \(3,\)",
    ),
    (lambda: ops.batch_norm(X, C, C, data_format="NCHW"), ValueError, r"batch_norm: data_format must be"),
    (lambda: ops.batch_norm(X, C, C, out=X[:2]), ValueError, r"batch_norm: out must have shape \(4, 3\), got \(2, 3\)"),
    (lambda: ops.batch_norm(X[:, :0], C, C), ValueError, r"x must have at least 1 channel"),
    (lambda: ops.batch_norm_stats(X[:1]), ValueError, r"batch_norm_stats: x must have more than 1 value per channel"),
    (
        lambda: ops.batch_norm_stats(X, out=C),
        TypeError,
        r"batch_norm_stats: out must be a tuple of 2 arrays, got ndarray",
    ),
    (lambda: ops.batch_norm_backward(X[:2], X, C, C), ValueError, r"dy must have shape \(4, 3\), got \(2, 3\)"),
    (lambda: ops.batch_norm_backward(X, X, C, C, eps=-1), ValueError, r"eps must be positive, got -1"),
    (lambda: ops.batch_norm(X, C, C, residual=X[:2]), ValueError, r"batch_norm: residual must have shape \(4, 3\), got"),
    (
        lambda: ops.batch_norm_backward(X, X, C, C, activation="sigmoid"),
        ValueError,
        r"batch_norm_backward: activation must be None or 'relu', got 'sigmoid'",
    ),
    (
        lambda: ops.batch_norm_backward(X, X, C, C, activation="relu", return_dresidual=True),
        ValueError,
        r"return_dresidual needs activation 'relu' and y, got 'relu' and y NoneType",
    ),
    (
        lambda: ops.batch_norm_backward(X, X, C, C, activation="relu", y=X[:2]),
        ValueError,
        r"batch_norm_backward: y must have shape \(4, 3\), got \(2, 3\)",
    ),
    (
        lambda: ops.moving_average(C, C, 1.5),
        ValueError,
        r"moving_average: momentum must be in 0 <= momentum <= 1, got 1\.5",
    ),
    (lambda: ops.moving_average(C, X, 0.5), ValueError, r"moving_average: value must .*shape"),
]


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:40] for row in ERRORS])
def test_error(call, error, words):
    with pytest.raises(error, match=words):
        call()
