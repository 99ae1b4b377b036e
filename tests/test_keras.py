"""The same things in Keras 3 on JAX: signatures, outputs, training, what callbacks decide. `make nightly` installs both."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest
from gradients import randomize
from layer_cases import CASES

import cnnfast
from cnnfast import callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),  # Keras's own
]
OPTIMIZERS = {
    "SGD": lambda o, s: o.SGD(0.05),
    "Nesterov": lambda o, s: o.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda o, s: o.Adam(0.003),
    "AdamW": lambda o, s: o.AdamW(0.003, clipnorm=1.0),
    "AMSGrad": lambda o, s: o.Adam(0.003, amsgrad=True),
    "RMSprop": lambda o, s: o.RMSprop(0.003, momentum=0.5),
    "centered": lambda o, s: o.RMSprop(0.003, centered=True),
    "clip": lambda o, s: o.SGD(0.05, global_clipnorm=0.5),
    "value": lambda o, s: o.SGD(0.05, clipvalue=0.01),
    "average": lambda o, s: o.SGD(0.05, use_ema=True, ema_momentum=0.8),
    "overwritten": lambda o, s: o.SGD(0.05, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2),
    "schedule": lambda o, s: o.SGD(s.CosineDecay(0.0, 20, warmup_target=0.1, warmup_steps=3)),
}


@pytest.fixture(scope="module")
def keras():
    os.environ["KERAS_BACKEND"] = "jax"
    try:
        import keras
    except ImportError as error:
        pytest.skip(f"no Keras: {error}")
    return keras


def network(made_of, sequential, frozen=False):
    return sequential([
        made_of.Input((12, 12, 3)),
        made_of.Conv2D(8, 3, padding="same", use_bias=False),
        made_of.BatchNormalization(),
        made_of.ReLU(),
        made_of.MaxPooling2D(2),
        made_of.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="silu", trainable=not frozen),
        made_of.Conv2D(12, 1, groups=2, activation="gelu", trainable=not frozen),
        made_of.ZeroPadding2D(((1, 0), (0, 1))),
        made_of.AveragePooling2D(3, strides=2, padding="same"),
        made_of.LeakyReLU(),
        made_of.SeparableConv2D(6, (2, 3), padding="same", activation="elu"),
        made_of.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False),  # Adam would blow up its noise
        made_of.Cropping2D(1),
        made_of.BatchNormalization(momentum=0.9, scale=False, trainable=not frozen),
        made_of.Flatten(),
        made_of.Dense(16, activation="tanh", kernel_regularizer="l2"),
        made_of.Dense(5, activation="softmax"),
    ])  # fmt: skip


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "frozen"])
def test_training_is_that_of_keras(keras, optimizer, rng):
    """`frozen`: layers in the middle do not move, a batch normalization among them is in inference mode."""
    frozen, make = optimizer == "frozen", OPTIMIZERS.get(optimizer, OPTIMIZERS["SGD"])
    x = rng.standard_normal((40, 12, 12, 3)).astype(np.float32)
    y, weight = rng.integers(0, 5, 40), rng.random(40) + 0.5
    keras.utils.set_random_seed(0)
    theirs = network(keras.layers, keras.Sequential, frozen)
    ours = network(layers, cnnfast.Sequential, frozen)
    assert [layer.output_shape for layer in ours.layers] == [layer.output.shape for layer in theirs.layers]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-6)
    histories = []
    for model, made_of, rates in ((ours, cnnfast.optimizers, schedules),
                                  (theirs, keras.optimizers, keras.optimizers.schedules)):  # fmt: skip
        model.compile(make(made_of, rates), loss="sparse_categorical_crossentropy",
                      metrics=["accuracy", "sparse_categorical_crossentropy"], weighted_metrics=["accuracy"])  # fmt: skip
        histories.append(model.fit(x, y, epochs=3, batch_size=16, shuffle=False, verbose=0, sample_weight=weight,
                                   validation_split=0.2).history)  # fmt: skip
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], atol=1e-5, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_activity_regularizers_are_those_of_keras(keras, rng):
    x, y = rng.standard_normal((36, 8, 8, 2)).astype(np.float32), rng.integers(0, 3, 36)

    def made(of, rules, sequential):
        both = dict(activity_regularizer=rules.L1L2(0.02, 0.03))
        return sequential([
            of.Input((8, 8, 2)), of.Conv2D(4, 3, activation="relu", **both), of.DepthwiseConv2D(3, **both),
            of.SeparableConv2D(4, 2, **both), of.Conv2DTranspose(2, 2, activation="tanh", activity_regularizer="l1"),
            of.ActivityRegularization(0.01, 0.02), of.Flatten(), of.Dense(3, activation="softmax", **both),
        ])  # fmt: skip

    keras.utils.set_random_seed(0)
    theirs = made(keras.layers, keras.regularizers, keras.Sequential)
    ours = made(layers, regularizers, cnnfast.Sequential)
    ours.set_weights(theirs.get_weights())
    histories = []
    for model, rules in ((ours, optimizers), (theirs, keras.optimizers)):
        model.compile(rules.Adam(0.003), "sparse_categorical_crossentropy")
        histories.append(model.fit(x, y, batch_size=10, epochs=3, shuffle=False, verbose=0, validation_split=0.25).history)
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-4, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name, config", [("MaxNorm", {"max_value": 1.5, "axis": [0, 1, 2]}), ("NonNeg", {}),
                                          ("UnitNorm", {"axis": 1}), ("MinMaxNorm", {"min_value": 1.0, "max_value": 2.0, "rate": 0.5})])
def test_constraints_are_those_of_keras(keras, name, config, rng):
    w = rng.standard_normal((3, 3, 4, 5)).astype(np.float32)
    theirs = np.asarray(getattr(keras.constraints, name)(**config)(w))
    np.testing.assert_allclose(getattr(constraints, name)(**config)(w), theirs, rtol=1e-6)


def test_options_of_losses_and_metrics_are_those_of_keras(keras, rng):
    p, labels = rng.random((60, 4)).astype(np.float32), rng.integers(0, 4, 60)
    p /= p.sum(1, keepdims=True)
    weight = rng.random(60).astype(np.float32)
    for reduction in ("sum_over_batch_size", "sum"):
        for y in (labels, np.where(labels == 2, 7, labels)):
            config = dict(ignore_class=2 if y is labels else 7, reduction=reduction)
            ours, theirs = (library.SparseCategoricalCrossentropy(**config) for library in (losses, keras.losses))
            np.testing.assert_allclose(ours(y, p), theirs(y, p), rtol=1e-5)
            np.testing.assert_allclose(ours(y, p, weight), theirs(y, p, sample_weight=weight), rtol=1e-5)
    one_hot = np.eye(4, dtype=np.float32)[labels]
    for name, config in [("Precision", dict(top_k=2)), ("Recall", dict(top_k=2, thresholds=0.3)), ("Recall", dict(top_k=1, class_id=1)),
                         *(("AUC", dict(curve=curve, summation_method=method, thresholds=[0.3, 0.2, 0.5]))
                           for curve in ("ROC", "PR") for method in ("interpolation", "minoring", "majoring")),
                         ("AUC", dict(from_logits=True))]:  # fmt: skip
        ours, theirs = (getattr(library, name)(**config) for library in (metrics, keras.metrics))
        for metric in (ours, theirs):
            metric.update_state(one_hot, p)
        np.testing.assert_allclose(ours.result(), theirs.result(), atol=1e-5, err_msg=f"{name} {config}")


@pytest.mark.parametrize("config", [dict(max_value=6.0), dict(max_value=2.0, negative_slope=0.2, threshold=0.5), dict(threshold=1.0)])
def test_relu_is_that_of_keras(keras, config, rng):
    x = (3 * rng.standard_normal((50, 40))).astype(np.float32)
    np.testing.assert_allclose(layers.ReLU(**config)(x), np.asarray(keras.layers.ReLU(**config)(x)), atol=1e-6)


# --- signatures ----------------------------------------------------------------------------------------------------------

OWN = {"Layer", "Input", "Parallel", "Residual", "Sigmoid"}  # not in Keras, or of another form there
DEFAULTS = {  # where ours says more than Keras's, or says it otherwise
    ("AveragePooling1D", "pool_size"), ("AveragePooling2D", "pool_size"), ("PReLU", "alpha_initializer"),
    ("EarlyStopping", "min_delta"), ("BinaryCrossentropy", "label_smoothing"), ("CategoricalCrossentropy", "label_smoothing"),
}  # fmt: skip
MODULES = [
    (layers, "layers", [name for name in layers.__all__ if name not in OWN]),
    (callbacks, "callbacks", [n for n in callbacks.__all__ if n not in ("Callback", "CallbackList", "History")]),
    (losses, "losses", sorted({c.__name__ for c in losses.TABLE.values()})),
    (metrics, "metrics", sorted({c.__name__ for c in metrics.TABLE.values()})),
    (optimizers, "optimizers", sorted({c.__name__ for c in optimizers.TABLE.values()})),
    (schedules, "optimizers.schedules", sorted({c.__name__ for c in schedules.TABLE.values()})),
    (regularizers, "regularizers", ["L1", "L2", "L1L2"]),
    (constraints, "constraints", ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"]),
    (initializers, "initializers", ["HeNormal", "GlorotUniform", "VarianceScaling", "Constant", "RandomNormal"]),
]


def arguments(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


@pytest.mark.parametrize("module, path, name", [(m, path, name) for m, path, names in MODULES for name in names])
def test_arguments_are_those_of_keras(keras, module, path, name):
    """Every argument of ours is one of Keras's, with its default, and positional ones are in its order."""
    theirs = keras
    for part in path.split("."):
        theirs = getattr(theirs, part)
    mine, other = arguments(getattr(module, name)), arguments(getattr(theirs, name))
    common = {"name", "trainable", "dtype", "data_format"}  # Keras's go through **kwargs, or are given everywhere here
    assert set(mine) - common <= set(other), set(mine) - set(other)
    positional = [n for n, p in mine.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [n for n, p in other.items() if p.kind is p.POSITIONAL_OR_KEYWORD][: len(positional)]
    for n in set(mine) & set(other) - {"name"}:
        if (name, n) not in DEFAULTS:
            assert repr(mine[n].default) == repr(other[n].default), n


# --- layers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case, (make, _) in CASES.items() if case.split()[0] not in OWN])
def test_layers_are_those_of_keras(keras, case, rng):
    """Made from our description, with our weights: the same names, shapes and outputs."""
    make, shape = CASES[case]
    ours = make()
    cls = getattr(keras.layers, type(ours).__name__)
    config = {name: value for name, value in ours.get_config().items() if name not in ("trainable", "dtype")}
    if isinstance(ours, layers.RandomContrast):
        del config["data_format"]
    for name, value in config.items():
        if isinstance(value, dict):
            config[name] = keras.initializers.get(value)
        elif isinstance(value, list) and name not in ("axis", "shared_axes"):
            config[name] = tuple(value)
    theirs = cls(**config)
    x = rng.standard_normal(shape).astype(np.float32)
    ours.build(shape)
    randomize(ours, rng)
    theirs.build(shape)
    theirs.set_weights(ours.get_weights())
    assert [tuple(w.shape) for w in theirs.weights if "seed" not in w.name] == [w.shape for w in ours.weights]
    keywords = inspect.signature(theirs.call).parameters
    y = np.asarray(theirs(x, training=False) if "training" in keywords else theirs(x))
    if isinstance(ours, layers.RandomCrop):
        return  # in inference ours takes the middle, theirs the image as it is
    np.testing.assert_allclose(ours(x), y, atol=3e-6)
    if isinstance(ours, layers.BatchNormalization):
        theirs.trainable = ours.trainable  # frozen, it is in inference mode always
        np.testing.assert_allclose(ours.forward(x, training=True), np.asarray(theirs(x, training=True)), atol=3e-6)
        ours.finish_step()
        for a, b in zip(ours.get_weights(), theirs.get_weights()):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", ["reflect", "constant", "nearest", "wrap"])
def test_affine_layers_are_those_of_keras(keras, fill, interpolation, rng):
    """With factors that leave no choice."""
    x = rng.random((2, 9, 8, 3)).astype(np.float32)
    for name, *factors in (("RandomRotation", (0.13, 0.13)), ("RandomRotation", (-0.21, -0.21)),
                           ("RandomTranslation", (0.3, 0.3), (-0.2, -0.2))):  # fmt: skip
        options = dict(fill_mode=fill, interpolation=interpolation, fill_value=0.5)
        theirs = np.asarray(getattr(keras.layers, name)(*factors, **options)(x, training=True))
        layer = getattr(layers, name)(*factors, **options)
        layer.build(x.shape)
        close = np.abs(layer.forward(x, training=True) - theirs) < 1e-4
        assert close.mean() > 0.99, name  # a point within rounding of half a pixel may fall to either side


def test_colour_layers_are_those_of_keras(keras, rng):
    x = rng.random((2, 9, 8, 3)).astype(np.float32)
    ours, theirs = (m.RandomBrightness((0.2, 0.2), (0, 1)) for m in (layers, keras.layers))
    ours.build(x.shape)
    np.testing.assert_allclose(ours.forward(x, training=True), np.asarray(theirs(x, training=True)), atol=1e-6)
    contrast = keras.layers.RandomContrast(0.5, (0, 1))
    expected = np.clip(np.asarray(contrast._adjust_contrast(x, np.full((2, 1, 1, 1), 1.3, np.float32))), 0, 1)
    np.testing.assert_allclose(cnnfast.ops.adjust_contrast(x, np.full(2, 1.3, np.float32), (0, 1)), expected, atol=1e-6)


# --- losses, metrics, schedules ------------------------------------------------------------------------------------------


def scored(rng, samples=60):
    """(labels, one-hot targets, logits, probabilities, weights)"""
    labels = rng.integers(0, 4, samples)
    logits = (rng.standard_normal((samples, 4)) + np.eye(4)[labels]).astype(np.float32)
    return labels, np.eye(4, dtype=np.float32)[labels], logits, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), (
        rng.random(samples).astype(np.float32) + 0.1)  # fmt: skip


