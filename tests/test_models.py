"""Sequential: building, names, weights, calls, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from gradients import compare
from nets import compiled, every_layer, images, small

import cnnfast
from cnnfast import Sequential, layers, optimizers, saving


def test_built_by_input_or_by_the_first_batch():
    x, y = images()
    with_input = compiled(small(seed=3))
    without = compiled(Sequential(small().layers[:0], seed=3))
    for layer in (layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
                  layers.Dense(3, activation="softmax")):  # fmt: skip
        without.add(layer)
    assert with_input.built and not without.built
    with pytest.raises(RuntimeError, match="call fit or build first"):
        without.predict(x)
    assert with_input.fit(x, y, verbose=0).history == without.fit(x, y, verbose=0).history
    assert without.input_shape == (None, 8, 8, 2) and without.output_shape == (None, 3)


def test_weights_in_keras_order_and_shapes():
    model = every_layer()
    shapes = [w.shape for w in model.get_weights()]
    assert shapes[:6] == [(3, 3, 2, 8), (8,), (8,), (8,), (8,), (8,)]
    assert shapes[6:11] == [(3, 3, 8, 8), (8,), (8,), (8,), (8,)]
    assert shapes[11:] == [(3, 3, 8, 1), (8,), (1, 1, 8, 12), (12,), (1, 1, 4, 12), (12,), (12, 12), (12,), (12, 3), (3,)]
    names = [w.name for w in model.weights[2:6]]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert model.count_params() == sum(np.prod(s) for s in shapes)
    assert len(model.trainable_weights) == len(shapes) - 4


def test_weights_are_views_of_one_block():
    model = every_layer()
    block = model._block
    for weight in model.trainable_weights:
        assert np.shares_memory(weight.data, block.data) and weight.data.ctypes.data % 64 == 0
    block.data[...] = 0
    assert not any(w.data.any() for w in model.trainable_weights)


def test_set_weights_takes_all_or_nothing():
    model, other = small(seed=0), small(seed=1)
    before = model.get_weights()
    bad = other.get_weights()
    bad[-1] = np.zeros(4)
    with pytest.raises(ValueError, match=r"set_weights: 'bias' has shape \(3,\), got \(4,\)"):
        model.set_weights(bad)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.set_weights([w.tolist() for w in other.get_weights()])
    x, _ = images()
    np.testing.assert_array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))


def test_seed_decides_the_weights_and_nothing_global_does():
    state = np.random.get_state()[1].copy()
    a, b, c = small(seed=0), small(seed=0), small(seed=1)
    assert all((u == v).all() for u, v in zip(a.get_weights(), b.get_weights()))
    assert not (a.get_weights()[0] == c.get_weights()[0]).all()
    assert (np.random.get_state()[1] == state).all()
    unseeded = Sequential([layers.Input((3,)), layers.Dense(2)])
    again = Sequential([layers.Input((3,)), layers.Dense(2)], seed=unseeded.seed)
    np.testing.assert_array_equal(unseeded.get_weights()[0], again.get_weights()[0])


def test_names():
    model = Sequential([layers.Dense(1), layers.Dense(1), layers.Dense(1, name="last"), layers.GlobalMaxPooling2D()])
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "last", "global_max_pooling2d"]
    assert model.get_layer("last") is model.layers[2] is model.get_layer(index=2)
    with pytest.raises(ValueError, match="no layer 'first'"):
        model.get_layer("first")
    with pytest.raises(ValueError, match='two layers of the name "last"'):
        model.add(layers.Dense(1, name="last"))
    with pytest.raises(ValueError, match="in the network already"):
        model.add(model.layers[0])
    with pytest.raises(TypeError, match="layer must be a Layer, got 3"):
        model.add(3)
    with pytest.raises(ValueError, match="Input must come first"):
        model.add(layers.Input((3,)))


def test_add_and_pop_keep_the_weights():
    model = small()
    before = model.get_weights()
    model.add(layers.Dense(2))
    assert model.output_shape == (None, 2)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    model.pop()
    assert model.output_shape == (None, 3) and len(model.get_weights()) == len(before)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'layer "conv2d_2": .* does not fit into the input \(None, 2, 2, 1\)'):
        Sequential([layers.Input((6, 6, 1)), layers.Conv2D(1, 3), layers.Conv2D(1, 3), layers.Conv2D(1, 3)])
    model = small()
    with pytest.raises(ValueError, match=r"expected an input of \(None, 8, 8, 2\), got \(1, 9, 9, 2\)"):
        model.predict(np.zeros((1, 9, 9, 2)))
    layer = layers.Conv2D(2, 3, data_format="channels_first", name="conv2d_1")
    layer.build((None, 3, 28, 28))
    with pytest.raises(ValueError, match=r'"conv2d_1": expected axis 1 of input shape to have value 3, got \(8, 1, 28, 28\)'):
        layer(np.zeros((8, 1, 28, 28)))
    with pytest.raises(ValueError, match=r"expected an input of 4 dimensions, got \(8, 3\)"):
        layer(np.zeros((8, 3)))
    with pytest.raises(ValueError, match="main makes"):
        Sequential([layers.Input((6, 6, 1)), layers.Residual(layers.Conv2D(2, 3, padding="same"))])


def test_a_network_without_input_takes_other_sizes():
    model = Sequential([layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)], seed=0)
    model.build((None, 8, 8, 1))
    assert model.predict(np.zeros((2, 11, 5, 1)), verbose=0).shape == (2, 2)
    with pytest.raises(ValueError, match="does not fit"):
        model.predict(np.zeros((2, 2, 5, 1)))
    with pytest.raises(ValueError, match="expected axis 3"):
        model.predict(np.zeros((2, 8, 8, 2)))
    sizes = Sequential([layers.Input((None, None, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()], seed=0)
    assert sizes.layers[0].output_shape == (None, None, None, 3)
    assert sizes.predict(np.zeros((2, 11, 5, 1)), verbose=0).shape == (2, 3)


def test_empty_network():
    model = Sequential()
    for call in (lambda: model.predict(np.zeros((1, 2))), lambda: model(np.zeros((1, 2))),
                 lambda: compiled(model).fit(np.zeros((1, 2)), np.zeros(1))):  # fmt: skip
        with pytest.raises(ValueError, match="no layers"):
            call()


def test_gradients_of_a_whole_network(rng):
    model = every_layer(dtype="float64")
    x = rng.standard_normal((4, 8, 8, 2))
    y = model.forward(x, training=True)
    dy = rng.standard_normal(y.shape)
    dx = model.backward(dy)
    compare(lambda: float((model.forward(x, training=True) * dy).sum()), x, dx, rng, 20, "input")
    for weight in model.trainable_weights:
        f = lambda: float((model.forward(x, training=True) * dy).sum())  # noqa: E731
        compare(f, weight.data, weight.grad, rng, 6, weight.name)


def test_gradients_nobody_needs_are_not_computed(monkeypatch):
    x, y = images()
    model = compiled(small())
    calls = []
    for name in ("conv2d_backward_input", "dense_backward_input"):
        real = getattr(cnnfast.ops, name)
        monkeypatch.setattr(cnnfast.ops, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    model.train_on_batch(x, y)
    assert calls == ["dense_backward_input"]
    nested = compiled(Sequential([Sequential(small().layers, name="inner")], seed=0))
    nested.train_on_batch(x, y)
    assert calls == ["dense_backward_input"] * 2
    model.layers[0].trainable = False
    model.train_on_batch(x, y)
    assert calls == ["dense_backward_input"] * 2
    dx = model.forward(x, training=True)
    assert model.backward(dx).shape == x.shape and calls[2:] == ["dense_backward_input", "conv2d_backward_input"]


def test_frozen_layers_below_cost_nothing_and_do_not_move():
    x, y = images()
    model = compiled(every_layer())
    for layer in model.layers[:8]:
        layer.trainable = False
    before = model.get_weights()
    model.layers[3].backward = None  # frozen and below the first trainable layer: never called
    model.fit(x, y, verbose=0)
    frozen = sum(len(layer.weights) for layer in model.layers[:8])
    moved = [not (a == b).all() for a, b in zip(before, model.get_weights())]
    assert not any(moved[:frozen]) and all(moved[frozen:])
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == len(before)


def test_frozen_layers_above_have_no_gradient_of_their_own(monkeypatch):
    """Of a layer that is frozen between trainable ones only the input's gradient is computed."""
    x, y = images()

    def network(frozen):
        inner = [layers.Conv2D(4, 3, name="c", trainable=not frozen), layers.BatchNormalization(trainable=not frozen),
                 layers.DepthwiseConv2D(2, trainable=not frozen), layers.SeparableConv2D(3, 2, trainable=not frozen),
                 layers.Conv2DTranspose(3, 2, trainable=not frozen)]  # fmt: skip
        return compiled(Sequential([layers.Input((8, 8, 2)), layers.Conv2D(2, 1), *inner, layers.Flatten(),
                                    layers.Dense(4, trainable=not frozen), layers.Dense(3, activation="softmax")], seed=0))  # fmt: skip

    calls = []
    for name in [n for n in cnnfast.ops.__all__ if n.endswith(("_backward_weight", "_backward_bias")) or n.startswith("batch_norm")]:
        real = getattr(cnnfast.ops, name)
        monkeypatch.setattr(cnnfast.ops, name, lambda *a, real=real, name=name, **k: (calls.append(name), real(*a, **k))[1])
    network(False).train_on_batch(x, y)
    assert sorted(calls) == ["batch_norm", "batch_norm_backward", "batch_norm_stats", "conv2d_backward_bias"] + [
        "conv2d_backward_weight"] * 6 + ["dense_backward_bias"] * 6 + ["dense_backward_weight"] * 2  # fmt: skip
    calls.clear()
    frozen = network(True)
    frozen.train_on_batch(x, y)
    assert sorted(calls) == ["batch_norm"] * 2 + ["conv2d_backward_weight", "dense_backward_bias", "dense_backward_bias",
                                                  "dense_backward_weight"]  # fmt: skip


