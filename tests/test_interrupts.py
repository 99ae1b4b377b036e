"""Ctrl-C, at chosen moments rather than at chosen times: in every part of training and using a network.

In the writing of a file: `test_files.py`. In one call of an op: `ops/test_threads.py`. By the clock: `test_callbacks.py`.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys

import numpy as np
import pytest
from harness import ROOT
from nets import compiled, every_layer, images, small

import cnnfast
from cnnfast import callbacks, cli, load_model, saving

X, Y = images()
PACKAGE = str(ROOT / "cnnfast") + os.sep


@pytest.fixture(autouse=True)
def plain_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


def interrupted(moment, call, *arguments, **options):
    """Call, with a Ctrl-C at the beginning of the call of that number of a function of cnnfast, where Python looks for signals.

    Returns whether the call took so long; then it must have ended in KeyboardInterrupt.
    """
    count, tracer = 0, sys.gettrace()

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename.startswith(PACKAGE) and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            count += 1
            if count == moment:
                signal.raise_signal(signal.SIGINT)

    try:
        sys.settrace(trace)
        call(*arguments, **options)
        ended = True
    except KeyboardInterrupt:
        ended = False
    finally:
        sys.settrace(tracer)
    assert ended == (count < moment), "the Ctrl-C was lost" if ended else "there was none"
    return not ended


def test_fit_at_any_moment_leaves_the_weights_of_a_whole_step():
    """And a network that trains on as if nothing had been; whatever part of a step it was, plans and callbacks included."""
    model = compiled(small(), cnnfast.optimizers.Adam(0.01))
    model.fit(X[:16], Y[:16], batch_size=8, epochs=3, verbose=0)  # planned from here on
    content = saving.to_bytes(model)
    after = {}
    note = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: after.setdefault(model.optimizer.iterations, bits(model)))
    after[model.optimizer.iterations] = bits(model)
    model.fit(X[:24], Y[:24], batch_size=8, verbose=0, callbacks=[note])
    moment, seen = 1, set()
    while True:
        model = saving.from_bytes(content)
        if not interrupted(moment, model.fit, X[:24], Y[:24], batch_size=8, verbose=0):
            break
        steps = model.optimizer.iterations
        assert bits(model) == after[steps] and model._clock.step == steps, moment
        seen.add(steps)
        twin = saving.from_bytes(content)
        if steps > min(after):
            twin.fit(X[:24], Y[:24], batch_size=8, verbose=0, callbacks=[Stop(steps)])
        assert model.fit(X, Y, verbose=0).history == twin.fit(X, Y, verbose=0).history, moment
        moment += 2
    assert seen == set(after) and moment > 100


class Stop(callbacks.Callback):
    """Ends the training at a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = self.model.optimizer.iterations == self.step


@pytest.mark.parametrize("what", ["predict", "evaluate", "call"])
def test_using_a_network_at_any_moment_changes_nothing(what):
    """The same answers from the very next call on: of a call that runs eagerly, one that is recorded, one by a plan."""
    use = {"predict": lambda model: model.predict(X, batch_size=24, verbose=0), "call": lambda model: model(X),
           "evaluate": lambda model: np.array(model.evaluate(X, Y, batch_size=24, verbose=0))}[what]  # fmt: skip
    content = saving.to_bytes(compiled(every_layer()))
    expected, moments = use(saving.from_bytes(content)).tobytes(), []
    for calls in range(3):
        moment = 1
        while True:
            model = saving.from_bytes(content)
            for _ in range(calls):
                use(model)
            if not interrupted(moment, use, model):
                break
            assert use(model).tobytes() == expected, (calls, moment)
            moment += 1
        moments.append(moment)
    assert min(moments[:2]) > 10 and moments[2] > (1 if what == "call" else 10)  # a planned call is one of C
    assert saving.to_bytes(model) == content
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


# --- while something is saved --------------------------------------------------------------------------------------------


class Moment:
    """Patches a function so that at its call of a number Ctrl-C comes before it, or after."""

    def __init__(self, monkeypatch, owner, name, number, late):
        self.left, real = number, getattr(owner, name)

        def patched(*arguments, **options):
            self.left -= 1
            if self.left == 0 and not late:
                signal.raise_signal(signal.SIGINT)
            result = real(*arguments, **options)
            if self.left == 0 and late:
                signal.raise_signal(signal.SIGINT)
            return result

        monkeypatch.setattr(owner, name, patched)


MOMENTS = [(owner, name, late) for owner, name in ((saving, "to_bytes"), (os, "open"), (os, "write"), (os, "fsync"), (os, "replace"))
           for late in (False, True)]  # fmt: skip
each_moment = pytest.mark.parametrize("owner, name, late", MOMENTS, ids=lambda v: v if isinstance(v, str) else None)


@each_moment
def test_in_a_checkpoint(tmp_path, monkeypatch, owner, name, late):
    path, model = tmp_path / "m", compiled(small())
    model.build((None, 8, 8, 2))
    model.save(path)
    checkpoint = callbacks.ModelCheckpoint(path, save_freq=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Moment(patch, owner, name, 2, late)
        model.fit(X, Y, batch_size=16, verbose=0, callbacks=[checkpoint])
    assert os.listdir(tmp_path) == ["m"]
    steps = load_model(path)._clock.step
    assert steps in (model._clock.step - 1, model._clock.step) and 0 < model._clock.step < 3
    if steps == model._clock.step:
        assert path.read_bytes() == saving.to_bytes(model)
    twin = compiled(small())
    twin.fit(X, Y, batch_size=16, verbose=0, callbacks=[Stop(model._clock.step)])
    assert bits(model) == bits(twin)
    assert model.fit(X, Y, verbose=0, callbacks=[checkpoint]).history == twin.fit(X, Y, verbose=0).history
    assert path.read_bytes() == saving.to_bytes(model)


@each_moment
def test_in_a_backup(tmp_path, monkeypatch, owner, name, late):
    """Started again, the training ends with the bits of one that nobody interrupted."""
    def train(folder):
        model = compiled(every_layer())
        model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[callbacks.BackupAndRestore(folder, save_freq=2)])
        return bits(model)

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Moment(patch, owner, name, 3, late)
        train(tmp_path / "b")
    assert os.listdir(tmp_path / "b") == ["backup.cnnfast"]
    assert train(tmp_path / "b") == whole


@each_moment
def test_in_the_commands_save(tmp_path, monkeypatch, capsys, owner, name, late):
    """130, one line, and the file is whole or not there."""
    path = tmp_path / "m"
    with monkeypatch.context() as patch:
        Moment(patch, owner, name, 1, late)
        code = cli.main(["train", "--data", "digits", "--epochs", "1", "--out", str(path)])
    out, err = capsys.readouterr()
    assert code == 130 and err.endswith("cnnfast: interrupted\n") and "Traceback" not in err and "saved" not in out
    assert os.listdir(tmp_path) in ([], ["m"])
    if path.exists():
        assert load_model(path).built
