"""Optimiser steps: each against the formula, a thousand in a row against float64, in place on any memory."""

import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, strange_views, wide

from cnnfast import ops
from cnnfast import reference as ref

DTYPES = [np.float32, np.float64]
SGD = [dict(lr=0.1), dict(lr=0.1, weight_decay=0.01)]
MOMENTUM = [dict(lr=0.05, momentum=0.9), dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)]
ADAM = [
    dict(lr=1e-3, beta_1=0.9, beta_2=0.999, eps=1e-7),
    dict(lr=1e-3, beta_1=0.8, beta_2=0.99, eps=1e-7, weight_decay=0.1),
]
RMSPROP = [dict(lr=1e-3, rho=0.9, eps=1e-7), dict(lr=1e-3, rho=0.9, eps=1e-7, weight_decay=0.1)]
RMSPROP_MOMENTUM = [
    dict(lr=1e-3, rho=0.9, eps=1e-7, momentum=0.9),
    dict(lr=1e-3, rho=0.5, eps=1e-5, momentum=0.5, weight_decay=0.1),
]
# (op, how many state arrays, options)
STEPS = [
    (name, states, options)
    for name, states, cases in [
        ("sgd_step", 0, SGD), ("sgd_step", 1, MOMENTUM), ("adam_step", 2, ADAM),
        ("rmsprop_step", 1, RMSPROP), ("rmsprop_step", 2, RMSPROP_MOMENTUM),
    ]
    for options in cases
]  # fmt: skip


@pytest.fixture(params=STEPS, ids=[f"{n}-{s}-{i}" for i, (n, s, _) in enumerate(STEPS)])
def case(request):
    return request.param


