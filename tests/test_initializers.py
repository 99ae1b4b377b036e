"""Initializers: their distributions, their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from cnnfast import initializers

SHAPE = (3, 3, 64, 32)
FAN_IN, FAN_OUT = 9 * 64, 9 * 32
VARIANCES = {
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT), "glorot_normal": 2 / (FAN_IN + FAN_OUT), "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN, "lecun_uniform": 1 / FAN_IN, "lecun_normal": 1 / FAN_IN, "random_normal": 0.05**2,
    "random_uniform": 0.05**2 / 3, "truncated_normal": (0.05 * 0.87962566) ** 2, "variance_scaling": 1 / FAN_IN,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance(name, rng):
    values = initializers.get(name)(SHAPE, "float64", rng)
    n, variance = values.size, VARIANCES[name]
    assert abs(values.mean()) < 5 * np.sqrt(variance / n)
    assert values.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / n))
    if "uniform" in name:
        assert np.abs(values).max() <= np.sqrt(3 * variance)
    elif name != "random_normal":
        assert np.abs(values).max() <= 2.0001 * np.sqrt(variance) / 0.87962566


def test_seeds():
    one, two = initializers.HeNormal(seed=3), initializers.HeNormal(seed=3)
    np.testing.assert_array_equal(one((4, 4)), two((4, 4), generator=np.random.default_rng(9)))
    np.testing.assert_array_equal(one((4, 4)), one((4, 4)))
    assert (initializers.HeNormal()((4, 4)) != initializers.HeNormal()((4, 4))).any()
    assert one((4, 4)).dtype == np.float32


def test_plain_ones():
    assert (initializers.get("zeros")((2, 3)) == 0).all() and (initializers.get("ones")((2, 3)) == 1).all()
    assert (initializers.Constant(2.5)((3,)) == 2.5).all()
    assert initializers.fans((5, 7)) == (5, 7) and initializers.fans((3,)) == (3, 3) and initializers.fans(()) == (1, 1)
