"""compile, fit, evaluate, predict: what they compute, what they refuse, and what a failure leaves behind."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from harness import run_python
from nets import compiled, every_layer, images, small
from processes import fork

import cnnfast
from cnnfast import Sequential, callbacks, layers, losses, optimizers

X, Y = images()


def quiet(model, *arguments, **options):
    return model.fit(*arguments, verbose=0, **options)


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


# --- learning ------------------------------------------------------------------------------------------------------------


def test_learns_and_history_has_keras_names():
    model = compiled(small())
    model.optimizer.learning_rate = 0.01
    history = quiet(model, X, Y, epochs=30, batch_size=8, validation_split=0.25)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.epoch == list(range(30)) and all(len(v) == 30 for v in history.history.values())
    assert history.history["accuracy"][-1] == 1.0 and model.evaluate(X, Y, verbose=0)[1] > 0.9
    assert model.history is history


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", optimizers.SGD(0.05, momentum=0.9, nesterov=True)])
def test_every_optimizer_learns(optimizer):
    model = compiled(small(), optimizer)
    model.optimizer.learning_rate *= 5
    history = quiet(model, X, Y, epochs=15, batch_size=8)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


@pytest.mark.parametrize("activation, loss, target", [
    ("softmax", "sparse_categorical_crossentropy", "labels"),
    ("softmax", "categorical_crossentropy", "one-hot"),
    (None, losses.SparseCategoricalCrossentropy(from_logits=True), "labels"),
    ("sigmoid", "binary_crossentropy", "one-hot"),
    (None, "mse", "one-hot"),
    ("tanh", "mae", "one-hot"),
    (None, "huber", "one-hot"),
])  # fmt: skip
def test_every_loss_learns(activation, loss, target):
    y = Y if target == "labels" else np.eye(3)[Y]
    model = compiled(small(activation=activation), loss=loss, metrics=["accuracy", "mse"] if target == "one-hot" else ["acc"])
    model.optimizer.learning_rate = 0.005
    history = quiet(model, X, y, epochs=15, batch_size=8).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert "acc" in history or ("accuracy" in history and "mse" in history)


def test_fused_loss_is_the_plain_one_and_predict_still_gives_probabilities():
    """The same network and weights, once with softmax in its last layer and once with the loss taking logits."""
    fused = compiled(small(activation="softmax"))
    by_layer = compiled(Sequential([*small(activation=None).layers, layers.Softmax()]))
    plain = compiled(small(activation=None), loss=losses.SparseCategoricalCrossentropy(from_logits=True))
    by_layer.build((None, 8, 8, 2))
    for model in (by_layer, plain):
        model.set_weights(fused.get_weights())
    histories = [quiet(model, X, Y, epochs=3, shuffle=False).history for model in (fused, plain, by_layer)]
    assert histories[0] == histories[1] == histories[2]
    np.testing.assert_allclose(fused.predict(X, verbose=0).sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(fused.predict(X, verbose=0), by_layer.predict(X, verbose=0))


def test_a_saturated_softmax_has_a_finite_loss():
    model = compiled(small())
    model.set_weights([w * 1e4 for w in model.get_weights()])
    assert np.isfinite(model.evaluate(X * 1e3, Y, verbose=0)[0])
    quiet(model, X * 1e3, Y)


def test_one_step_is_gradient_descent_on_the_mean_loss(rng):
    model = compiled(Sequential([layers.Input((4,)), layers.Dense(2)], seed=0, dtype="float64"), optimizers.SGD(0.5), "mse", [])
    x, y, w = rng.standard_normal((6, 4)), rng.standard_normal((6, 2)), rng.random(6) + 0.1
    kernel, bias = model.get_weights()
    loss = model.train_on_batch(x, y, sample_weight=w)
    error = x @ kernel + bias - y
    assert loss == pytest.approx((w * (error**2).mean(1)).mean(), rel=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.5 * x.T @ (w[:, None] * error) / 6, rtol=1e-10)
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.5 * (w[:, None] * error).sum(0) / 6, rtol=1e-10)


def test_class_weight_is_a_sample_weight():
    weight = {0: 2.0, 2: 0.5}
    a, b, c = (compiled(small()) for _ in range(3))
    one = quiet(a, X, Y, epochs=2, class_weight=weight).history
    two = quiet(b, X, Y, epochs=2, sample_weight=np.array([2.0, 1.0, 0.5])[Y]).history
    three = quiet(c, X, np.eye(3)[Y].argmax(1)[:, None], epochs=2, class_weight=weight).history
    assert one == two == three
    assert bits(a) == bits(b) == bits(c)
    assert a.train_on_batch(X, Y, class_weight=weight) == b.train_on_batch(X, Y, sample_weight=np.array([2, 1, 0.5])[Y])


def test_weighted_metrics():
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    right = model.predict(X, verbose=0).argmax(1) == Y
    w = np.where(right, 3.0, 1.0)
    scores = model.evaluate(X, Y, sample_weight=w, return_dict=True, verbose=0)
    assert scores["accuracy"] == pytest.approx(right.mean())
    assert scores["weighted_accuracy"] == pytest.approx((w * right).sum() / w.sum())


def test_batch_normalization_moves_its_averages_once_a_step():
    model = compiled(Sequential([layers.Input((5,)), layers.BatchNormalization(momentum=0.5), layers.Dense(1)], seed=0),
                     loss="mse", metrics=[])  # fmt: skip
    x = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32) * 3 + 1
    model.forward(x, training=True)
    np.testing.assert_array_equal(model.get_weights()[2], 0)  # not by a forward alone
    model.train_on_batch(x, np.zeros(16))
    np.testing.assert_allclose(model.get_weights()[2], x.mean(0) / 2, rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[3], (1 + x.var(0)) / 2, rtol=1e-5)
    model.layers[0].trainable = False
    before = model.get_weights()[:4]
    model.train_on_batch(x, np.zeros(16))
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_dropout_draws_anew_in_every_step_and_layer():
    model = compiled(Sequential([layers.Input((64,)), layers.Dropout(0.5), layers.Dropout(0.5), layers.Dense(1)], seed=0),
                     loss="mse", metrics=[])  # fmt: skip
    x = np.ones((8, 64), np.float32)
    first, again = model.layers[0].forward(x, training=True), model.layers[0].forward(x, training=True)
    np.testing.assert_array_equal(first, again)
    assert set(np.unique(first)) == {0, 2}
    assert (first != model.layers[1].forward(x, training=True)).any()
    model.train_on_batch(x, np.zeros(8))
    assert (first != model.layers[0].forward(x, training=True)).any()


# --- determinism ---------------------------------------------------------------------------------------------------------


def test_same_bits_for_any_number_of_threads():
    x, y = images(40)
    results = []
    for threads in (1, 2, 3, 5):
        with cnnfast.threads(threads):
            model = compiled(every_layer())
            history = quiet(model, x, y, epochs=5, batch_size=20)
            results.append((history.history, bits(model), [s.tobytes() for s in model.optimizer.state.values()],
                            model.predict(x, verbose=0).tobytes()))  # fmt: skip
    assert model._clock.step == 10
    assert results[0] == results[1] == results[2] == results[3]


def test_a_sample_is_predicted_alike_in_any_batch():
    model = compiled(every_layer())
    x, y = images(40)
    quiet(model, x, y)
    whole = model.predict(x, verbose=0)
    for size in (1, 2, 3, 7, 40):
        np.testing.assert_array_equal(model.predict(x, batch_size=size, verbose=0), whole)
    for i in range(0, 40, 7):
        np.testing.assert_array_equal(model.predict(x[i : i + 1], verbose=0)[0], whole[i])
        np.testing.assert_array_equal(model(x[i : i + 1])[0], whole[i])


def test_one_fit_is_two_fits():
    """Shuffling and dropout go on from where they were."""
    once, twice = compiled(every_layer()), compiled(every_layer())
    quiet(once, X, Y, epochs=4)
    quiet(twice, X, Y, epochs=2)
    quiet(twice, X, Y, epochs=4, initial_epoch=2)
    assert bits(once) == bits(twice)
    other = compiled(every_layer())
    quiet(other, X, Y, epochs=4, shuffle=False)
    assert bits(other) != bits(once)


def test_data_in_any_form_gives_the_same_bits(tmp_path):
    np.save(tmp_path / "x.npy", X)
    forms = [X, X.astype(np.float64), X[::-1][::-1], np.asfortranarray(X), X.tolist(), np.load(tmp_path / "x.npy", mmap_mode="r")]
    results = []
    for x in forms:
        model = compiled(small())
        quiet(model, x, Y if x is X else Y.tolist(), batch_size=20)
        results.append(bits(model))
    assert all(result == results[0] for result in results)
    model = compiled(small())
    batches = [(X[i : i + 20], Y[i : i + 20]) for i in (0, 20, 40)]
    quiet(model, batches, epochs=2)
    generator, plain = compiled(small()), compiled(small())
    quiet(generator, itertools.cycle(batches), epochs=2, steps_per_epoch=3)
    quiet(plain, X, Y, batch_size=20, epochs=2, shuffle=False)
    assert bits(model) == bits(generator) == bits(plain)
    assert model.evaluate(batches, verbose=0) == model.evaluate(X, Y, batch_size=20, verbose=0)
    np.testing.assert_array_equal(model.predict((x for x, _ in batches), verbose=0), model.predict(X, verbose=0))


def test_integer_images_are_cast_batch_by_batch():
    model = compiled(small())
    x = (X * 100).astype(np.int8)
    quiet(model, x, Y)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x.astype(np.float64), verbose=0))


# --- evaluate, predict, one batch ----------------------------------------------------------------------------------------


def test_forms_of_scores():
    model = compiled(small())
    loss, accuracy = model.evaluate(X, Y, verbose=0, batch_size=7)
    assert model.evaluate(X, Y, verbose=0, return_dict=True, batch_size=7) == {"loss": loss, "accuracy": accuracy}
    assert model.test_on_batch(X, Y) == pytest.approx([loss, accuracy], rel=1e-6)
    assert model.metrics_names == ["loss", "accuracy"]
    model.compile("adam", "sparse_categorical_crossentropy")
    assert model.evaluate(X, Y, verbose=0, batch_size=7) == loss
    assert model.train_on_batch(X, Y, return_dict=True) == {"loss": pytest.approx(loss, rel=1e-6)}
    assert model.evaluate(X, Y, steps=2, batch_size=8, verbose=0) == pytest.approx(
        model.evaluate(X[:16], Y[:16], verbose=0), rel=1e-12)  # fmt: skip
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X, verbose=0))


def test_accuracy_is_the_one_that_the_targets_ask_for():
    p = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])
    for y_true, y_pred, kind in ((np.array([1, 0, 1]), p, "SparseCategoricalAccuracy"),
                                 (np.array([[1], [0], [1]]), p, "SparseCategoricalAccuracy"),
                                 (np.eye(2)[[1, 0, 1]], p, "CategoricalAccuracy"),
                                 (np.array([[1], [1], [0]]), p[:, 1:], "BinaryAccuracy")):  # fmt: skip
        metric = cnnfast.metrics.for_network("accuracy", y_true, y_pred)
        assert type(metric).__name__ == kind and metric.name == "accuracy"
        metric.update_state(y_true, y_pred)
        assert metric.result() == pytest.approx({"BinaryAccuracy": 2 / 3}.get(kind, 2 / 3))


# --- errors --------------------------------------------------------------------------------------------------------------

ONE_HOT = np.eye(3)[Y]


def with_nan(array, sample):
    array = array.astype(np.float32)
    array[sample] = np.nan
    return array


REFUSED = {
    "lengths": (dict(y=Y[:9]), ValueError, "fit: x has 48 samples, y has 9"),
    "no samples": (dict(x=X[:0], y=Y[:0]), ValueError, r"Found array with 0 sample\(s\)"),
    "x of strings": (dict(x=np.full((48, 8, 8, 2), "a")), TypeError, "x must be numbers"),
    "x of another shape": (dict(x=X[:, 1:]), ValueError, "expected an input of"),
    "x without batch": (dict(x=X[0], y=Y[:8]), ValueError, "the network takes"),
    "y missing": (dict(y=None), ValueError, "y is missing"),
    "batch_size 0": (dict(batch_size=0), ValueError, "batch_size must be positive, got 0"),
    "batch_size -1": (dict(batch_size=-1), ValueError, "batch_size must be positive"),
    "batch_size 2.0": (dict(batch_size=2.0), TypeError, "batch_size must be an int, got 2.0"),
    "epochs -1": (dict(epochs=-1), ValueError, "epochs must be at least 0"),
    "epochs True": (dict(epochs=True), TypeError, "epochs must be an int"),
    "split 0.999": (dict(validation_split=0.999), ValueError, "leaves no sample"),
    "split 1.0": (dict(validation_split=1.0), ValueError, "0 <= validation_split < 1, got 1.0"),
    "split -0.1": (dict(validation_split=-0.1), ValueError, "0 <= validation_split < 1"),
    "label 3": (dict(y=np.where(np.arange(48) == 7, 3, Y)), ValueError, "label 3 at index 7 is outside 0…2"),
    "label -1": (dict(y=np.where(np.arange(48) == 5, -1, Y)), ValueError, "label -1 at index 5 is outside"),
    "label 1.5": (dict(y=Y + 0.5), ValueError, "labels must be whole numbers"),
    "label NaN": (dict(y=with_nan(Y, 4)), ValueError, "y contains nan at sample 4"),
    "labels bool": (dict(y=Y > 0), TypeError, "labels must be integers, got dtype bool"),
    "labels text": (dict(y=Y.astype(str)), TypeError, "labels must be integers"),
    "one-hot": (dict(y=ONE_HOT), ValueError, "for one-hot targets use categorical_crossentropy"),
    "weight -1": (dict(sample_weight=-np.ones(48)), ValueError, "sample_weight must be finite and not negative"),
    "weight NaN": (dict(sample_weight=np.full(48, np.nan)), ValueError, "sample_weight must be finite"),
    "weights 0": (dict(sample_weight=np.zeros(48)), ValueError, "sample_weight must not be all zero"),
    "weights 47": (dict(sample_weight=np.ones(47)), ValueError, r"sample_weight must have shape \(48,\), got \(47,\)"),
    "class weight": (dict(class_weight={0: -1}), ValueError, "class_weight must be finite and not negative"),
    "class weight list": (dict(class_weight=[1, 2, 3]), TypeError, "class_weight must be a dict"),
    "NaN in x": (dict(x=with_nan(X, 12), check_finite=True), ValueError, "x contains NaN at sample 12"),
    "verbose 3": (dict(verbose=3), ValueError, "verbose must be"),
    "on_nonfinite": (dict(on_nonfinite="stop"), ValueError, "on_nonfinite must be"),
    "callback": (dict(callbacks=[3]), TypeError, "callbacks must be Callback objects"),
    "validation labels": (dict(validation_data=(X, Y + 3)), ValueError, "outside 0…2"),
    "validation lengths": (dict(validation_data=(X, Y[:3])), ValueError, "fit: validation_data: x has 48 samples, y has 3"),
    "generator": (dict(x=((X, Y) for _ in range(3)), y=None), ValueError, "steps_per_epoch is needed"),
    "cycle": (dict(x=itertools.cycle([(X, Y)]), y=None), ValueError, "steps_per_epoch is needed"),
    "yields nothing": (dict(x=[], y=None), ValueError, "yielded no batch"),
    "yields one part": (dict(x=[(X,)], y=None), ValueError, "batch 1: must be"),
    "yields another shape": (dict(x=[(X, Y)] * 6 + [(X[:, 1:], Y)], y=None), ValueError, "fit: batch 7: "),
    "yields lengths": (dict(x=[(X, Y)] * 6 + [(X, Y[1:])], y=None), ValueError, "batch 7: x has 48 samples, y has 47"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_fit_refuses(case):
    options, error, message = REFUSED[case]
    model = compiled(small())
    before = bits(model)
    with pytest.raises(error, match=message):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **options})
    if not case.startswith("yields") or case == "yields one part":
        assert bits(model) == before
    quiet(model, X, Y)  # still usable


def test_other_misuse():
    model = small()
    with pytest.raises(RuntimeError, match="fit: call compile first"):
        model.fit(X, Y)
    with pytest.raises(RuntimeError, match="evaluate: call compile first"):
        model.evaluate(X, Y)
    for arguments, error, message in (
        (dict(loss=None), TypeError, "loss is missing"),
        (dict(loss="mean_square"), ValueError, "unknown loss 'mean_square'; choose from"),
        (dict(loss=lambda y, p: 0), TypeError, "subclass losses.Loss"),
        (dict(optimizer="adm", loss="mse"), ValueError, "unknown optimizer"),
        (dict(optimizer=3, loss="mse"), TypeError, "optimizer must be a name or a Optimizer|optimizer must be"),
        (dict(loss="mse", metrics="accuracy"), TypeError, "metrics must be a list"),
        (dict(loss="mse", metrics=["acuracy"]), ValueError, "unknown metric"),
        (dict(loss="mse", run=1), TypeError, "run"),
    ):
        with pytest.raises(error, match=message):
            model.compile(**arguments)
    assert not model.compiled
    compiled(model)
    assert quiet(model, X, Y, epochs=0).history == {}
    assert quiet(model, X[:1], Y[:1], batch_size=500).epoch == [0]
    with pytest.raises(ValueError, match="x has shape|got x of shape"):
        model.predict(X[0])
    categorical = compiled(small(), loss="categorical_crossentropy")
    with pytest.raises(ValueError, match="for integer labels use sparse_categorical_crossentropy"):
        categorical.fit(X, Y)
    binary = compiled(small(classes=1, activation="sigmoid"), loss="binary_crossentropy")
    with pytest.raises(ValueError, match="target 2.0 at index .* is outside 0…1"):
        binary.fit(X, Y)
    quiet(binary, X, Y > 0)
    with pytest.raises(ValueError, match="one value a channel has no variance"):
        compiled(Sequential([layers.Input((2,)), layers.BatchNormalization(), layers.Dense(1)]), loss="mse").fit(
            np.ones((1, 2)), np.ones(1), verbose=0)  # fmt: skip


@pytest.mark.parametrize("value, error", [(-1, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("fast", TypeError),
                                          (None, TypeError), (True, TypeError)])  # fmt: skip
def test_learning_rates(value, error):
    for make in (optimizers.SGD, optimizers.Adam, optimizers.AdamW, optimizers.RMSprop):
        with pytest.raises(error, match="learning_rate must be"):
            make(value)
        optimizer = make(0)
        with pytest.raises(error, match="learning_rate must be"):
            optimizer.learning_rate = value
    model = compiled(small(), optimizers.SGD(0.0))
    before = bits(model)
    quiet(model, X, Y)
    assert bits(model) == before


def test_user_errors_pass_unchanged():
    class Boom(Exception):
        pass

    def generator():
        yield X, Y
        raise Boom

    class Raises(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise Boom

    model = compiled(small())
    for options in (dict(x=generator(), steps_per_epoch=5), dict(x=X, y=Y, callbacks=[Raises()])):
        with pytest.raises(Boom):
            model.fit(**options, verbose=0)
    quiet(model, X, Y)


def test_a_generator_that_ends_early_stops_training():
    model = compiled(small())
    with pytest.warns(UserWarning, match="ended after 2 of 5 steps"):
        history = quiet(model, iter([(X, Y), (X, Y)]), steps_per_epoch=5, epochs=3)
    assert history.epoch == [0]


# --- what is not finite --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_keeps_the_last_good_step():
    x = np.tile(X, (2, 1, 1, 1))
    y = np.tile(Y, 2)
    model, reference = compiled(every_layer()), compiled(every_layer())
    batches = [(x[:8], y[:8])] * 16 + [(with_nan(x[:8], 3), y[:8])]
    quiet(reference, batches[:16])
    with pytest.raises(FloatingPointError, match=r"loss became nan at epoch 1, batch 17; x .* first at its sample 3"):
        quiet(model, batches)
    assert bits(model) == bits(reference) and model._clock.step == 16
    assert quiet(model, x, y).history == quiet(reference, x, y).history
    with pytest.warns(RuntimeWarning, match="loss became nan at epoch 1, batch 17"):
        quiet(reference, batches, on_nonfinite="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet(compiled(every_layer()), batches, on_nonfinite="ignore")


def test_a_gradient_that_overflows_does_too():
    model = compiled(Sequential([layers.Input((2,)), layers.Dense(1), layers.Dense(1)], seed=0), "sgd", "mse", [])
    model.set_weights([np.full((2, 1), 1e-19), [0], [[1]], [0]])
    before = bits(model)
    with pytest.raises(FloatingPointError, match="gradient became (inf|nan) at step 1"):
        model.train_on_batch(np.full((4, 2), 1e29), np.zeros(4))
    assert bits(model) == before


def test_ctrl_c_at_any_instruction_leaves_no_lock_held():
    """Hundreds of interrupts, half a millisecond to four apart: the model trains and predicts in the very except clause."""
    child = run_python("""
