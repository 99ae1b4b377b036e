"""Losses and gradients: within bounds that follow from the row length, whole at the limits, labels checked before use."""

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, guarded_empty, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
SHAPES = [(4, 1), (3, 2), (7, 10), (5, 16), (3, 17), (2, 3, 33), (2, 70), (1, 1000), (13,)]


def probabilities(rng, shape, dtype):
    """Rows that add up to about 1, with some exact zeros and some certainty."""
    p = rng.dirichlet(np.full(shape[-1], 0.4), shape[:-1]).astype(dtype)
    return np.where(p < 1e-3, 0, p).astype(dtype)


def targets(rng, shape, dtype):
    yield rng.integers(0, shape[-1], shape[:-1])
    yield rng.integers(0, shape[-1], shape[:-1]).astype(np.uint8 if shape[-1] < 256 else np.int16)
    yield probabilities(rng, shape, dtype)


def target_of(target, dtype):
    return wide(target.astype(dtype)) if np.asarray(target).dtype.kind == "f" else target


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_cross_entropy(isa, dtype, shape, at, rng):
    u, n = np.finfo(dtype).eps / 2, shape[-1]
    x = (rng.standard_normal(shape) * 10).astype(dtype)
    dloss = rng.standard_normal(shape[:-1]).astype(dtype)
    for target in targets(rng, shape, dtype):
        for smoothing in (0.0, 0.125):
            t = ref._probabilities(target_of(target, dtype), n, smoothing)
            expected, p = ref.softmax_cross_entropy(wide(x), target_of(target, dtype), label_smoothing=smoothing)
            outs = guarded_empty(shape[:-1], dtype, at), guarded_empty(shape, dtype, at)
            options = {"label_smoothing": smoothing, "out": outs}
            losses, actual = ops.softmax_cross_entropy(guarded(x, at), guarded(target, at), **options)
            assert losses is outs[0] and actual is outs[1]
            # log of a sum of n terms: its relative error is absolute; x - max rounds; then a sum of n products
            size = np.abs(wide(x) - x.max(-1, keepdims=True)) + np.log(n) + 1
            assert_within(losses, expected, (2 * n + 12) * u * ((t * size).sum(-1) + 1))
            assert_within(actual, p, (n + 8) * u * p + np.finfo(dtype).tiny)
            expected = ref.softmax_cross_entropy_backward(
                wide(dloss), wide(actual), target_of(target, dtype), label_smoothing=smoothing
            )
            dx = ops.softmax_cross_entropy_backward(
                guarded(dloss, at), guarded(actual, at), guarded(target, at), label_smoothing=smoothing,
                out=guarded_empty(shape, dtype, at),
            )  # fmt: skip
            assert_within(
                dx, expected, (n + 6) * u * np.abs(dloss)[..., None] * (actual * t.sum(-1, keepdims=True) + t)
            )


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(isa, dtype, shape, at, rng):
    u, n = np.finfo(dtype).eps / 2, shape[-1]
    p = ref.softmax(rng.standard_normal(shape) * 3).astype(dtype)
    dloss = rng.standard_normal(shape[:-1]).astype(dtype)
    for target in targets(rng, shape, dtype):
        expected = ref.cross_entropy(wide(p), target_of(target, dtype))
        losses = ops.cross_entropy(guarded(p, at), guarded(target, at), out=guarded_empty(shape[:-1], dtype, at))
        assert_within(losses, expected, (n + 4) * u * (np.abs(expected) + u))
        expected = ref.cross_entropy_backward(wide(dloss), wide(p), target_of(target, dtype))
        dx = ops.cross_entropy_backward(guarded(dloss, at), guarded(p, at), guarded(target, at))
        assert_within(dx, expected, 4 * u * np.abs(expected))


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_loss(isa, dtype, shape, at, rng):
    u, n = np.finfo(dtype).eps / 2, shape[-1]
    x, target = (rng.standard_normal((2, *shape)) + 3).astype(dtype)
    dloss = rng.standard_normal(shape[:-1]).astype(dtype)
    expected = ref.mse_loss(wide(x), wide(target))
    y = ops.mse_loss(guarded(x, at), guarded(target, at), out=guarded_empty(shape[:-1], dtype, at))
    assert_within(y, expected, (n + 5) * u * expected)
    expected = ref.mse_loss_backward(wide(dloss), wide(x), wide(target))
    dx = ops.mse_loss_backward(
        guarded(dloss, at), guarded(x, at), guarded(target, at), out=guarded_empty(shape, dtype, at)
    )
    assert_within(dx, expected, 6 * u * np.abs(expected))


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_losses(isa, dtype, at, rng):
    u = np.finfo(dtype).eps / 2
    for n in [*range(40), 1000]:
        x, p = (rng.standard_normal(n) * 8).astype(dtype), rng.random(n).astype(dtype)
        t, dloss = rng.choice([0, 0.25, 1], n).astype(dtype), rng.standard_normal(n).astype(dtype)
        out = guarded_empty(n, dtype, at)
        expected = ref.sigmoid_cross_entropy(wide(x), wide(t))
        y = ops.sigmoid_cross_entropy(guarded(x, at), guarded(t, at), out=out)
        assert_within(y, expected, 6 * u * (np.abs(x) + 1))
        right = np.abs(x) > 3  # far from 0 the right answer costs little, and that little is precise
        cheap = right & (t == (x > 0))
        assert_within(y[cheap], expected[cheap], 6 * u * expected[cheap])
        expected = ref.sigmoid_cross_entropy_backward(wide(dloss), wide(x), wide(t))
        assert_within(
            ops.sigmoid_cross_entropy_backward(dloss, guarded(x, at), guarded(t, at)), expected, 6 * u * np.abs(dloss)
        )
        expected = ref.binary_cross_entropy(wide(p), wide(t))
        assert_within(ops.binary_cross_entropy(guarded(p, at), guarded(t, at), out=out), expected, 8 * u * expected)
        expected = ref.binary_cross_entropy_backward(wide(dloss), wide(p), wide(t))
        actual = ops.binary_cross_entropy_backward(guarded(dloss, at), guarded(p, at), guarded(t, at))
        assert_within(actual, expected, 8 * u * np.abs(dloss) * (wide(t) / p + (1 - wide(t)) / (1 - wide(p))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_probabilities_stay_precise(isa, dtype):
    """-log(1 - p) is p for a tiny p, not 0."""
    p = np.array([1e-30, 1e-9, 1e-4], dtype)
    assert_within(ops.binary_cross_entropy(p, np.zeros_like(p)), -np.log1p(-wide(p)), 4 * np.finfo(dtype).eps * wide(p))


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(isa, dtype):
    inf, nan, big = np.inf, np.nan, np.finfo(dtype).max / 2
    rows = np.array(
        [[big, 0, -big], [-big, -big, -big], [1e38, 1e38, 0], [0, -inf, 0], [-inf] * 3, [inf, 0, 0], [0, nan, 0]], dtype
    )
    losses, p = ops.softmax_cross_entropy(rows, np.zeros(7, int))
    log = np.log
    assert_within(losses, np.array([0, log(3), log(2), log(2), nan, nan, nan]), 4 * np.finfo(dtype).eps)
    assert np.isnan(p[4:]).all() and np.isfinite(p[:4]).all()
    assert ops.softmax_cross_entropy(rows[:1], np.array([2]))[0] == dtype(big) * 2 or dtype is np.float32
    assert ops.softmax_cross_entropy(rows[3:4], np.array([1]))[0] == inf
    one_hot = np.eye(3, dtype=dtype)
    assert_exact(ops.softmax_cross_entropy(rows[3:4], one_hot[1:2])[0], [inf])
    assert_within(
        ops.softmax_cross_entropy(rows[3:4], one_hot[:1])[0], np.array([log(2)]), 4 * np.finfo(dtype).eps
    )  # 0 inf = 0
    sure = np.array([[1, 0, 0]], dtype)
    assert_exact(ops.cross_entropy(sure, [0]), [0])
    assert_exact(ops.cross_entropy(sure, [1]), [inf])
    assert_exact(ops.cross_entropy(sure, sure), [0])
    assert_exact(ops.cross_entropy_backward(np.ones(1, dtype), sure, sure), [[-1, 0, 0]])
    assert_exact(ops.binary_cross_entropy(sure, sure), [[0, 0, 0]])
    assert_exact(ops.binary_cross_entropy(sure, 1 - sure), [[inf, inf, inf]])
    assert_exact(ops.sigmoid_cross_entropy(np.array([big, -big], dtype), np.array([1, 0], dtype)), [0, 0])
    assert_exact(ops.sigmoid_cross_entropy(np.array([nan], dtype), np.array([1], dtype)), [nan])


def every_loss(rng, shape):
    """(name, call(threads, view)) of each op on one data set; `view` is applied to every array."""
    x, target = rng.standard_normal((2, *shape)).astype(np.float32)
    p, t = ref.softmax(x).astype(np.float32), ref.softmax(target).astype(np.float32)
    labels, dloss = rng.integers(0, shape[-1], shape[:-1]), rng.standard_normal(shape[:-1]).astype(np.float32)
    d = rng.standard_normal(shape).astype(np.float32)
    return [
        ("softmax_cross_entropy", (x, labels)),
        ("softmax_cross_entropy", (x, t)),
        ("softmax_cross_entropy_backward", (dloss, p, labels)),
        ("softmax_cross_entropy_backward", (dloss, p, t)),
        ("cross_entropy", (p, labels)),
        ("cross_entropy", (p, t)),
        ("cross_entropy_backward", (dloss, p, labels)),
        ("cross_entropy_backward", (dloss, p, t)),
        ("mse_loss", (x, target)),
        ("mse_loss_backward", (dloss, x, target)),
        ("sigmoid_cross_entropy", (x, t)),
        ("sigmoid_cross_entropy_backward", (d, x, t)),
        ("binary_cross_entropy", (p, t)),
        ("binary_cross_entropy_backward", (d, p, t)),
    ]


def both(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("shape", [(3000, 17), (3, 40000)])
def test_same_bits_for_any_threads(threads, shape, rng):
    for name, arguments in every_loss(rng, shape):
        for a, b in zip(
            both(getattr(ops, name)(*arguments, num_threads=threads)),
            both(getattr(ops, name)(*arguments, num_threads=1)),
        ):
            assert_same_bits(a, b)


def test_any_memory(rng):
    for name, arguments in every_loss(rng, (6, 5)):
        expected = both(getattr(ops, name)(*arguments))
        views = [dict(strange_views(a)) for a in arguments]
        for kind in views[0]:
            for a, b in zip(both(getattr(ops, name)(*(v[kind] for v in views))), expected):
                assert_same_bits(a, b)


def test_out_may_be_an_input(rng):
    for name, arguments in every_loss(rng, (6, 5)):
        expected = both(getattr(ops, name)(*arguments))
        for i, a in enumerate(arguments):
            for j, e in enumerate(expected):
                if a.shape == e.shape and a.dtype == e.dtype:
                    copies = [b.copy() for b in arguments]
                    out = copies[i] if len(expected) == 1 else (None,) * j + (copies[i],) + (None,) * (1 - j)
                    for result, wanted in zip(both(getattr(ops, name)(*copies, out=out)), expected):
                        assert_same_bits(result, wanted)


def test_batch_of_none():
    losses, p = ops.softmax_cross_entropy(np.ones((0, 3), np.float32), np.zeros(0, int))
    assert losses.shape == (0,) and p.shape == (0, 3)
    assert ops.mse_loss(np.ones((0, 3)), np.ones((0, 3))).shape == (0,)


X, L, D = np.ones((4, 3), np.float32), np.array([0, 1, 2, 0]), np.ones(4, np.float32)
ERRORS = [
    (lambda: ops.softmax_cross_entropy(X, L + 1), ValueError, r"softmax_cross_entropy: label 3 at index 2 is outside 0\.\.\.2"),
    (lambda: ops.softmax_cross_entropy(X[None], L[None] - 1), ValueError, r"label -1 at index \(0, 0\) is outside 0\.\.\.2"),
    (lambda: ops.softmax_cross_entropy(X, L.astype(np.uint64) + np.uint64(2**64 - 1)), ValueError, r"label 18446744073709551615 at"),
    (lambda: ops.softmax_cross_entropy_backward(D, X, L + 1), ValueError, r"_backward: label 3 at index 2"),
    (lambda: ops.cross_entropy(X, L - 1), ValueError, r"cross_entropy: label -1 at index 0 is outside 0\.\.\.2"),
    (lambda: ops.softmax_cross_entropy(X, L > 0), TypeError, r"target must be integer labels or .*float32, got bool"),
    (lambda: ops.softmax_cross_entropy(X, ["a"] * 4), TypeError, r"target must be integer labels"),
    (lambda: ops.softmax_cross_entropy(X, L * 1.0), TypeError, r"target must have the dtype .*float32.*float64"),
    (lambda: ops.softmax_cross_entropy(X, D), ValueError, r"target must have shape \(4, 3\) \(probabilities\) or be integer labels"),
    (lambda: ops.softmax_cross_entropy(X, X.astype(int)), ValueError, r"target must have shape \(4,\) \(integer labels\) or be prob"),
    (lambda: ops.softmax_cross_entropy(X, L, label_smoothing=1), ValueError, r"label_smoothing must be in 0 <= .* < 1, got 1"),
    (lambda: ops.softmax_cross_entropy(X, L, label_smoothing="0"), TypeError, r"label_smoothing must be a number"),
    (lambda: ops.softmax_cross_entropy(X, L, out=D), TypeError, r"out must be a tuple of two arrays, got ndarray"),
    (lambda: ops.softmax_cross_entropy(X, L, out=(X, None)), ValueError, r"out must have shape \(4,\), got \(4, 3\)"),
    (lambda: ops.softmax_cross_entropy_backward(X, X, L), ValueError, r"dloss must have shape \(4,\), got \(4, 3\)"),
    (lambda: ops.softmax_cross_entropy(X[:, :0], L), ValueError, r"axis must not have length 0"),
    (lambda: ops.mse_loss(X, X[:2]), ValueError, r"mse_loss: target must .*shape.*\(4, 3\), got \(2, 3\)"),
    (lambda: ops.mse_loss_backward(D[:2], X, X), ValueError, r"mse_loss_backward: dloss must have shape \(4,\), got \(2,\)"),
    (lambda: ops.sigmoid_cross_entropy(X, L), TypeError, r"sigmoid_cross_entropy: target must be float32"),
    (lambda: ops.binary_cross_entropy_backward(D, X, X), ValueError, r"binary_cross_entropy_backward: dloss must .*shape"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:40] for row in ERRORS])
def test_error(call, error, words):
    with pytest.raises(error, match=words):
        call()