def step_options(name, options, step):
    return {**options, "step": step} if name == "adam_step" else options


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tail_between_guards(isa, case, dtype, rng):
    name, states, options = case
    options = step_options(name, options, 3)
    for n in [*range(40), 100]:
        at = "start" if n % 2 else "end"
        arrays = [np.abs(rng.standard_normal(n)).astype(dtype) for _ in range(2 + states)]  # squares are not negative
        expected = [wide(a) for a in arrays]
        getattr(ref, name)(*expected, **options)
        actual = [guarded(a, at, readonly=i == 1) for i, a in enumerate(arrays)]
        assert getattr(ops, name)(*actual, **options) is None
        for a, e in zip(actual, expected):
            assert_within(a, e, 8 * np.finfo(dtype).eps * (np.abs(e) + 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_thousand_steps(isa, case, dtype, rng):
    """Down a noisy bowl, gradients from 1e-4 to 1e4: the float64 formula's path within 1e-5 (contract A9)."""
    name, states, options = case
    n = 67
    size, goal = 10.0 ** rng.uniform(-4, 4, n), rng.standard_normal(n)
    actual = [a.astype(dtype) for a in [rng.standard_normal(n), *np.zeros((states, n))]]
    expected = [wide(a) for a in actual]
    start = expected[0].copy()
    for step in range(1, 1001):
        grad = (rng.standard_normal(n) + (goal if name != "sgd_step" else 0)).astype(dtype)
        grad *= size.astype(dtype) if name != "sgd_step" else dtype(1)
        step_arguments = step_options(name, options, step)
        getattr(ops, name)(actual[0], grad, *actual[1:], **step_arguments)
        getattr(ref, name)(expected[0], wide(grad), *expected[1:], **step_arguments)
    for a, e in zip(actual, expected):
        scale = np.abs(e) + np.abs(e).mean() if a is not actual[0] else np.abs(e) + 1
        assert_within(a, e, (2e-5 if dtype == np.float32 else 1e-13) * scale)
    assert (np.abs(expected[0] - start) > 1e-2).mean() > 0.9  # it moved


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_gradients(isa, case, dtype):
    name, states, options = case
    options = step_options(name, {**options, "weight_decay": 0.0}, 1)
    grad = np.array([0, 1e-40, -1e-40, 1e-20, 1e30, -1e30, np.inf, np.nan], dtype)
    if name != "sgd_step" and dtype == np.float32:
        grad = np.delete(grad, [4, 5])  # 1e60 is beyond float32, so the step is 0 there and not in float64
    arrays = [np.zeros_like(grad) for _ in range(1 + states)]
    expected = [wide(a) for a in arrays]
    getattr(ops, name)(arrays[0], grad, *arrays[1:], **options)
    with np.errstate(all="ignore"):
        getattr(ref, name)(expected[0], wide(grad), *expected[1:], **options)
    for a, e in zip(arrays, expected):
        with np.errstate(all="ignore"):
            assert_within(a, e.astype(dtype), 1e-5 * np.abs(np.nan_to_num(e, posinf=0, neginf=0)) + 1e-37)


def test_means_that_decay_are_zero_before_they_are_denormal(isa, case, rng):
    """Gradients of zero: the weights stay those of the formula, and no state becomes a number that is slow to add."""
    name, states, options = case
    arrays = [rng.standard_normal(40), np.zeros(40), *(10.0 ** rng.uniform(-30, -25, (states, 40)))]
    arrays = [a.astype(np.float32) for a in arrays]
    expected = [wide(a) for a in arrays]
    for step in range(1000, 13000):
        getattr(ops, name)(*arrays, **step_options(name, options, step))
        if step < 1100:  # by then the weights are where they stay, but for their own decay
            getattr(ref, name)(*expected, **step_options(name, options, step))
            assert_within(arrays[0], expected[0], 1e-6 * np.abs(expected[0]))
        if step % 50 == 0:
            assert not any(((a != 0) & (np.abs(a) < np.finfo(np.float32).tiny)).any() for a in arrays[2:])
    assert not any(a.any() for a in arrays[2:])
    arrays[1][:] = 1e-17  # but a gradient counts, however small
    getattr(ops, name)(*arrays, **step_options(name, options, 13000))
    assert states == 0 or arrays[2].all()


def test_zero_gradient_moves_nothing(isa, case):
    name, states, options = case
    options = step_options(name, {**options, "weight_decay": 0.0}, 1)
    arrays = [np.full(33, v, np.float32) for v in (1.5, 0, 0, 0)][: 2 + states]
    getattr(ops, name)(*arrays, **options)
    assert_exact(arrays[0], np.full(33, 1.5))


def test_same_bits_for_any_threads(case, threads, rng):
    name, states, options = case
    options = step_options(name, options, 2)
    arrays = [np.abs(rng.standard_normal(3 * 16384 + 5)).astype(np.float32) for _ in range(2 + states)]
    expected, actual = ([a.copy() for a in arrays] for _ in range(2))
    getattr(ops, name)(*expected, **options, num_threads=1)
    getattr(ops, name)(*actual, **options, num_threads=threads)
    for a, e in zip(actual, expected):
        assert_same_bits(a, e)
    assert_same_bits(actual[1], arrays[1])


def test_any_memory(case, rng):
    name, states, options = case
    options = step_options(name, options, 2)
    arrays = [np.abs(rng.standard_normal((3, 8))).astype(np.float32) for _ in range(2 + states)]
    expected = [a.copy() for a in arrays]
    getattr(ops, name)(*expected, **options)
    views = [dict(strange_views(a)) for a in arrays]
    for kind in views[0]:
        actual = [v[kind].copy(order="K") if kind in ("C order", "F order", "read-only") else v[kind] for v in views]
        getattr(ops, name)(*actual, **options)
        for a, e in zip(actual, expected):
            assert_same_bits(a.astype(np.float32), e)


def test_gradient_may_share_memory(rng):
    memory = rng.standard_normal(40).astype(np.float32)
    expected = memory.copy()
    ref.sgd_step(expected[:30], expected[5:35].copy(), lr=0.5)
    ops.sgd_step(memory[:30], memory[5:35], lr=0.5)
    assert_within(memory, expected, 1e-6)


P = np.ones(4, np.float32)
fixed = P.copy()
fixed.flags.writeable = False
A = dict(lr=1e-3, beta_1=0.9, beta_2=0.999, eps=1e-7)
ERRORS = [
    (lambda: ops.sgd_step([1.0], P[:1], lr=1), TypeError, r"sgd_step: param must be a numpy array, .*got list"),
    (lambda: ops.sgd_step(P.astype(int), P, lr=1), TypeError, r"sgd_step: param must be float32 or float64, got int64"),
    (lambda: ops.sgd_step(P, P[:2].copy(), lr=1), ValueError, r"sgd_step: grad must .*shape.*\(4,\), got \(2,\)"),
    (lambda: ops.sgd_step(P, P.astype(float), lr=1), TypeError, r"sgd_step: grad must have the dtype"),
    (lambda: ops.sgd_step(fixed, P, lr=1), ValueError, r"sgd_step: output array is read-only"),
    (lambda: ops.sgd_step(P, P, lr=-1), ValueError, r"sgd_step: lr must not be negative, got -1"),
    (lambda: ops.sgd_step(P, P, lr=np.nan), ValueError, r"sgd_step: lr must be finite, got nan"),
    (lambda: ops.sgd_step(P, P, lr="1"), TypeError, r"sgd_step: lr must be a number, got '1'"),
    (lambda: ops.sgd_step(P, P, lr=1, momentum=0.9), ValueError, r"sgd_step: velocity must be given if momentum is not 0"),
    (lambda: ops.sgd_step(P, P, P.copy(), lr=1, momentum=1), ValueError, r"sgd_step: momentum must be in 0 <= momentum < 1, got 1"),
    (lambda: ops.sgd_step(P, P, P, lr=1, momentum=0.9), ValueError, r"sgd_step: velocity must not overlap param"),
    (lambda: ops.sgd_step(P, P, lr=1, weight_decay=-1), ValueError, r"sgd_step: weight_decay must not be negative, got -1"),
    (lambda: ops.adam_step(P, P, P.copy(), P.copy(), step=0, **A), ValueError, r"adam_step: step must be positive, got 0"),
    (lambda: ops.adam_step(P, P, P.copy(), None, step=1, **A), TypeError, r"adam_step: m and v must be numpy arrays, got None"),
    (lambda: ops.adam_step(P, P, P.copy(), P.astype(float), step=1, **A), TypeError, r"adam_step: v must have the dtype"),
    (lambda: ops.adam_step(P, P, P.copy(), P.copy(), step=1, **{**A, "beta_1": 1.0}), ValueError, r"beta_1 must be in 0 <= beta_1 < 1"),
    (lambda: ops.rmsprop_step(P, P, P.copy(), lr=1, rho=2, eps=1), ValueError, r"rmsprop_step: rho must be in 0 <= rho < 1, got 2"),
    (lambda: ops.rmsprop_step(P, P, P.copy(), lr=1, rho=0.9, eps=-1), ValueError, r"rmsprop_step: eps must not be negative, got -1"),
    (lambda: ops.rmsprop_step(P, P, P.copy(), lr=1, rho=0.9, eps=1, momentum=0.5), ValueError, r"velocity must be given"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, words", ERRORS, ids=[row[2][:44] for row in ERRORS])
def test_error(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert_exact(P, np.ones(4))


MORE = [("adam_step", "largest", 2, ADAM[1]), ("rmsprop_step", "mean", 1, RMSPROP[1]), ("rmsprop_step", "mean", 2, RMSPROP_MOMENTUM[0])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, more, states, options", MORE)
def test_amsgrad_and_centered(isa, name, more, states, options, dtype, rng):
    """Between guards at every tail, and 300 steps of one path, of gradients that shrink."""
    for n in [*range(20), 67]:
        at = "start" if n % 2 else "end"
        arrays = [np.abs(rng.standard_normal(n)).astype(dtype) for _ in range(3 + states)]
        arrays[2] += 16 * (name == "rmsprop_step")  # a square is not less than the mean's
        expected = [wide(a) for a in arrays]
        getattr(ref, name)(*expected[:-1], **step_options(name, options, 3), **{more: expected[-1]})
        actual = [guarded(a, at, readonly=i == 1) for i, a in enumerate(arrays)]
        getattr(ops, name)(*actual[:-1], **step_options(name, options, 3), **{more: actual[-1]})
        for a, e in zip(actual, expected):
            assert_within(a, e, 16 * np.finfo(dtype).eps * (np.abs(e) + 1))
    actual = [np.ones(50, dtype), *np.zeros((states + 1, 50), dtype)]
    expected = [wide(a) for a in actual]
    for step in range(1, 301):
        grad = (rng.standard_normal(50) / step).astype(dtype)
        getattr(ops, name)(actual[0], grad, *actual[1:-1], **step_options(name, options, step), **{more: actual[-1]})
        getattr(ref, name)(
            expected[0], wide(grad), *expected[1:-1], **step_options(name, options, step), **{more: expected[-1]}
        )
    for a, e in zip(actual, expected):
        assert_within(a, e, (1e-4 if dtype == np.float32 else 1e-12) * (np.abs(e) + 1))


def test_a_steady_gradient_has_no_variance(isa):
    param, v, mean = np.ones(5, np.float32), np.zeros(5, np.float32), np.zeros(5, np.float32)
    for _ in range(200):
        ops.rmsprop_step(param, np.full(5, 300, np.float32), v, lr=1e-6, rho=0.9, eps=1e-7, mean=mean)
    assert np.isfinite(param).all()


@pytest.mark.parametrize("name, more, states, options", MORE)
def test_more_state_is_checked(name, more, states, options):
    arrays = [np.ones(6, np.float32) for _ in range(2 + states)]
    with pytest.raises(ValueError, match=f"{name}: {more} must have the shape of the other arrays"):
        getattr(ops, name)(*arrays, **step_options(name, options, 1), **{more: np.ones(5, np.float32)})
    with pytest.raises(ValueError, match=f"{name}: {more} must not overlap param"):
        getattr(ops, name)(*arrays, **step_options(name, options, 1), **{more: arrays[0]})
    with pytest.raises(TypeError, match=f"{name}: {more} must be a numpy array"):
        getattr(ops, name)(*arrays, **step_options(name, options, 1), **{more: [1.0] * 6})