def test_freezing_goes_inwards_and_layers_can_be_freed_again():
    x, y = images()

    def block():
        return layers.Residual([layers.Conv2D(2, 3, padding="same", name="a"), layers.BatchNormalization()], layers.Conv2D(2, 1))

    def network(**options):
        parts = [block(), layers.Parallel([layers.Conv2D(2, 1), []]), layers.SeparableConv2D(2, 1)]
        return Sequential([layers.Input((8, 8, 2)), *parts], seed=0, **options)

    set_later, made_so = network(), network(trainable=False)
    set_later.trainable = False
    for base in (set_later, made_so):
        assert base.trainable_weights == [] and not base.trainable and not base.layers[0].main.layers[1].trainable
        base.layers[0].main.layers[0].trainable = True
        assert [w.name for w in base.trainable_weights] == ["kernel", "bias"] and base.trainable
        model = compiled(Sequential([layers.Input((8, 8, 2)), base, layers.Flatten(), layers.Dense(3, activation="softmax")], seed=1))
        loaded = saving.from_bytes(saving.to_bytes(model))
        before = model.get_weights()
        for twin in (model, loaded):
            assert len(twin.trainable_weights) == 4
            twin.fit(x, y, verbose=0)
        moved = [not (a == b).all() for a, b in zip(before, model.get_weights())]
        assert moved == [True] * 2 + [False] * (len(moved) - 4) + [True] * 2
        assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in loaded.get_weights()]
    for make in (block, lambda: layers.Parallel([layers.Conv2D(2, 1), []]), lambda: layers.SeparableConv2D(2, 1)):
        config = {**make().get_config(), "trainable": False}
        assert not layers.get({"class_name": type(make()).__name__, "config": config}).trainable


