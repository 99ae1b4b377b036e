"""Nasty inputs to networks and training, and the right answer: the exception's exact type and words, the network as it was.

Geometry and dtypes of ops are in `ops/test_nasty_inputs.py`, constructors in `layers/test_errors.py`, what `fit` refuses
about lengths, labels and weights in `test_training.py`, files in `test_saving.py`.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from harness import run_python
from nets import compiled, images, small
from scipy import sparse

from cnnfast import Sequential, callbacks, layers, load_model

X, Y = images()
NAN, INF = X.copy(), X.copy()
NAN[12, 0, 0, 0], INF[3, 1, 1, 1] = np.nan, -np.inf


def fit(x=X, y=Y, **options):
    return lambda model: model.fit(x, y, verbose=0, **options)


def weights(change):
    return lambda model: model.set_weights(change(model.get_weights()))


def add(*parts):
    return lambda model: [model.add(part) for part in parts]


def grown(*parts):
    """A network of its own, from the layers `parts`."""
    return lambda model: Sequential([layers.Input((6, 5, 1)), *parts])


REFUSED = {
    # kinds of object
    "x masked": (fit(np.ma.masked_array(X, X > 1)), TypeError, r"fit: x must not be a masked array .*; use x\.filled\(value\)"),
    "y masked": (fit(y=np.ma.masked_array(Y)), TypeError, "fit: y must not be a masked array"),
    "x sparse": (fit(sparse.csr_array(np.eye(4))), TypeError, r"fit: x must be a dense array, got csr_array; use x\.toarray\(\)"),
    "x ragged": (fit([[1.0, 2.0], [3.0]]), ValueError, "fit: x must be an array, got list: .*inhomogeneous"),
    "x a string": (fit("images.npy"), TypeError, "fit: x must be an array, got str"),
    "x objects": (fit(X.astype(object)), TypeError, "fit: x must be numbers, got dtype object"),
    "x complex": (fit(X.astype(complex)), TypeError, "fit: x must be numbers, got dtype complex128"),
    "x None": (fit(None), ValueError, "fit: x is missing"),
    "x a number": (fit(3.0), ValueError, r"fit: Found array with 0 sample\(s\) \(shape=\(\)\)"),
    "weights strings": (fit(sample_weight=["1"] * 48), TypeError, "fit: sample_weight must be numbers"),
    "weights masked": (fit(sample_weight=np.ma.ones(48)), TypeError, "fit: sample_weight must not be a masked array"),
    "predict masked": (lambda m: m.predict(np.ma.masked_array(X)), TypeError, "predict: x must not be a masked array"),
    "predict None": (lambda m: m.predict(None), ValueError, "predict: x is missing"),
    "batch masked": (lambda m: m.predict_on_batch(np.ma.masked_array(X)), TypeError, "predict_on_batch: x must not be a masked"),
    "call sparse": (lambda m: m(sparse.csr_array(np.eye(4))), TypeError, "Sequential: x must be a dense array, got csr_array"),
    "call text": (lambda m: m.layers[0](X.astype(str)), TypeError, "Conv2D: x must be numbers, got dtype <U"),
    "train a generator": (lambda m: m.train_on_batch(iter([X])), ValueError, "train_on_batch: y is missing"),
    "evaluate nothing": (lambda m: m.evaluate([], verbose=0), ValueError, "evaluate: x yielded no batch"),
    "predict nothing": (lambda m: m.predict(iter([]), verbose=0), ValueError, "predict: x yielded no batch"),
    # values
    "x NaN": (fit(NAN), FloatingPointError, "loss became nan at epoch 1, batch [12]; x of this batch contains NaN or infinity"),
    "x NaN looked for": (fit(NAN, check_finite=True), ValueError, "fit: x contains NaN at sample 12"),
    "x infinite": (fit(INF, check_finite=True), ValueError, "fit: x contains infinity at sample 3"),
    "validation NaN": (fit(validation_data=(NAN, Y), check_finite=True), ValueError, "validation_data: x contains NaN at sample 12"),
    "labels too large": (fit(y=Y.astype(np.uint64) + 2**63), ValueError, r"label 9223372036854775808 at index 0 is outside 0…2"),
    "labels 1.5": (fit(y=Y + 1.5), ValueError, r"labels must be whole numbers, got \d\.5 at index 0"),
    "labels NaN": (fit(y=np.where(Y == 1, np.nan, Y)), ValueError, r"y contains nan at sample \d+"),
    "labels bool": (fit(y=Y > 0), TypeError, "labels must be integers, got dtype bool"),
    "labels text": (fit(y=Y.astype(str)), TypeError, "labels must be integers, got dtype <U"),
    # numbers of batches and epochs
    "steps 0": (fit(steps_per_epoch=0), ValueError, "fit: steps_per_epoch must be positive, got 0"),
    "steps 1.5": (fit(steps_per_epoch=1.5), TypeError, "fit: steps_per_epoch must be an int, got 1.5"),
    "batch_size text": (fit(batch_size="8"), TypeError, "fit: batch_size must be an int, got '8'"),
    "initial_epoch -1": (fit(initial_epoch=-1), ValueError, "fit: initial_epoch must be at least 0, got -1"),
    "validation_freq 0": (fit(validation_freq=0), ValueError, "fit: validation_freq must be positive, got 0"),
    "split text": (fit(validation_split="0.5"), ValueError, "validation_split must be 0 <= validation_split < 1, got '0.5'"),
    "predict batch_size": (lambda m: m.predict(X, batch_size=-1), ValueError, "predict: batch_size must be positive, got -1"),
    "evaluate lengths": (lambda m: m.evaluate(X, Y[:3]), ValueError, "evaluate: x has 48 samples, y has 3"),
    "a keyword": (fit(epoch=3), TypeError, "epoch"),
    # layers and weights
    "add a number": (add(3), TypeError, "Sequential: layer must be a Layer, got 3"),
    "add a class": (add(layers.Dense), TypeError, "Sequential: layer must be a Layer, got <class"),
    "add twice": (lambda m: m.add(m.layers[-1]), ValueError, 'Sequential: layer "dense" is in the network already'),
    "add a name": (add(layers.Dense(3, name="dense")), ValueError, 'Sequential: two layers of the name "dense"'),
    "add what doesn't fit": (add(layers.Conv2D(2, 3)), ValueError, r'layer "conv2d_1": expected an input of 4 dimensions, got \(None, 3\)'),
    "an Input inside": (add(layers.Input((3,))), ValueError, "Sequential: an Input must come first, and once"),
    "no pixel left": (grown(layers.MaxPooling2D(2), layers.Conv2D(1, 3, name="c")), ValueError,
                      r'layer "c": .* does not fit into the input \(None, 3, 2, 1\)'),
    "no pixel of a pool": (grown(layers.MaxPooling2D(7)), ValueError, r'layer "max_pooling2d": .* \(None, 6, 5, 1\)'),
    "weights too few": (weights(lambda w: w[:-1]), ValueError, "set_weights: expected 4 arrays, got 3"),
    "weights of another shape": (weights(lambda w: [*w[:-1], w[-1][:2]]), ValueError, r"'bias' has shape \(3,\), got \(2,\)"),
    "weights text": (weights(lambda w: [*w[:-1], w[-1].astype(str)]), ValueError, "'bias' must be finite numbers"),
    "weights NaN": (weights(lambda w: [*w[:-1], w[-1] * np.nan]), ValueError, "'bias' must be finite numbers"),
    "weights a number": (lambda m: m.set_weights(3), TypeError, "not iterable"),
    "another size": (lambda m: m.predict(X[:, :, :7]), ValueError, r"expected an input of \(None, 8, 8, 2\), got \(48, 8, 7, 2\)"),
    "no layers": (lambda m: Sequential().predict(X), ValueError, "predict: the network has no layers"),
    "not built": (lambda m: Sequential([layers.Dense(2)]).predict(X), RuntimeError,
                  "predict: the network has no weights yet: call fit or build first"),
    "not compiled": (lambda m: small().evaluate(X, Y), RuntimeError, "evaluate: call compile first"),
    "not a network": (lambda m: m.load_weights("/nowhere/at all"), FileNotFoundError, "at all"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, error, message = REFUSED[case]
    model = compiled(small())
    before, steps = [w.tobytes() for w in model.get_weights()], len(model.layers)
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert caught.type is error
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
    assert len(model.layers) == steps
    if error is not FloatingPointError:
        assert [w.tobytes() for w in model.get_weights()] == before
    assert model.fit(X, Y, verbose=0).epoch == [0]
    assert np.isfinite(model.predict(X, verbose=0)).all()


def test_a_second_fit_in_another_thread_is_refused():
    model, inside, go_on = compiled(small()), threading.Event(), threading.Event()

    class Waits(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            inside.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=lambda: model.fit(X, Y, verbose=0, callbacks=[Waits()]))
    thread.start()
    assert inside.wait(60)
    for call in (lambda: model.fit(X, Y, verbose=0), lambda: model.train_on_batch(X, Y)):
        with pytest.raises(RuntimeError, match="fit is already running on this model"):
            call()
    assert model.predict(X, verbose=0).shape == (48, 3)  # meanwhile, between two steps
    go_on.set()
    thread.join(60)
    assert not thread.is_alive() and model.fit(X, Y, verbose=0).epoch == [0]


def test_a_callback_that_sets_weights_is_heard():
    model = compiled(small())

    class Zeroes(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.set_weights([np.zeros_like(w) for w in self.model.get_weights()])

    model.fit(X, Y, verbose=0, callbacks=[Zeroes()])
    assert all(not w.any() for w in model.get_weights())


def test_data_larger_than_memory_streams_through(tmp_path):
    """1 TiB of images in a file without blocks: batches are read one by one."""
    code = f"""