LOSSES = {
    "MeanSquaredError": [{}], "MeanAbsoluteError": [{}], "Huber": [{}, dict(delta=0.3)],
    "BinaryCrossentropy": [{}, dict(from_logits=True), dict(label_smoothing=0.2)],
    "CategoricalCrossentropy": [{}, dict(from_logits=True), dict(from_logits=True, label_smoothing=0.2)],
    "SparseCategoricalCrossentropy": [{}, dict(from_logits=True)],
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("name, options", [(name, options) for name, all_ in LOSSES.items() for options in all_])
def test_losses_are_those_of_keras(keras, name, options, reduction, rng):
    labels, one_hot, logits, p, weight = scored(rng)
    y, q = labels if name.startswith("Sparse") else one_hot, logits if options.get("from_logits") else p
    values = [float(getattr(m, name)(reduction=reduction, **options)(y, q, sample_weight=w))
              for w in (None, weight) for m in (losses, keras.losses)]  # fmt: skip
    np.testing.assert_allclose(values[::2], values[1::2], rtol=2e-5)


METRICS = {
    "BinaryAccuracy": [dict(threshold=0.3)], "CategoricalAccuracy": [{}], "SparseCategoricalAccuracy": [{}],
    "TopKCategoricalAccuracy": [dict(k=2)], "SparseTopKCategoricalAccuracy": [dict(k=2)], "MeanSquaredError": [{}],
    "MeanAbsoluteError": [{}], "BinaryCrossentropy": [dict(label_smoothing=0.1)], "CategoricalCrossentropy": [{}],
    "SparseCategoricalCrossentropy": [{}], "Precision": [{}, dict(thresholds=0.3), dict(class_id=2), dict(thresholds=[0.7, 0.2, 0.5])],
    "Recall": [{}, dict(thresholds=0.3), dict(class_id=2), dict(thresholds=[0.6, 0.3])],
    "AUC": [{}, dict(curve="PR"), dict(num_thresholds=20), dict(multi_label=True), dict(label_weights=[1.0, 2.0, 0.0, 3.0]),
            dict(multi_label=True, num_labels=4, label_weights=[1.0, 2.0, 0.0, 3.0])],
}  # fmt: skip


@pytest.mark.parametrize("name, options", [(name, options) for name, all_ in METRICS.items() for options in all_])
def test_metrics_are_those_of_keras(keras, name, options, rng):
    labels, one_hot, _, p, weight = scored(rng)
    y = labels if name.startswith("Sparse") else one_hot
    results = []
    for made_of in (metrics, keras.metrics):
        for w in (None, weight):
            metric = getattr(made_of, name)(**options)
            for part in np.array_split(np.arange(60), 4):
                metric.update_state(y[part], p[part], None if w is None else w[part])
            results.append(np.asarray(metric.result()))
    np.testing.assert_allclose(results[:2], results[2:], rtol=1e-5)


@pytest.mark.parametrize("name, options", [
    ("ExponentialDecay", (0.1, 10, 0.5)), ("ExponentialDecay", (0.1, 10, 0.5, True)),
    ("PiecewiseConstantDecay", ([3, 8], [0.3, 0.2, 0.1])),
    ("CosineDecay", (0.1, 20)), ("CosineDecay", (0.0, 20, 0.1, dict(warmup_target=0.3, warmup_steps=5))),
    ("PolynomialDecay", (0.1, 10, 0.01, 2.0)), ("PolynomialDecay", (0.1, 10, 0.01, 1.0, True)),
])  # fmt: skip
def test_schedules_are_those_of_keras(keras, name, options):
    *plain, last = options
    named = last if isinstance(last, dict) else {}
    given = plain if named else options
    ours, theirs = (getattr(m, name)(*given, **named) for m in (schedules, keras.optimizers.schedules))
    np.testing.assert_allclose([ours(i) for i in range(35)], [float(theirs(i)) for i in range(35)], rtol=1e-5, atol=1e-8)


# --- callbacks -----------------------------------------------------------------------------------------------------------


class Optimizer:
    learning_rate = 0.1


class Model:
    """What callbacks ask of a network."""

    def __init__(self):
        self.optimizer, self.stop_training, self.number = Optimizer(), False, 0
        self.compiled = True

    def get_weights(self):
        return [np.array(self.number)]

    def set_weights(self, weights):
        self.number = int(weights[0])

    def _restore_weights(self, weights):
        self.set_weights(weights)


def driven(callback, values):
    """Run a callback over an invented validation loss: epochs run, rates, the weights left."""
    model = Model()
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        model.number = epoch
        logs = {"val_loss": value}
        callback.on_epoch_begin(epoch, logs)
        callback.on_epoch_end(epoch, logs)
        rates.append(float(np.asarray(model.optimizer.learning_rate)))
        if model.stop_training:
            break
    callback.on_train_end()
    return len(rates), rates, model.number


STOPS = [dict(patience=p, mode=mode, **more) for p in (0, 1, 3) for mode in ("auto", "min", "max") for more in
         ({}, dict(min_delta=0.2), dict(baseline=0.5), dict(start_from_epoch=3), dict(restore_best_weights=True),
          dict(restore_best_weights=True, start_from_epoch=2, baseline=0.4))]  # fmt: skip
PLATEAUS = [dict(patience=p, factor=f, **more) for p in (1, 3) for f in (0.1, 0.5) for more in
            ({}, dict(cooldown=2), dict(min_lr=0.02), dict(min_delta=0.2), dict(mode="max"))]  # fmt: skip


@pytest.mark.parametrize("name, options", [*(("EarlyStopping", o) for o in STOPS), *(("ReduceLROnPlateau", o) for o in PLATEAUS)])
def test_callbacks_decide_as_those_of_keras(keras, name, options, rng):
    for _ in range(8):
        values = np.round(rng.random(15), 1).tolist()
        ours, theirs = (driven(getattr(m, name)(**options), values) for m in (callbacks, keras.callbacks))
        assert ours[0] == theirs[0] and ours[2] == theirs[2], values
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)
