"""Benchmarks check results at sampled places: the check must accept what is right and refuse what is not."""

import numpy as np
import pytest

from benchmarks import zoo
from benchmarks.cases import PASSES, Case, all_cases, data, error, random_cases
from cnnfast import reference

SHAPES = [
    {"cin": 6, "size": (9, 7), "cout": 4, "kernel": (3, 2), "stride": 2, "padding": 1, "groups": 2},
    {"cin": 5, "size": (8, 8), "cout": 5, "kernel": (3, 3), "stride": 1, "padding": 1, "groups": 5},
    {"cin": 3, "size": (12, 9), "cout": 7, "kernel": (5, 3), "padding": 2, "dilation": 2},
]


def right_result(case, a):
    if case.op == "matmul":
        return a["x"] @ a["weight"]
    if case.op == "relu":
        return np.maximum(a["x"], 0)
    if case.op == "max_pool2d":
        return reference.max_pool2d(a["x"], case.kernel, case.stride, case.padding)
    how = (case.stride, case.padding, case.dilation, case.groups)
    if case.kind == "forward":
        return reference.conv2d(a["x"], a["weight"], a["bias"], *how)
    if case.kind == "input":
        return reference.conv2d_backward_input(a["dy"], a["weight"], case.input_shape, *how)
    return reference.conv2d_backward_weight(a["x"], a["dy"], case.weight_shape, *how)


@pytest.mark.parametrize(
    "case",
    [Case("conv2d", kind, 2, **shape) for shape in SHAPES for kind in PASSES]
    + [
        Case("matmul", cin=9, size=(5, 7)),
        Case("relu", "forward", 2, 3, (4, 5)),
        Case("max_pool2d", "forward", 2, 3, (9, 8), 1, (3, 3), 2, 1),
    ],
    ids=lambda case: case.name,
)
def test_error(case):
    arrays = data(case)
    result = np.array(right_result(case, arrays), np.float32)
    assert error(case, arrays, result) < 1e-6
    assert error(case, arrays, result * np.float32(1.001)) > 5e-4
    result[(-1,) * result.ndim] += result.std()
    assert error(case, arrays, result) > 0.01
    with pytest.raises(ValueError, match="the result is"):
        error(case, arrays, result[:-1])


def test_lists_have_no_case_twice():
    cases = all_cases()
    assert len(set(cases)) == len(cases) == len({c.name + str(c.padding) for c in cases})
    assert random_cases(5, seed=1) == random_cases(5, seed=1) != random_cases(5, seed=2)
    assert all(Case.from_json(c.to_json()) == c for c in cases)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_zoo_weights_fit(name):
    layers, shape, *_ = zoo.NETWORKS[name]
    if shape[0] > 32:
        shape = (32, 32, 3)  # enough to go through every layer
    arrays = iter(zoo.weights(name))
    logits = zoo.forward(layers, np.ones((1, *shape), np.float32), arrays)
    assert logits.shape == (1, layers[-1][1])
    assert np.isfinite(logits).all()
    assert next(arrays, None) is None