import resource, numpy as np
from nets import compiled
from cnnfast import Sequential, layers
samples = 2**24
x = np.memmap({str(tmp_path / "x")!r}, np.float32, "w+", shape=(samples, 64, 64, 4))
x.flags.writeable = False
y = np.zeros(samples, np.uint8)
model = compiled(Sequential([layers.Input((64, 64, 4)), layers.Conv2D(2, 3, strides=8), layers.Flatten(),
                             layers.Dense(3, activation="softmax")], seed=0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
history = model.fit(x, y, batch_size=16, steps_per_epoch=3, shuffle=False, verbose=0)
model.evaluate(x, y, steps=2, verbose=0)
assert model.predict(x, steps=2, verbose=0).shape == (64, 3)
print(history.epoch, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    run = run_python(code)
    assert run.returncode == 0, run.stderr
    epochs, grown_by = run.stdout.rsplit(maxsplit=1)
    assert epochs == "[0]" and int(grown_by) < 512  # MiB; a check of the labels takes 128


def test_a_very_wide_input_and_one_of_a_thousand_channels():
    model = compiled(Sequential([layers.Input((100_000,)), layers.Dense(3, activation="softmax")], seed=0))
    model.fit(np.ones((4, 100_000), np.float32), np.zeros(4, int), verbose=0)
    deep = Sequential([layers.Input((3, 3, 1000)), layers.Conv2D(2, 3), layers.Flatten()], seed=0)
    assert deep.predict(np.ones((1, 3, 3, 1000)), verbose=0).shape == (1, 2)


def test_models_may_live_until_the_interpreter_ends(tmp_path):
    """In a global, in a cycle, in a thread that still runs, with a `__del__` that predicts."""
    code = f"""
import atexit, threading, numpy as np
from nets import compiled, images, small
x, y = images()

class Owner:
    def __init__(self, model):
        self.model, self.me = model, self

    def __del__(self):
        self.model.predict(x, verbose=0)

model = compiled(small())
model.fit(x, y, verbose=0)
model.own = model
owner = Owner(model)
atexit.register(lambda: model.save({str(tmp_path / "m")!r}))
threading.Thread(target=lambda: [model.predict(x, verbose=0) for _ in iter(int, 1)], daemon=True).start()
print("end")
"""
    run = run_python(code)
    assert (run.returncode, run.stdout, run.stderr) == (0, "end\n", "")
    assert load_model(tmp_path / "m").predict(X, verbose=0).shape == (48, 3)
