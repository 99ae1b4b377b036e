"""Execution plans: planned runs have the bits of eager ones, whatever the layer, and are never out of date."""

import copy
import pickle
import re
import resource
import threading
import tracemalloc
from pathlib import Path

import nets
import numpy as np
import pytest
from harness import assert_same_bits, guarded, integers
from layer_cases import CASES

import cnnfast
from cnnfast import Sequential, layers, losses, ops, optimizers, plans
from cnnfast.ops import cpu
from cnnfast.ops.tape import Tape, not_replayable

ROOT = Path(__file__).resolve().parent.parent


def planned(network, mode):
    """How many complete plans a network has for "infer" or "train"."""
    return sum(len(found) for key, found in network._plans.idle.items() if key[4] == mode)


def network_with(name, eager):
    make, shape = CASES[name]
    layer = make()
    first = getattr(layer, "data_format", None) or "channels_last"
    model = Sequential([layers.Input(shape[1:]), layer, layers.Flatten(first), layers.Dense(2)], seed=5)
    model.compile("sgd", "mse", run_eagerly=eager)
    return model


@pytest.mark.parametrize("name", CASES)
def test_planned_runs_have_the_bits_of_eager_ones(name, rng, monkeypatch):
    shape = CASES[name][1]
    model, eager = network_with(name, False), network_with(name, True)
    batches = [(rng.normal(size=shape).astype(np.float32), rng.normal(size=(shape[0], 2)).astype(np.float32)) for _ in range(5)]
    for step, (x, y) in enumerate(batches[:4]):
        assert model.predict_on_batch(x).tobytes() == eager.predict_on_batch(x).tobytes()
        assert model.train_on_batch(x, y) == eager.train_on_batch(x, y), step
        for ours, theirs in zip(model.get_weights(), eager.get_weights()):
            assert ours.tobytes() == theirs.tobytes()
    assert planned(eager, "train") == planned(eager, "infer") == 0
    assert planned(model, "train") == planned(model, "infer") == 1  # of every layer that there is
    x, y = batches[4]
    expected = eager.predict_on_batch(x).tobytes(), eager.train_on_batch(x, y)
    layer = model.layers[0]
    for way in ("forward", "backward"):  # a plan that is used asks no layer
        monkeypatch.setattr(type(layer), way, lambda *_: pytest.fail("the layer was run"))
    assert (model.predict_on_batch(x).tobytes(), model.train_on_batch(x, y)) == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_ten_steps_of_every_layer(threads, rng):
    x, y = rng.normal(size=(40, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 40)
    model, eager = nets.every_layer(), nets.every_layer()
    for network, flag in ((model, False), (eager, True)):
        network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=flag)
    with ops.threads(threads):
        ours = model.fit(x, y, batch_size=16, epochs=4, verbose=0, validation_split=0.2).history
    with ops.threads(1):
        theirs = eager.fit(x, y, batch_size=16, epochs=4, verbose=0, validation_split=0.2).history
    assert ours == theirs
    assert planned(model, "train") and planned(model, "infer")
    assert model.predict(x, verbose=0).tobytes() == eager.predict(x, verbose=0).tobytes()


def test_weights_may_change_in_any_way(rng):
    """In place, by set_weights, by another network that takes a layer over: never an answer of old weights."""
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    model = nets.small()

    def check():
        for _ in range(3):
            assert model.predict_on_batch(x).tobytes() == model.forward(x).tobytes()
        assert planned(model, "infer")

    check()
    model.layers[0].kernel.data[...] *= 2
    check()
    model.set_weights([w + 1 for w in model.get_weights()])
    check()
    other = Sequential([layers.Input((8, 8, 2)), model.layers[0], layers.Flatten(), layers.Dense(2)], seed=1)
    other.layers[0].kernel.data[...] *= -1
    check()
    model.layers[0].activation = cnnfast.activations.get("sigmoid")
    check()
    model.pop()
    check()