def test_a_layer_freed_later_starts_its_average_from_its_weights():
    x, y = images()
    model = compiled(small(), optimizers.SGD(0.0, use_ema=True, ema_momentum=0.5))
    model.layers[0].trainable = False
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = True
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_allclose(b, a, rtol=1e-6)


def test_a_network_that_was_built_trains_inside_of_another():
    x, y = images()
    bases = small(), compiled(small())
    bases[1].fit(x, y, verbose=0)
    for base in bases:
        top = compiled(Sequential([layers.Input((8, 8, 2)), base, layers.Dense(3, activation="softmax")], seed=5))
        before = top.get_weights()
        top.fit(x, y, verbose=0)
        assert all(not (a == b).all() for a, b in zip(before, top.get_weights()))
        np.testing.assert_array_equal(base.get_weights()[0], top.get_weights()[0])


def test_two_networks_share_layers():
    x, y = images()
    base = compiled(small())
    base.fit(x, y, verbose=0)
    top = Sequential([*base.layers[:-1], layers.Dense(3, activation="softmax", name="new")], seed=5)
    top.build((None, 8, 8, 2))
    np.testing.assert_array_equal(top.layers[0].get_weights()[0], base.layers[0].get_weights()[0])
    compiled(top).fit(x, y, verbose=0)
    np.testing.assert_array_equal(top.layers[0].get_weights()[0], base.layers[0].get_weights()[0])
    before = base.layers[0].get_weights()[0]
    base.fit(x, y, verbose=0)
    assert not (base.layers[0].get_weights()[0] == before).all()
    np.testing.assert_array_equal(top.layers[0].get_weights()[0], base.layers[0].get_weights()[0])


