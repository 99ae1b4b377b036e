"""The testers tested: what the harness promises to catch, it catches."""

import signal

import harness
import numpy as np
import pytest
from harness import assert_exact, assert_same_bits, assert_within, guarded, guarded_empty, integers

PLANTED = {  # name: (at, readonly, code that touches one byte of the array at address `a` with `n` bytes)
    "read one past the end": ("end", True, "ctypes.string_at(a + n, 1)"),
    "write one past the end": ("end", False, "ctypes.memset(a + n, 0, 1)"),
    "read one before the start": ("start", True, "ctypes.string_at(a - 1, 1)"),
    "write one before the start": ("start", False, "ctypes.memset(a - 1, 0, 1)"),
    "write a read-only input": ("end", True, "ctypes.memset(a, 0, 1)"),
    "read far past the other end": ("end", True, "ctypes.string_at(a - 4096, 1)"),
}


def touch(at, readonly, code, n=7):
    return harness.run_python(
        f"import ctypes, numpy as np, harness\n"
        f"x = harness.guarded(np.ones({n}, np.float32), {at!r}, {readonly})\n"
        f"a, n = x.ctypes.data, x.nbytes\n{code}\nprint('alive')"
    )


@pytest.mark.parametrize("name", PLANTED)
def test_planted_overrun_faults(name):
    child = touch(*PLANTED[name])
    assert child.returncode == -signal.SIGSEGV and "alive" not in child.stdout, child.stderr


def test_allowed_access_is_allowed():
    child = touch("end", False, "ctypes.string_at(a, n); ctypes.memset(a, 0, n)")
    assert (child.returncode, child.stdout) == (0, "alive\n"), child.stderr


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5, 7), (1024,), (4099, 3)])
def test_guarded_keeps_values(at, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    copy = guarded(x, at)
    assert_same_bits(copy, x)
    assert copy.flags.c_contiguous and copy.flags.aligned and not copy.flags.writeable
    out = guarded_empty(shape, np.float64, at)
    assert np.isnan(out).all()
    out[...] = 1
    assert (guarded_empty(shape, np.uint8, at) == 255).all()


def test_integers_are_exact_and_signed():
    x = integers(np.random.default_rng(0), (500,), np.float32, 3)
    assert x.dtype == np.float32 and set(x) == {-3, -2, -1, 0, 1, 2, 3}


@pytest.mark.parametrize("wrong", [1.0000001, 0.0, np.nan, np.inf, -np.inf, -1.0])
def test_wrong_value_is_caught(wrong):
    expected = np.ones((2, 3))
    actual = expected.copy()
    actual[1, 2] = wrong
    with pytest.raises(AssertionError, match=r"1 of 6 elements are wrong, first at \(1, 2\)"):
        assert_exact(actual, expected)
    with pytest.raises(AssertionError, match="wrong"):
        assert_within(actual, expected, 5e-8)
    with pytest.raises(AssertionError):
        assert_same_bits(actual, expected)


def test_right_values_pass():
    special = np.array([np.nan, np.inf, -np.inf, 0.0])
    assert_exact(special, special)
    assert_within(special + 1e-9, special, 1e-8)
    assert_exact(np.array([-0.0]), np.array([0.0]))
    with pytest.raises(AssertionError):
        assert_same_bits(np.array([-0.0]), np.array([0.0]))
    for swapped in (special[::-1], np.zeros(4), -special):
        with pytest.raises(AssertionError):
            assert_within(swapped, special, np.inf)
    with pytest.raises(AssertionError, match="shape"):
        assert_exact(np.ones((1, 3)), np.ones(3))
    with pytest.raises(AssertionError, match="nearly all"):
        harness.assert_meaningful(np.zeros(100))


def test_bounds():
    assert harness.gamma(3, np.float32) == pytest.approx(3 * 2.0**-24, rel=1e-6)
    assert harness.gamma(3, np.float64) == pytest.approx(3 * 2.0**-53, rel=1e-6)
    assert harness.ulps(np.float32([1 + 2.0**-23]), np.float64([1.0])) == 1
    rng, n = np.random.default_rng(1), 2000
    a, b = rng.random((2, 50, n)).astype(np.float32)
    exact = np.einsum("ij,ij->i", harness.wide(a), harness.wide(b))
    running = np.zeros(50, np.float32)
    for k in range(n):  # the worst order there is
        running += a[:, k] * b[:, k]
    assert_within(running, exact, harness.sum_bound(exact, n, np.float32))
    with pytest.raises(AssertionError):
        assert_within(running, exact, harness.sum_bound(exact, 1, np.float32))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (1, 4, 5, 3)])
def test_strange_views_hold_the_same_values(shape):
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    names = []
    for name, view in harness.strange_views(x):
        np.testing.assert_array_equal(view, x)
        names.append(name)
    assert len(set(names)) == 8
