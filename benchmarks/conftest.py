"""What the pytest-benchmark files share: each case is a group, each library a row of it."""

import importlib

import pytest

from cnnfast import ops

from . import cases

LIBRARIES = ("cnnfast", "numpy")


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


@pytest.fixture
def compare(library, benchmark):
    """Times one case in one library, once its result is known to be right."""

    def run(case):
        benchmark.group = case.name
        arrays = cases.data(case)
        engine = importlib.import_module(f".engines.{library}", __package__)
        call, fetch = engine.prepare(case, arrays, ops.get_num_threads(), "auto")
        assert cases.error(case, arrays, fetch(call())) < 1e-4
        benchmark(call)

    return run
