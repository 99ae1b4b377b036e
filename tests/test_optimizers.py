"""Optimizers against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest

from cnnfast import optimizers, reference

STEPS = {
    "SGD": (lambda: optimizers.SGD(0.1, weight_decay=0.01),
            lambda p, g, s, t: reference.sgd_step(p, g, lr=0.1, weight_decay=0.01)),
    "momentum": (lambda: optimizers.SGD(0.1, 0.9), lambda p, g, s, t: reference.sgd_step(p, g, s[0], lr=0.1, momentum=0.9)),
    "Nesterov": (lambda: optimizers.SGD(0.1, 0.9, True),
                 lambda p, g, s, t: reference.sgd_step(p, g, s[0], lr=0.1, momentum=0.9, nesterov=True)),
    "Adam": (lambda: optimizers.Adam(0.01, 0.8, 0.99, 1e-6),
             lambda p, g, s, t: reference.adam_step(p, g, *s, lr=0.01, beta_1=0.8, beta_2=0.99, eps=1e-6, step=t)),
    "AdamW": (lambda: optimizers.AdamW(0.01), lambda p, g, s, t: reference.adam_step(
        p, g, *s, lr=0.01, beta_1=0.9, beta_2=0.999, eps=1e-7, step=t, weight_decay=0.004)),
    "AMSGrad": (lambda: optimizers.Adam(0.01, amsgrad=True), lambda p, g, s, t: reference.adam_step(
        p, g, *s[:2], lr=0.01, beta_1=0.9, beta_2=0.999, eps=1e-7, step=t, largest=s[2])),
    "RMSprop centered": (lambda: optimizers.RMSprop(0.01, centered=True), lambda p, g, s, t: reference.rmsprop_step(
        p, g, s[0], lr=0.01, rho=0.9, eps=1e-7, mean=s[1])),
    "RMSprop centered momentum": (lambda: optimizers.RMSprop(0.01, 0.8, 0.5, centered=True),
                                  lambda p, g, s, t: reference.rmsprop_step(
        p, g, s[0], s[1], lr=0.01, rho=0.8, eps=1e-7, momentum=0.5, mean=s[2])),
    "RMSprop": (lambda: optimizers.RMSprop(0.01),
                lambda p, g, s, t: reference.rmsprop_step(p, g, s[0], lr=0.01, rho=0.9, eps=1e-7)),
    "RMSprop momentum": (lambda: optimizers.RMSprop(0.01, 0.8, 0.5), lambda p, g, s, t: reference.rmsprop_step(
        p, g, *s, lr=0.01, rho=0.8, eps=1e-7, momentum=0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_formula_over_many_steps(name, rng):
    make, step = STEPS[name]
    optimizer = make()
    weights = rng.standard_normal(67)
    runs = [slice(0, 31), slice(40, 67)]
    expected, state = weights.copy(), [np.zeros(67) for _ in optimizer.slots]
    optimizer.build(weights)
    outside = weights[31:40].copy()
    for t in range(1, 201):
        gradient = rng.standard_normal(67)
        optimizer.apply(weights, gradient, runs)
        for run in runs:
            part = expected[run].copy()
            parts = [s[run].copy() for s in state]
            step(part, gradient[run], parts, t)
            expected[run] = part
            for s, p in zip(state, parts):
                s[run] = p
    np.testing.assert_allclose(weights, expected, rtol=1e-9)
    np.testing.assert_array_equal(weights[31:40], outside)
    assert optimizer.iterations == 200


def test_names():
    for name, cls in (("adam", "Adam"), ("AdamW", "AdamW"), ("sgd", "SGD"), ("SGD", "SGD"), ("rmsprop", "RMSprop")):
        assert type(optimizers.get(name)).__name__ == cls
    for optimizer in (optimizers.SGD(0.3, 0.5), optimizers.AdamW(), optimizers.AdamW(amsgrad=True), optimizers.RMSprop(rho=0.5)):
        assert type(optimizer).from_config(optimizer.get_config()).get_config() == optimizer.get_config()
    defaults = [optimizers.SGD(), optimizers.Adam(), optimizers.AdamW(), optimizers.RMSprop()]
    assert [o.learning_rate for o in defaults] == [0.01, 0.001, 0.001, 0.001]
    assert [o.weight_decay for o in defaults] == [None, None, 0.004, None]
    for make in (lambda: optimizers.Adam(beta_1=1.0), lambda: optimizers.SGD(momentum=1.5), lambda: optimizers.RMSprop(rho=-1),
                 lambda: optimizers.Adam(epsilon=np.inf), lambda: optimizers.AdamW(weight_decay=-1)):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            make()
