import signal
import zlib

import numpy as np
import pytest


def pytest_configure(config):
    """Where SIGINT is ignored, as in a shell's background job, children would inherit that: tests send it to them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc):
    if "isa" in metafunc.fixturenames:
        from cnnfast.ops import cpu

        metafunc.parametrize("isa", cpu.available_isas(), indirect=True)


@pytest.fixture
def isa(request):
    """The test runs once on every instruction set that this CPU has."""
    from cnnfast.ops import cpu

    with cpu.using_isa(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3, 5])
def threads(request):
    """Thread counts to pass as `num_threads`: one, even, odd, more than most test machines have."""
    return request.param


@pytest.fixture
def rng(request):
    """Seeded by the test's own name, so that a failure repeats."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
