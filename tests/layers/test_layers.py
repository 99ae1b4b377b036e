"""What holds for every layer."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from gradients import check_layer, randomize
from harness import assert_same_bits
from layer_cases import CASES

from cnnfast import Sequential, layers, load_model, threads


@pytest.fixture(params=CASES)
def case(request):
    make, shape = CASES[request.param]
    return make(), shape


def test_every_layer_is_here():
    made = {type(make()).__name__ for make, _ in CASES.values()}
    assert made == set(layers.__all__) - {"Layer", "Input"}


def test_gradients(case, rng):
    layer, shape = case
    check_layer(layer, shape, rng)


def test_inference_leaves_no_state_and_backward_needs_a_forward(case, rng):
    layer, shape = case
    x = rng.standard_normal(shape).astype(np.float32)
    y = layer(x)
    assert y.dtype == np.float32 and layer.output_shape == (None, *y.shape[1:])
    with pytest.raises(RuntimeError, match="backward without a forward"):
        layer.backward(y)
    dy = layer.forward(x, training=True)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match="backward without a forward"):
        layer.backward(dy)


def test_sizes_may_be_unknown(case):
    layer, shape = case
    if len(shape) == 4 and not isinstance(layer, (layers.Reshape, layers.Flatten)):
        channels_first = "first" in str(getattr(layer, "data_format", "")) or getattr(layer, "axis", -1) == 1
        unknown = (None, shape[1], None, None) if channels_first else (None, None, None, shape[3])
        if isinstance(layer, layers.Softmax):
            return
        weights_of_all_pixels = isinstance(layer, layers.PReLU) and not layer.shared_axes
        if weights_of_all_pixels or isinstance(getattr(layer, "axis", None), list):
            with pytest.raises(ValueError, match="must be known"):
                layer.build(unknown)
            return
        known = copy.deepcopy(layer)
        known.build(shape)
        layer.build(unknown)
        full = list(known.output_shape[1:])
        assert all(b is None or a == b for a, b in zip(full, layer.output_shape[1:]))
        assert layer.compute_output_shape(shape)[1:] == known.output_shape[1:]


def test_describes_itself(case, rng):
    layer, shape = case
    twin = layers.get({"class_name": type(layer).__name__, "config": layer.get_config()})
    assert twin.get_config() == layer.get_config()
    layer.build(shape)
    twin.build(shape)
    twin.set_weights(layer.get_weights())
    x = rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(twin(x), layer(x))


def test_copies(case, rng):
    layer, shape = case
    layer.build(shape)
    randomize(layer, rng)
    x = rng.standard_normal(shape).astype(np.float32)
    y = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x), y)
        for parameter in layer.weights:
            parameter.data += 1
        np.testing.assert_array_equal(twin(x), y)
        for parameter in layer.weights:
            parameter.data -= 1


def test_weights_are_set_all_or_none(case):
    layer, shape = case
    layer.build(shape)
    weights = layer.get_weights()
    wrong = [[*weights, np.zeros(1)]]
    if weights:
        wrong += [weights[:-1], [*weights[:-1], np.zeros((9, 9, 9))], [*weights[:-1], np.full(weights[-1].shape, np.nan)],
                  [w + 1 for w in weights[:-1]] + [weights[-1].astype(str)]]  # fmt: skip
    for values in wrong:
        with pytest.raises(ValueError, match="set_weights"):
            layer.set_weights(values)
        for before, after in zip(weights, layer.get_weights()):
            np.testing.assert_array_equal(before, after)
    layer.set_weights([w + 1 for w in weights])
    for before, after in zip(weights, layer.get_weights()):
        np.testing.assert_array_equal(before + 1, after)


def test_saves_and_loads(case, rng, tmp_path):
    layer, shape = case
    model = Sequential([layers.Input(shape[1:]), layer])
    randomize(model, rng)
    x = rng.standard_normal(shape).astype(np.float32)
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.get_config() == model.get_config()
    assert_same_bits(loaded(x), model(x))


def test_same_bits_for_any_number_of_threads(case, rng):
    layer, shape = case
    x = rng.standard_normal((500, *shape[1:])).astype(np.float32)
    layer.build(shape)
    randomize(layer, rng)
    runs = []
    for number in (1, 2, 3, 5):
        with threads(number):
            y = layer.forward(x, training=True)
            runs.append([y, layer.backward(y), *(p.grad.copy() for p in layer.trainable_weights), layer(x)])
    for other in runs[1:]:
        for a, b in zip(runs[0], other):
            assert_same_bits(b, a)


def test_inference_does_not_depend_on_the_other_samples(case, rng):
    layer, shape = case
    layer.build(shape)
    randomize(layer, rng)
    x = rng.standard_normal(shape).astype(np.float32)
    y = layer(x)
    assert_same_bits(np.concatenate([layer(x[:1]), layer(x[1:])]), y)