def test_copies_are_whole_and_apart():
    x, y = images()
    for model in (every_layer(), Sequential([layers.Dense(2)])):
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert twin.get_config() == model.get_config()
    model = compiled(every_layer())
    model.fit(x, y, verbose=0)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    history = model.fit(x, y, verbose=0).history
    for twin in twins:
        assert twin.fit(x, y, verbose=0).history == history
        np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))
    clone = Sequential.from_config(model.get_config())
    clone.build()
    np.testing.assert_array_equal(clone.get_weights()[0], every_layer().get_weights()[0])


def test_summary():
    model = small()
    text = []
    model.summary(print_fn=text.append)
    (table,) = text
    assert 'Model: "sequential"' in table and "conv2d (Conv2D)" in table and "(None, 6, 6, 4)" in table
    assert "Total params: 187 (748.00 B)" in table and "Non-trainable params: 0" in table
    every_layer().summary(print_fn=text.append, expand_nested=True, show_trainable=True, line_length=120)
    assert "└ depthwise_conv2d" in text[1] and "Trainable" in text[1]


def test_a_thousand_layers():
    model = compiled(Sequential([layers.Input((2,)), *[layers.Activation("linear") for _ in range(998)],
                                 layers.Dense(3, activation="softmax")], seed=0))  # fmt: skip
    model.fit(np.zeros((4, 2)), np.zeros(4, int), verbose=0)
    assert model.layers[-2].name == "activation_997"


def test_wrong_keywords_say_the_right_one():
    for make, message in (
        (lambda: layers.Conv2D(2, 3, stride=2), "Conv2D: unexpected argument 'stride'; did you mean 'strides'"),
        (lambda: layers.Dense(2, activaton="relu"), "did you mean 'activation'"),
        (lambda: Sequential([], sed=2), "did you mean 'seed'"),
    ):
        with pytest.raises(TypeError, match=message):
            make()


def test_seeds_are_checked():
    for seed in (-1, 2**64, 1.5, True, "0"):
        with pytest.raises(ValueError, match="seed must be an int"):
            Sequential(seed=seed)