def test_freezing_between_steps(rng):
    x, y = rng.normal(size=(6, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 6)
    model = nets.small()
    model.compile("sgd", "sparse_categorical_crossentropy")
    for _ in range(3):
        model.train_on_batch(x, y)
    model.layers[0].trainable = False
    before = model.layers[0].kernel.data.copy()
    for _ in range(3):
        model.train_on_batch(x, y)
    assert (model.layers[0].kernel.data == before).all()


class Doubled(layers.Layer):
    def forward(self, x, training=False):
        return x * 2

    def backward(self, dy):
        return dy * 2


def test_a_layer_of_the_users_runs_eagerly(rng):
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    model = Sequential([layers.Input((8, 8, 2)), Doubled(), layers.Flatten(), layers.Dense(2)])
    for _ in range(4):
        assert model.predict_on_batch(x).tobytes() == model.forward(x).tobytes()
        x = x + 1
    assert not planned(model, "infer")


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_augmentation_is_planned_wherever_it_stands(threads, rng):
    """From the first layer on, images of bytes, steps of two sizes: what is drawn is drawn by the step."""
    x, y = rng.integers(0, 256, (22, 12, 12, 3)).astype(np.uint8), rng.integers(0, 3, 22)

    def train(eager):
        model = Sequential([
            layers.Rescaling(1 / 255), layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1), layers.Conv2D(8, 3),
            layers.RandomRotation(0.2, "wrap"), layers.RandomContrast(0.5, (-1, 1)), layers.RandomCrop(9, 8),
            layers.RandomBrightness(0.3, (-1, 1)), layers.ReLU(), layers.Flatten(), layers.Dense(3),
        ], seed=3)  # fmt: skip
        model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=eager)
        return model, model.fit(x, y, batch_size=5, epochs=5, verbose=0).history["loss"]

    with ops.threads(threads):
        ours, history = train(False)
    theirs, expected = train(True)
    assert history == expected and planned(ours, "train") == 2 and not planned(theirs, "train")
    assert ours.predict(x, verbose=0).tobytes() == theirs.predict(x, verbose=0).tobytes()
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        assert a.tobytes() == b.tobytes()