import random, signal
from nets import compiled, images, small
import cnnfast
cnnfast.set_num_threads(1)
x, y = images(8)
model = compiled(small())
model.fit(x, y, verbose=0)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
random.seed(1)
count = 0
while count < 250:
    work = random.choice([model.fit, model.evaluate, lambda x, y, verbose: model.predict(x, verbose=verbose)])
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.004))
        while True:
            work(x, y, verbose=0)
    except KeyboardInterrupt:
        model.train_on_batch(x, y)
        model.predict_on_batch(x)
        count += 1
""")
    assert child.returncode == 0, child.stderr


# --- concurrency ---------------------------------------------------------------------------------------------------------


def test_one_fit_at_a_time():
    model = compiled(small())
    seen = []

    class FitsAgain(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            for call in (lambda: model.fit(X, Y), lambda: model.train_on_batch(X, Y)):
                with pytest.raises(RuntimeError, match="fit is already running on this model"):
                    call()
                seen.append(1)

    quiet(model, X, Y, callbacks=[FitsAgain()])
    assert len(seen) == 4


def test_predict_sees_the_weights_of_whole_steps():
    """Weights that are all equal after every step: a prediction from a mixture would show."""
    model = compiled(Sequential([layers.Input((64,)), *[layers.Dense(64, use_bias=False, kernel_initializer="ones")
                                 for _ in range(3)]], seed=0), optimizers.SGD(0.0, momentum=0.0), "mse", [])  # fmt: skip

    class Moves(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            value = 1.0 if batch % 2 else 2.0
            model.set_weights([np.full(w.shape, value) for w in model.get_weights()])

    allowed = {64.0**3, (2 * 64.0) ** 3}
    done, bad = threading.Event(), []

    def predict():
        while not done.is_set():
            bad.extend(set(np.unique(model.predict(np.ones((3, 64)), verbose=0))) - allowed)

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        quiet(model, np.zeros((400, 64)), np.zeros((400, 64)), batch_size=1, callbacks=[Moves()])
    finally:
        done.set()
        for thread in threads:
            thread.join(120)
    assert not bad and not any(thread.is_alive() for thread in threads)


def test_many_threads_predict_with_one_model():
    """24 Python threads that start together and are switched as often as Python can."""
    model = every_layer()
    expected = model.predict(X, verbose=0)
    start, failures, done = threading.Barrier(24), [], []

    def work():
        start.wait()
        for i in range(20):
            if not (model.predict(X, verbose=0) == expected).all() or not (model(X[i : i + 1]) == expected[i]).all():
                failures.append(1)
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(24)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(before)
    assert not failures and len(done) == 24
    assert all(layer._saved is None for layer in model.layers)


def test_a_forked_child_goes_on(tmp_path):
    model = compiled(every_layer())
    quiet(model, X, Y)
    expected = model.predict(X, verbose=0)
    child = fork()
    if child == 0:
        same = (model.predict(X, verbose=0) == expected).all()
        quiet(model, X, Y)
        os._exit(0 if same else 1)
    for _ in range(20_000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError("the child hangs")
    assert status == 0
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)


# --- callbacks, progress -------------------------------------------------------------------------------------------------


def test_callbacks_are_called_in_keras_order():
    calls = []

    class Spy(callbacks.Callback):
        pass

    for moment in [name for name in dir(callbacks.Callback) if name.startswith("on_")]:
        if moment not in ("on_batch_begin", "on_batch_end"):
            setattr(Spy, moment, lambda self, *a, moment=moment: calls.append((moment, *[v for v in a if isinstance(v, int)])))
    model = compiled(small())
    spy = Spy()
    quiet(model, X[:32], Y[:32], batch_size=16, epochs=1, validation_data=(X[:8], Y[:8]), callbacks=[spy])
    assert calls == [
        ("on_train_begin",), ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0), ("on_train_batch_end", 0), ("on_train_batch_begin", 1), ("on_train_batch_end", 1),
        ("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0), ("on_test_end",),
        ("on_epoch_end", 0), ("on_train_end",),
    ]  # fmt: skip
    assert spy.model is model and spy.params == {"epochs": 1, "steps": 2, "verbose": 0}
    calls.clear()
    model.predict(X[:8], callbacks=[spy], verbose=0)
    assert [c[0] for c in calls] == ["on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"]


def test_stop_training_and_logs():
    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert set(logs) == {"loss", "accuracy"}
            self.model.stop_training = batch == 1

        def on_epoch_end(self, epoch, logs=None):
            logs["own"] = 7.0

    history = quiet(compiled(small()), X, Y, batch_size=8, epochs=5, callbacks=[Stop()])
    assert history.epoch == [0] and history.history["own"] == [7.0]


def test_progress(capsys):
    model = compiled(small())
    model.fit(X, Y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("Epoch 2/2 - ") and " - accuracy: " in lines[1]
    model.fit(X, Y, epochs=1, validation_split=0.5, verbose=1)
    model.evaluate(X, Y, verbose=1)
    model.predict(X, verbose=1)
    bar = capsys.readouterr().out
    assert "Epoch 1/1: 100%" in bar and "val_loss" in bar and "Evaluate: 100%" in bar and "Predict: 100%" in bar
    model.fit(X, Y)
    model.predict(X)
    assert len(capsys.readouterr().out.splitlines()) == 1
    model.fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""