def test_bytes_stay_bytes_until_they_enter_the_plan(rng):
    x, y = rng.integers(0, 256, (64, 64, 64, 3)).astype(np.uint8), rng.integers(0, 3, 64)
    model = Sequential([layers.Rescaling(1 / 255), layers.RandomFlip(), layers.MaxPooling2D(8), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    for call in (lambda: model.train_on_batch(x, y), lambda: model.predict_on_batch(x), lambda: model.test_on_batch(x, y)):
        call(), call(), call()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes / 4


def test_many_threads_use_one_network(rng):
    model = nets.every_layer()
    images = rng.normal(size=(12, 1, 8, 8, 2)).astype(np.float32)
    expected = [model.forward(x).tobytes() for x in images]
    wrong, barrier = [], threading.Barrier(12)

    def work(i):
        barrier.wait()
        for _ in range(40):
            if model.predict_on_batch(images[i]).tobytes() != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and 1 <= planned(model, "infer") <= 12


def test_a_step_that_fails_leaves_no_half_a_plan(rng):
    x, y = rng.normal(size=(6, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 6)
    bad = np.full_like(x, np.inf)
    model, eager = nets.small(), nets.small()
    for network, flag in ((model, False), (eager, True)):
        network.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=flag)
        for batch in (x, bad, x, x, bad, x, bad, x):
            if batch is bad:
                with pytest.raises(FloatingPointError):
                    network.train_on_batch(batch, y)
            else:
                network.train_on_batch(batch, y)
    for ours, theirs in zip(model.get_weights(), eager.get_weights()):
        assert ours.tobytes() == theirs.tobytes()


def test_results_are_the_callers(rng):
    """No answer is overwritten by the next one."""
    x = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    model = nets.small()
    first = [model.predict_on_batch(x) for _ in range(3)]
    copies = [y.copy() for y in first]
    model.predict_on_batch(x * 2)
    assert all((a == b).all() for a, b in zip(first, copies))
    assert all(y.flags.writeable for y in first)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_ready_plan_takes_any_numbers_and_nothing_else(data_format, rng):
    """Of its shape: of any dtype, order and place in memory; what is refused is refused as by a network without a plan."""
    x = rng.integers(0, 9, (2, 8, 6, 3)).astype(np.float32)
    model = Sequential([layers.Input(x.shape[1:]), layers.Conv2D(4, 3, data_format=data_format), layers.Flatten(), layers.Dense(2)])
    for _ in range(3):
        expected = model.predict_on_batch(x)
    assert planned(model, "infer") == 1 and expected.tobytes() == model.forward(x).tobytes()
    apart = np.zeros((2, 8, 6, 9), np.float32)[..., ::3]
    apart[...] = x
    shifted = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    others = [apart, shifted, np.asfortranarray(x), x.tolist(), *(x.astype(t) for t in ("u1", "i4", ">f4", ">i2", "f2", "f8", "g"))]
    for other in others:
        assert model.predict_on_batch(other).tobytes() == model(other).tobytes() == expected.tobytes()
    assert model.predict_on_batch(x > 4).tobytes() == model.forward((x > 4).astype(np.float32)).tobytes()
    for bad in (x.astype("c8"), x.astype("O"), x.astype("M8[s]"), x.astype("S3")):
        for call in (model.predict_on_batch, model):
            with pytest.raises(TypeError, match="x must be numbers"):
                call(bad)
    with pytest.raises(TypeError, match="masked"):
        model.predict_on_batch(np.ma.masked_equal(x, 3))
    assert planned(model, "infer") == 1 and model.predict_on_batch(x).tobytes() == expected.tobytes()


@pytest.mark.parametrize("level", cpu.available_isas())
def test_the_isa_in_use_counts(level, rng):
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    model = nets.small()
    for _ in range(3):
        model.predict_on_batch(x)
    with cpu.using_isa(level):
        for _ in range(3):
            assert model.predict_on_batch(x).tobytes() == model.forward(x).tobytes()


def test_plans_are_few_and_bounded(rng):
    model = nets.small()
    for size in range(1, 12):
        for _ in range(3):
            model.predict_on_batch(np.zeros((size, 8, 8, 2), np.float32))
    assert len(model._plans.idle) == plans.MOST_PLANS
    cnnfast.clear_cache()
    assert not model._plans.idle


def test_memory_is_laid_out_by_liveness():
    """A chain of equal maps needs memory for some neighbours, not for every layer."""
    chain = [layers.Conv2D(4, 1, activation="relu") for _ in range(40)]
    model = Sequential([layers.Input((128, 128, 4)), *chain], seed=0)
    x = np.zeros((4, 128, 128, 4), np.float32)
    with cnnfast.threads(1):  # each has a workspace
        for _ in range(3):
            model.predict_on_batch(x)
    (plan,) = next(iter(model._plans.idle.values()))
    assert 2 * x.nbytes <= plan.tape.bytes < 5 * x.nbytes  # x, y, two maps between them, a workspace


def block(kind, filters=16, size=3):
    """Layers around each fusion."""
    if kind == "plain":
        return [layers.Conv2D(filters, size, padding="same"), layers.ReLU()]
    if kind == "norm":
        return [layers.Conv2D(filters, size, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    if kind == "depthwise":
        return [layers.DepthwiseConv2D(size, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    if kind == "frame":  # deep enough that no frame is left
        made = []
        for stride in (1, 2):
            made += [layers.ZeroPadding2D(((1, 2), (2, 0))), layers.DepthwiseConv2D(size, strides=stride, use_bias=False)]
            made += [layers.BatchNormalization(), layers.ReLU(), layers.ZeroPadding2D(1)]
            made += [layers.Conv2D(filters, size, strides=2, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        return made
    if kind == "relu6":
        main = [layers.Conv2D(2 * filters, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU(0.5)]
        main += [layers.DepthwiseConv2D(size, padding="same"), layers.BatchNormalization(), layers.ReLU(0.5)]
        main += [layers.Conv2D(filters, 1, use_bias=False), layers.BatchNormalization()]
        return [layers.Residual(main), layers.Conv2D(filters, size, padding="same"), layers.ReLU(0.5)]
    if kind == "residual":
        main = [*block("norm", filters), layers.Conv2D(filters, size, padding="same"), layers.BatchNormalization()]
        return [layers.Residual(main), layers.ReLU()]
    if kind == "bottleneck":  # results lie where the residual did; that is read again, by the outer one
        inner = [layers.Conv2D(filters // 2, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        inner += [layers.Conv2D(filters, 1, use_bias=False), layers.BatchNormalization()]
        return [layers.Residual([layers.Residual(inner), layers.Conv2D(filters, 1)]), layers.ReLU()]
    if kind == "long sums":  # which are stored in part before the residual is wanted
        return [layers.Conv2D(300, 1), layers.Residual([layers.Conv2D(300, 1) for _ in range(2)])]
    if kind == "itself":  # the residual is what is convolved, too, panel after panel
        return [layers.Conv2D(150, 1), layers.Residual([layers.Conv2D(150, 1)]), layers.Conv2D(filters, 1)]
    if kind == "activations":
        return [layers.Conv2D(filters, 1), layers.Activation("elu"), layers.Dropout(0.3), layers.Residual([layers.Activation("tanh")])]
    if kind == "projection":
        main = [layers.Conv2D(filters, size, padding="same"), layers.BatchNormalization()]
        return [layers.Residual(main, [layers.Conv2D(filters, 1), layers.BatchNormalization()]), layers.ReLU()]
    if kind == "plain residual":
        return [layers.Residual([layers.Conv2D(filters, size, padding="same")]), layers.ReLU()]
    if kind == "two ways":
        return [layers.Residual([layers.Conv2D(filters, size)], [layers.Conv2D(filters, size)]), layers.ReLU()]
    assert kind == "pool"
    return [layers.Conv2D(filters, size, padding="same", activation="relu"), layers.MaxPooling2D(2)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "norm", "depthwise", "frame", "relu6", "residual", "bottleneck", "long sums", "itself",
                                  "activations", "projection", "plain residual", "two ways", "pool"])  # fmt: skip
def test_fused_jobs_have_the_bits_of_the_layers(kind, dtype, isa, rng):
    """Twice the block, so that what one leaves behind meets the next; shapes for which convolutions take every algorithm."""

    def train(eager, shape):
        model = Sequential([layers.Input(shape), layers.Conv2D(16, 1), *block(kind), *block(kind), layers.Flatten(),
                            layers.Dense(3)], seed=2, dtype=dtype)  # fmt: skip
        model.compile("sgd", "mse", run_eagerly=eager)
        data = np.random.default_rng(3)
        answers = []
        for _ in range(5):
            x, y = data.normal(size=(2, *shape)).astype(dtype), data.normal(size=(2, 3)).astype(dtype)
            answers += [model.predict_on_batch(x), model.train_on_batch(x, y), *model.get_weights()]
        return model, [np.asarray(a).tobytes() for a in answers]

    for shape in ((9, 7, 3), (16, 16, 4)):
        (model, ours), (_, theirs) = train(False, shape), train(True, shape)
        assert ours == theirs
        fused = {key[4]: plan.tape.fused for key, found in model._plans.idle.items() for plan in found}
        if kind != "activations":  # which lie in place, and are not joined
            assert fused["train"] >= 2, fused
        if kind not in ("activations", "pool"):
            assert fused["infer"] >= 2, fused


@pytest.mark.parametrize(
    "chain",
    [
        lambda: [layers.Conv2D(5, 3), layers.Flatten(), layers.BatchNormalization(), layers.Dense(3)],
        lambda: [layers.Flatten(), layers.Dense(500), layers.Reshape((10, 10, 5)), layers.BatchNormalization()],
        lambda: [layers.Conv2D(6, 3), layers.Reshape((12, 8, 3)), layers.BatchNormalization(), layers.ReLU()],
        lambda: [layers.Conv2D(5, 3), layers.BatchNormalization(trainable=False), layers.Flatten(), layers.Dense(3)],
        lambda: [layers.DepthwiseConv2D(3), layers.Reshape((4, 8, 3)), layers.BatchNormalization(trainable=False),
                 layers.Conv2D(4, 3)],
    ],
    ids=["flatten", "dense", "reshape", "frozen", "frozen reshape"],
)  # fmt: skip
def test_a_norm_of_other_channels_is_not_joined(chain, isa, rng):
    """Flatten and Reshape see the same memory: the norm's channels are not those of the op before, forward or backward."""
    x = rng.normal(size=(3, 8, 10, 2)).astype(np.float32)

    def train(eager):
        model = Sequential([layers.Input(x.shape[1:]), layers.Conv2D(2, 1), *chain()], seed=1)
        draw = np.random.default_rng(4)
        model.set_weights([draw.uniform(0.1, 0.3, w.shape) for w in model.get_weights()])
        model.compile(optimizers.SGD(1e-4), "mse", run_eagerly=eager)
        y, answers = np.ones((3, *model.output_shape[1:]), np.float32), []
        for _ in range(4):
            answers += [model.predict_on_batch(x), model.train_on_batch(x, y), *model.get_weights()]
        return [np.asarray(a).tobytes() for a in answers]

    assert train(False) == train(True)


@pytest.mark.parametrize("first", [lambda: layers.Conv2D(5, 3), lambda: layers.DepthwiseConv2D(3)], ids=["conv", "depthwise"])
def test_a_map_that_is_normalised_and_added_is_kept(first, isa, rng):
    """x + norm(x): the norm may not become a part of what makes x, which then is nowhere."""
    x = rng.normal(size=(2, 8, 10, 6)).astype(np.float32)
    model = Sequential([layers.Input(x.shape[1:]), first(), layers.Residual([layers.BatchNormalization()]), layers.Conv2D(3, 1)], seed=1)
    planned = [model.predict_on_batch(x) for _ in range(4)]
    model.compile("sgd", "mse", run_eagerly=True)
    for y in planned:
        assert_same_bits(y, model.predict_on_batch(x))


def random_layer(rng, shape):
    """A layer, or a block of some, that takes a map of `shape` (no smaller than 3 x 3), or its features."""
    pick = lambda *options: options[rng.integers(len(options))]  # noqa: E731
    filters, steps, padding = pick(2, 5, 16, 24), pick(1, 1, 2), pick("same", "valid")
    more = dict(use_bias=pick(True, False), activation=pick(None, None, "relu"))
    norm = dict(trainable=pick(True, True, False))
    choices = [lambda: layers.BatchNormalization(**norm), lambda: layers.ReLU(), lambda: layers.ReLU(0.5), lambda: layers.Flatten()]
    if len(shape) == 1:
        fit = [c for c in (2, 3, 5, 8, 16) if shape[0] % (9 * c) == 0]
        choices += [lambda: layers.Dense(pick(3, 90, 450), activation=more["activation"])] * 2
        choices += [lambda: layers.Reshape((3, -1, pick(*fit)))] * 2 if fit else []
        return pick(*choices)()
    main = [layers.Conv2D(shape[2], 3, padding="same", **more), layers.BatchNormalization(**norm), layers.ReLU()]
    both = [layers.Conv2D(filters, 3)], [layers.Conv2D(filters, 3), layers.BatchNormalization(**norm)]
    choices += [lambda: layers.Conv2D(filters, pick(1, 3, 3), steps, padding=padding, **more)] * 5
    choices += [lambda: layers.DepthwiseConv2D(3, steps, padding=padding, **more)] * 3
    choices += [lambda: layers.MaxPooling2D(2), lambda: layers.MaxPooling2D(3, 2, padding="same"), lambda: layers.AveragePooling2D(2)]
    choices += [lambda: layers.Residual([layers.Conv2D(shape[2], 1, **more), *([] if more else [layers.BatchNormalization(**norm)])])]
    choices += [lambda: layers.Residual(main), lambda: layers.Residual(*both), lambda: layers.ZeroPadding2D(1)]
    choices += [lambda: layers.Conv2DTranspose(filters, 3, steps, padding=padding), lambda: layers.Cropping2D(((0, 1), (0, 0)))]
    return pick(*choices)()


def test_random_networks_have_the_bits_of_their_layers(isa, rng):
    for _ in range(120):
        made, shape = int(rng.integers(2**32)), (*rng.integers(6, 24, 2).tolist(), int(rng.integers(1, 9)))

        def train(eager, made=made, shape=shape):
            draw = np.random.default_rng(made)
            model, now = Sequential([layers.Input(shape)], seed=1), shape
            for _ in range(draw.integers(2, 9)):
                model.add(random_layer(draw, now if len(now) == 1 or min(now[:2]) > 2 else (np.prod(now),)))
                now = model.output_shape[1:]
            for layer in (layers.Flatten(), layers.Dense(3)):
                model.add(layer)
            sign = lambda a: np.where(draw.random(a.shape) < 0.5, -a, a) if a.ndim > 1 else a  # noqa: E731
            model.set_weights([sign(draw.uniform(0.02, 0.3, w.shape)) for w in model.get_weights()])
            model.compile(optimizers.SGD(1e-6), "mse", run_eagerly=eager)
            answers = []
            for _ in range(4):
                x = draw.normal(size=(2, *shape)).astype(np.float32)
                answers += [model.predict_on_batch(x), model.train_on_batch(x, np.zeros((2, 3))), *model.get_weights()]
            return model, [np.asarray(a).tobytes() for a in answers]

        (model, ours), (_, theirs) = train(False), train(True)
        assert ours == theirs, [(type(layer).__name__, layer.output_shape) for layer in model.layers]


def test_what_is_finite_beside_an_infinite_weight_has_its_relu(isa, rng):
    """Forward, a transposed convolution goes back to an input: by the tiles of its own, smaller map."""
    x = rng.normal(size=(2, 8, 8, 32)).astype(np.float32)

    def answer(eager):
        model = Sequential([layers.Input(x.shape[1:]), layers.Conv2DTranspose(32, 3, use_bias=False), layers.ReLU()], seed=1)
        model.layers[0].weights[0].data[0, 0, 5, 7] = np.inf
        model.compile("sgd", "mse", run_eagerly=eager)
        with np.errstate(all="ignore"):
            return model, [np.nan_to_num(model.predict_on_batch(x), nan=-7) for _ in range(3)]

    (model, ours), (_, theirs) = answer(False), answer(True)
    np.testing.assert_array_equal(ours, theirs)
    (plan,) = next(iter(model._plans.idle.values()))
    assert plan.tape.fused == 1 and (theirs[0] == np.finfo(np.float32).max).any()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("kind", ["norm", "relu6", "residual", "projection", "bottleneck", "plain residual"])
def test_what_is_not_finite_meets_the_same_end(kind, bad, isa, rng):
    """What follows a convolution is done once to each output, whether it has to be summed up again or not."""
    x = rng.normal(size=(2, 17, 18, 32)).astype(np.float32)
    x[0, 5, 7, 3] = bad

    def answer(eager):
        model = Sequential([layers.Input(x.shape[1:]), *block(kind, 32)], seed=1)
        weights = np.random.default_rng(4)
        model.set_weights([weights.uniform(0.02, 0.3, w.shape) for w in model.get_weights()])
        model.compile("sgd", "mse", run_eagerly=eager)
        with np.errstate(all="ignore"):
            return [model.predict_on_batch(x) for _ in range(3)]

    theirs = answer(True)
    assert np.isfinite(theirs[0]).any() and (np.isnan(theirs[0]).any() or not np.isnan(bad))
    np.testing.assert_array_equal(answer(False), theirs)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [3, 5])
def test_a_depthwise_convolution_makes_the_strips_of_the_next(size, threads, isa, rng):
    """Strips that begin and end within a line, and in another image; more channels than a cut of the reduction has."""
    x = rng.normal(size=(2, 19, 41, 272)).astype(np.float32)

    def answer(eager):
        chain = [layers.DepthwiseConv2D(size, padding="same"), layers.BatchNormalization(), layers.ReLU()]
        model = Sequential([layers.Input(x.shape[1:]), *chain, layers.Conv2D(24, 1), layers.BatchNormalization()], seed=1)
        model.compile("sgd", "mse", run_eagerly=eager)
        with ops.threads(threads):
            return model, [model.predict_on_batch(x).tobytes() for _ in range(3)]

    (model, ours), (_, theirs) = answer(False), answer(True)
    assert ours == theirs
    (plan,) = next(iter(model._plans.idle.values()))
    assert plan.tape.fused == 4  # ReLU, batch norm twice, and the two convolutions


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "channels, filters, kernel, stride, pool, pool_stride, size, activation",
    [
        (1, 32, 3, 1, 2, 2, (27, 26), "relu"),
        (3, 24, 5, 2, 3, 3, (66, 71), None),
        (2, 17, 3, 2, 1, 2, (62, 58), None),
        (1, 16, 3, 1, 3, 4, (63, 149), "relu"),  # bands of 3 lines become bands of 4
        (1, 32, 3, 1, 2, 2, (131, 140), "relu"),
        (1, 9, 5, 1, 2, 2, (34, 33), "relu"),
        (1, 40, 4, 3, 2, 2, (70, 75), None),
        (1, 16, 3, 1, 3, 2, (181, 150), None),  # windows that overlap: a band of theirs has no end
        (1, 6, 5, 1, 2, 2, (32, 31), "relu"),  # planes are pooled before they are pixels, if no indices are wanted
        (1, 8, 3, 1, 2, 2, (131, 55), None),
        (2, 5, 3, 2, 2, 2, (67, 97), "relu"),
        (1, 7, 3, 1, 3, 3, (62, 71), "relu"),
    ],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_pooling_takes_the_lines_of_a_convolution(
    channels, filters, kernel, stride, pool, pool_stride, size, activation, use_bias, threads, isa
):
    """What a convolution makes is pooled band by band; the last lines may be in no window. Its gradient is made band by band, for
    the weights and the bias together."""

    def train(eager):
        model = Sequential([layers.Input((*size, channels)),
                            layers.Conv2D(filters, kernel, stride, activation=activation, use_bias=use_bias),
                            layers.MaxPooling2D(pool, pool_stride), layers.Flatten(), layers.Dense(3)], seed=2)  # fmt: skip
        model.compile(optimizers.SGD(1e-4), "mse", run_eagerly=eager)
        data = np.random.default_rng(3)
        answers = []
        with ops.threads(threads):
            for _ in range(4):
                x, y = data.normal(size=(3, *size, channels)).astype(np.float32), data.normal(size=(3, 3)).astype(np.float32)
                answers += [model.predict_on_batch(x), model.train_on_batch(x, y), *model.get_weights()]
            x[1, 5, 7] = np.nan
            answers.append(model.predict_on_batch(x))
        return model, [np.asarray(a).tobytes() for a in answers]

    (model, ours), (_, theirs) = train(False), train(True)
    assert ours == theirs
    fused = {key[4]: plan.tape.fused for key, found in model._plans.idle.items() for plan in found}
    forward = pool <= pool_stride
    assert fused["infer"] == forward
    assert fused["train"] == forward + (activation == "relu") + 1  # and its gradient's mask, its gradient


@pytest.mark.parametrize("activation", ["relu", "sigmoid", None])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("filters", [4, 6])
def test_pooled_planes_have_the_bits_of_pooled_pixels(filters, threads, activation, isa, rng):
    """Sums that underflow to zeros of both signs, with a bias that keeps these or does not; NaN and infinity in x and in w."""
    shape = (2, 29, 37, 1)
    small = np.where(rng.random(shape) < 0.5, -1e-30, 1e-30).astype(np.float32)
    small[rng.random(shape) < 0.3] = 0
    small[rng.random(shape) < 0.05] = 1e30  # and windows in which a zero is the largest
    odd = rng.normal(size=shape).astype(np.float32)
    odd[0, 3, 9], odd[0, 14, 36], odd[1, 28, 0], odd[1, 20, 20] = np.nan, -np.inf, np.inf, np.nan

    def answer(eager, bias, weight):
        model = Sequential([layers.Input(shape[1:]), layers.Conv2D(filters, 3, padding="same", activation=activation),
                            layers.MaxPooling2D(2)], seed=1)  # fmt: skip
        kernel = model.layers[0].weights[0].data
        kernel[..., :2] = np.where(kernel[..., :2] > 0, 1e-30, -1e-30)
        kernel[0, 0, 0, 3] = weight
        model.layers[0].weights[1].data[...] = bias
        model.compile("sgd", "mse", run_eagerly=eager)
        with np.errstate(all="ignore"), ops.threads(threads):
            return model, [model.predict_on_batch(x).tobytes() for x in (small, odd, small, odd, odd)]

    for bias in (0.0, -0.0, 1.0):
        for weight in (0.5, np.inf, np.nan):
            (model, ours), (_, theirs) = answer(False, bias, weight), answer(True, bias, weight)
            assert ours == theirs, (bias, weight)
            (plan,) = next(iter(model._plans.idle.values()))
            assert plan.tape.fused == (isa != "scalar" or filters > 4)


def test_copies_and_pickles_plan_anew(rng):
    x = rng.normal(size=(2, 8, 8, 2)).astype(np.float32)
    model = nets.small()
    for _ in range(3):
        expected = model.predict_on_batch(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not planned(twin, "infer")
        for _ in range(3):
            assert twin.predict_on_batch(x).tobytes() == expected.tobytes()
        twin.layers[0].kernel.data[...] = 0
        assert model.predict_on_batch(x).tobytes() == expected.tobytes()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_memory_is_flat(rng):
    """Plans come and go as shapes change: their memory goes with them."""
    model = nets.small()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = rng.normal(size=(6, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 6)

    def work(n):
        for i in range(n):
            for _ in range(3):
                model.train_on_batch(x[: 1 + i % 6], y[: 1 + i % 6])
                model.predict_on_batch(x[: 1 + i % 3])

    work(60)
    before = resident()
    work(300)
    assert resident() - before < 1 << 20


def test_run_eagerly_is_a_bool():
    with pytest.raises(TypeError, match="compile: run_eagerly must be True or False, got 1"):
        nets.small().compile("sgd", "mse", run_eagerly=1)


# --- tapes ---------------------------------------------------------------------------------------------------------------


def test_a_tape_repeats_its_ops(rng):
    x = rng.normal(size=(5, 6)).astype(np.float32)
    tape = Tape()
    with tape:
        a = tape.buffer(x)
    a[...] = x
    with tape:
        y = ops.add(ops.relu(a), a)
    tape.close()
    assert tape.usable and len(tape) == 2
    a[...] = -x
    tape.run(0, 2)
    assert (y == np.maximum(-x, 0) - x).all()
    with pytest.raises(IndexError, match="there are jobs 0 to 2, got 1 to 3"):
        tape.run(1, 3)


def test_memory_is_laid_out_anew_but_for_what_is_held(rng):
    x = rng.normal(size=(50, 1000)).astype(np.float32)

    def work(a):
        held = ops.add(a, a)
        return held, ops.sigmoid(ops.add(ops.add(ops.relu(held), a), ops.tanh(ops.add(held, a))))

    tape = Tape()
    with tape:
        spare = tape.buffer(x)
        a = tape.buffer(x)
        del spare  # what nobody names leaves no gap behind it
    a[...] = x
    with tape:
        held, y = work(a)
    tape.close()
    tape.fuse()
    a[...] = -x
    expected = work(-x)
    tape.run(0, len(tape))
    assert held.tobytes() == expected[0].tobytes()
    assert y.tobytes() == expected[1].tobytes()
    assert (a == -x).all()
    assert tape.bytes <= 5 * (x.nbytes + 64)  # a, held, y and two that are written over


def test_windows_of_a_pooling_that_leave_the_map(rng):
    """In no band are their lines, so the pooling stays a job of its own."""
    x, weight = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 29, 28, 1), (3, 3, 1, 32)))
    tape = Tape()
    with tape:
        a = tape.buffer(x)
    a[...] = x
    with tape:
        y = ops.max_pool2d(ops.conv2d(a, weight), 2, ceil_mode=True)
    tape.close()
    tape.fuse()
    expected = y.tobytes()
    y[...] = 0
    tape.run(0, len(tape))
    assert y.tobytes() == expected


def test_weights_that_come_from_memory(isa, threads, rng):
    """From 16 MB on a tape fetches them early: nothing beyond their ends, and no bit changes."""
    convolutions = [((16, 16, 125), (3, 3, 125, 131), 1), ((8, 7, 255), (3, 3, 255, 258), 1), ((9, 9, 150), (3, 3, 75, 140), 2)]
    convolutions += [((4, 4, 511), (3, 3, 511, 515), 1), ((7, 6, 500), (1, 1, 500, 2049), 1), ((7, 7, 300), (3, 3, 300, 301), 1)]
    for at in ("start", "end"):
        maps, weights = ([guarded(integers(rng, c[i]), at) for c in convolutions] for i in (0, 1))
        assert sum(w.nbytes for w in weights) > 1 << 24
        tape = Tape()
        with tape:
            inputs = [tape.buffer(x[None]) for x in maps]
            made = [
                ops.conv2d(x, w, padding=w.shape[0] // 2, groups=groups, num_threads=threads)
                for x, w, (_, _, groups) in zip(inputs, weights, convolutions)
            ]
        tape.close()
        tape.fuse()
        for buffer, x in zip(inputs, maps):
            buffer[...] = x
        tape.run(0, len(tape))
        for y, x, w, (_, _, groups) in zip(made, maps, weights, convolutions):
            assert_same_bits(y, ops.conv2d(x[None], w, padding=w.shape[0] // 2, groups=groups))


def test_what_no_kernel_does_makes_a_tape_useless(rng):
    x = rng.normal(size=(5, 6)).astype(np.float32)
    other = x.astype(">f4")  # of another byte order
    for work in (not_replayable, lambda: ops.relu(other), lambda: ops.relu(x, out=np.empty_like(other))):
        tape = Tape()
        with tape:
            ops.relu(x)
        assert tape.usable
        with tape:
            work()
        assert not tape.usable


def test_tapes_do_not_nest():
    with Tape(), pytest.raises(RuntimeError, match="this thread records already"), Tape():
        pass


def test_other_threads_are_not_recorded(rng):
    x = rng.normal(size=(5, 6)).astype(np.float32)
    with Tape() as tape:
        thread = threading.Thread(target=lambda: [ops.relu(x), not_replayable()])
        thread.start()
        thread.join()
    assert len(tape) == 0 and tape.usable


def test_every_member_of_a_job_is_a_word_of_its_own():
    """A tape takes a word that lies in its memory for a pointer. An int, and beside it the upper half of an old pointer that
    padding kept, was one by chance, and laying out memory changed the int (ResNet-50, one process in six)."""
    headers = "".join((ROOT / "csrc" / name).read_text() for name in ("cnf_shape.h", "cnf.h"))
    headers = re.sub(r"/\*.*?\*/", "", headers, flags=re.DOTALL)
    found = set()
    for body, job in re.findall(r"typedef struct[\w\s]*\{([^}]*)\}\s*(cnf_\w+);", headers):
        if job in ("cnf_kernels", "cnf_work", "cnf_axis"):
            continue
        found.add(job)
        for member in filter(None, map(str.strip, body.split(";"))):
            words = "ptrdiff_t", "size_t", "uint64_t", "double", "cnf_conv2d shape", "cnf_pool2d shape"
            assert "*" in member or member.startswith(words), f"{job}: {member}"
    assert {"cnf_conv2d_job", "cnf_pool2d_job", "cnf_norm", "cnf_optimizer", "cnf_elementwise"} <= found
