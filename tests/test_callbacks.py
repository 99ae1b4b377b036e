"""Callbacks, resuming after kills, Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from harness import ROOT
from nets import compiled, every_layer, images, small
from processes import fork

from cnnfast import ModelFileError, Sequential, callbacks, layers, load_model, optimizers, saving, schedules, tensorfile

X, Y = images()


def quiet(model, *callbacks_, epochs=1, **options):
    return model.fit(X, Y, verbose=0, epochs=epochs, callbacks=list(callbacks_), **options)


class Logs(callbacks.Callback):
    """Puts numbers into the logs, one an epoch."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


# --- early stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values, options, epochs", [
    ([5, 4, 3, 2, 1], dict(patience=1), 5),
    ([5, 4, 4.5, 4.4, 1], dict(patience=2), 4),
    ([5, 4, 4.5, 3, 3.5, 3.4, 0], dict(patience=2), 6),
    ([5, 4, 3.9, 3.8, 0], dict(patience=2, min_delta=0.5), 4),
    ([1, 2, 3, 2, 9], dict(patience=1, mode="max"), 4),
    ([5, 4, 4, 4, 1], dict(), 3),
    ([5, float("nan"), float("nan"), 1], dict(patience=2), 3),
    ([9, 8, 7, 6, 5], dict(patience=2, baseline=3), 5),
    ([9, 8, 8, 6, 5], dict(patience=2, baseline=3), 3),
    ([9, 2, 3, 3, 1], dict(patience=2, baseline=3), 4),
    ([1, 5, 5, 5, 5, 0], dict(patience=1, start_from_epoch=3), 5),
])  # fmt: skip
def test_early_stopping(values, options, epochs):
    stop = callbacks.EarlyStopping(**options)
    history = quiet(compiled(small()), Logs(values), stop, epochs=len(values))
    assert len(history.epoch) == epochs
    assert stop.stopped_epoch == (epochs - 1 if epochs < len(values) else 0)


def test_early_stopping_restores_the_best_weights(capsys):
    seen = []
    keep = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append([w.copy() for w in model.get_weights()]))
    model = compiled(small())
    stop = callbacks.EarlyStopping("accuracy", patience=2, restore_best_weights=True, verbose=1)
    quiet(model, Logs([0.2, 0.9, 0.3, 0.4], "accuracy"), keep, stop, epochs=4)
    assert stop.best_epoch == 1 and stop.best == 0.9
    for a, b in zip(seen[1], model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert capsys.readouterr().out == "Epoch 4: early stopping\n"
    with pytest.warns(UserWarning, match="no 'val_loss' in the logs, there is loss, accuracy"):
        quiet(model, callbacks.EarlyStopping())
    with pytest.raises(ValueError, match="mode must be"):
        callbacks.EarlyStopping(mode="up")


# --- learning rates ------------------------------------------------------------------------------------------------------


def test_reduce_on_plateau():
    model = compiled(small(), optimizers.SGD(0.08))
    reduce = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.015)
    history = quiet(model, Logs([3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2]), reduce, epochs=14)
    assert history.history["learning_rate"] == pytest.approx(
        [0.08, 0.08, 0.08, 0.04, 0.04, 0.02, 0.02, 0.02, 0.02, 0.015, 0.015, 0.015, 0.015, 0.015])  # fmt: skip
    with pytest.raises(ValueError, match="factor must be between 0 and 1"):
        callbacks.ReduceLROnPlateau(factor=1)


def test_learning_rate_scheduler(capsys):
    model = compiled(small())
    rate = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate, verbose=1)
    assert quiet(model, rate, epochs=3).history["learning_rate"] == pytest.approx([0.001, 0.0005, 0.00025])
    assert "Epoch 2: learning rate 0.0005" in capsys.readouterr().out
    with pytest.raises(TypeError, match="schedule must be a function"):
        callbacks.LearningRateScheduler(0.1)


def test_schedules():
    step = schedules.PiecewiseConstantDecay([2, 5], [1.0, 0.5, 0.1])
    assert [step(i) for i in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.1, 0.1]
    assert schedules.ExponentialDecay(0.1, 10, 0.5)(5) == pytest.approx(0.1 * 0.5**0.5)
    assert schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True)(19) == pytest.approx(0.05)
    cosine = schedules.CosineDecay(0.0, 10, alpha=0.1, warmup_target=1.0, warmup_steps=5)
    assert [cosine(i) for i in (0, 1, 5, 10, 15, 99)] == pytest.approx([0, 0.2, 1, 0.55, 0.1, 0.1])
    assert [schedules.CosineDecay(2.0, 4)(i) for i in range(5)] == pytest.approx([2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 0])
    assert schedules.PolynomialDecay(1.0, 10, 0.0, 2)(5) == 0.25 and schedules.PolynomialDecay(1.0, 10, 0.0)(15) == 0
    assert schedules.PolynomialDecay(1.0, 10, 0.0, cycle=True)(15) == 0.25
    for make, message in ((lambda: schedules.CosineDecay(0.1, 0), "decay_steps must be at least 1"),
                          (lambda: schedules.ExponentialDecay(-1, 10, 0.5), "initial_learning_rate must be finite"),
                          (lambda: schedules.PiecewiseConstantDecay([1], [1]), "values must be one more"),
                          (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "boundaries must increase")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()


def test_a_schedule_drives_the_optimizer_step_by_step_and_is_saved():
    schedule = schedules.PiecewiseConstantDecay([0, 2], [0.1, 0.01, 0.0])
    model = compiled(small(), optimizers.SGD(schedule))
    rates = []
    quiet(model, callbacks.LambdaCallback(on_train_batch_begin=lambda b, logs: rates.append(model.optimizer.learning_rate)),
          batch_size=12)  # fmt: skip
    assert rates == [0.1, 0.01, 0.01, 0.0]
    for callback in (callbacks.LearningRateScheduler(lambda epoch, rate: 0.5), callbacks.ReduceLROnPlateau(patience=0)):
        with pytest.raises(TypeError, match="SGD: learning_rate follows a schedule, PiecewiseConstantDecay.* can't be set to"):
            quiet(compiled(small(), optimizers.SGD(schedules.PiecewiseConstantDecay([0], [0.1, 0.2]))), Logs([1, 1]), callback, epochs=2)
    before = model.get_weights()
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert loaded.optimizer.learning_rate == 0.0 and type(loaded.optimizer._learning_rate) is type(schedule)
    quiet(loaded)
    for a, b in zip(before, loaded.get_weights()):
        np.testing.assert_array_equal(a, b)


# --- files ---------------------------------------------------------------------------------------------------------------


def test_checkpoints(tmp_path, capsys):
    model = compiled(small())
    every = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.1f}", verbose=1)
    best = callbacks.ModelCheckpoint(tmp_path / "best", "val_loss", save_best_only=True)
    steps = callbacks.ModelCheckpoint(tmp_path / "step-{epoch}-{batch}", save_freq=3)
    quiet(model, Logs([3, 1, 2]), every, best, steps, epochs=3)
    assert sorted(os.listdir(tmp_path)) == ["01-3.0", "02-1.0", "03-2.0", "best", "step-2-1", "step-3-2"]
    assert (tmp_path / "best").read_bytes() == (tmp_path / "02-1.0").read_bytes()
    np.testing.assert_array_equal(load_model(tmp_path / "03-2.0").predict(X, verbose=0), model.predict(X, verbose=0))
    assert "Epoch 1: saved" in capsys.readouterr().out
    with pytest.raises(KeyError, match="no 'val_accuracy' for filepath"):
        quiet(model, callbacks.ModelCheckpoint(str(tmp_path / "{val_accuracy}")))
    for frequency in (0, "batch", True, 1.5):
        with pytest.raises(ValueError, match="save_freq must be"):
            callbacks.ModelCheckpoint("x", save_freq=frequency)


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    model = compiled(small())
    history = quiet(model, callbacks.CSVLogger(path), epochs=2)
    quiet(model, callbacks.CSVLogger(path, append=True), epochs=3, initial_epoch=2)
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "accuracy", "loss"] and [row[0] for row in rows[1:]] == ["0", "1", "2"]
    assert [float(row[2]) for row in rows[1:3]] == history.history["loss"]
    with pytest.raises(FileNotFoundError):
        quiet(model, callbacks.CSVLogger(tmp_path / "no" / "log.csv"))


def test_lambda_and_terminate_on_nan():
    calls = []
    spy = callbacks.LambdaCallback(
        on_train_begin=lambda logs: calls.append("begin"), on_epoch_end=lambda epoch, logs: calls.append(epoch)
    )
    quiet(compiled(small()), spy, epochs=2)
    assert calls == ["begin", 0, 1]
    with pytest.raises(TypeError, match="unexpected argument 'on_epoch'"):
        callbacks.LambdaCallback(on_epoch=print)
    model, good = compiled(small()), compiled(small())
    x = X.copy()
    x[40] = np.nan
    with pytest.warns(RuntimeWarning, match="loss became nan at epoch 1, batch 3.*training stops"):
        history = model.fit(x, Y, batch_size=16, epochs=5, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert history.epoch == [0] and np.isnan(history.history["loss"][0])
    good.fit(X[:32], Y[:32], batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(good.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)


# --- clipping, moving average, regularizers ------------------------------------------------------------------------------


def linear(optimizer, **options):
    model = Sequential([layers.Input((4,)), layers.Dense(3, **options)], seed=0, dtype="float64")
    model.compile(optimizer, "mse")
    return model


def test_clipping(rng):
    x, y = rng.standard_normal((8, 4)) * 10, rng.standard_normal((8, 3)) * 10

    def moved(**options):
        model = linear(optimizers.SGD(1.0, **options))
        before = model.get_weights()
        model.train_on_batch(x, y)
        return [a - b for a, b in zip(before, model.get_weights())]

    plain = moved()
    norms = [np.linalg.norm(g) for g in plain]
    for gradient, clipped in zip(plain, moved(clipnorm=2.0)):
        np.testing.assert_allclose(clipped, gradient * min(1, 2 / np.linalg.norm(gradient)), rtol=1e-9)
    for gradient, clipped in zip(plain, moved(global_clipnorm=2.0)):
        np.testing.assert_allclose(clipped, gradient * 2 / np.hypot(*norms), rtol=1e-9)
    for gradient, clipped in zip(plain, moved(clipvalue=0.5)):
        np.testing.assert_allclose(clipped, np.clip(gradient, -0.5, 0.5), rtol=1e-9)
    for gradient, clipped in zip(plain, moved(global_clipnorm=1e9)):
        np.testing.assert_array_equal(clipped, gradient)
    with pytest.raises(ValueError, match="only one of clipnorm"):
        optimizers.SGD(clipnorm=1, clipvalue=1)
    with pytest.raises(ValueError, match="clipvalue must be positive"):
        optimizers.Adam(clipvalue=0)
    with pytest.raises(TypeError, match="SGD: unexpected argument 'clip_norm'; did you mean 'clipnorm'"):
        optimizers.SGD(clip_norm=1)


def test_regularizers(rng):
    x, y = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    plain = linear(optimizers.SGD(0.1))
    heavy = linear(optimizers.SGD(0.1), kernel_regularizer="l2", bias_regularizer={"class_name": "L1", "config": {"l1": 0.5}})
    for model in (plain, heavy):
        model.set_weights([plain.get_weights()[0], np.array([1.0, -2.0, 0.0])])
    kernel, bias = plain.get_weights()
    penalty = 0.01 * (kernel**2).sum() + 0.5 * 3.0
    assert heavy.evaluate(x, y, verbose=0) == pytest.approx(plain.evaluate(x, y, verbose=0) + penalty)
    assert heavy.train_on_batch(x, y) == pytest.approx(plain.train_on_batch(x, y) + penalty)
    np.testing.assert_allclose(heavy.get_weights()[0], plain.get_weights()[0] - 0.1 * 0.02 * kernel, rtol=1e-9)
    np.testing.assert_allclose(heavy.get_weights()[1], plain.get_weights()[1] - 0.1 * 0.5 * np.sign(bias), rtol=1e-9)
    loaded = saving.from_bytes(saving.to_bytes(heavy))
    assert loaded.evaluate(x, y, verbose=0) == heavy.evaluate(x, y, verbose=0)


def test_moving_average_of_the_weights():
    model = compiled(small(), optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))
    seen = []
    quiet(model, callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(model.get_weights())), batch_size=8)
    expected = [w.astype(np.float64) for w in seen[0]]
    for weights in seen[1:]:
        expected = [0.9 * e + 0.1 * w for e, w in zip(expected, weights)]
    for a, b in zip(expected, model.get_weights()):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    often = compiled(small(), optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2))
    quiet(often, epochs=2)
    saved = saving.from_bytes(saving.to_bytes(often))
    assert set(saved.optimizer.state) == {"ema"}
    quiet(often)
    quiet(saved)
    assert saving.to_bytes(often) == saving.to_bytes(saved)


# --- going on ------------------------------------------------------------------------------------------------------------


def long_training(folder, save_freq, epochs=10, seed=None):
    """A training with everything that has a state. Returns the bytes of its end."""
    model = every_layer(seed=seed)
    model.compile(optimizers.Adam(0.003, use_ema=True), "sparse_categorical_crossentropy", metrics=["accuracy"],
                  weighted_metrics=["sparse_categorical_crossentropy"])  # fmt: skip
    history = quiet(
        model,
        callbacks.EarlyStopping("loss", patience=20, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("accuracy", factor=0.7, patience=1),
        callbacks.CSVLogger(os.path.join(folder, "log.csv")),
        callbacks.BackupAndRestore(os.path.join(folder, "backup"), save_freq, delete_checkpoint=False),
        epochs=epochs, batch_size=16, validation_split=0.2, class_weight={0: 2.0},
    )  # fmt: skip
    with open(os.path.join(folder, "log.csv")) as file:
        text = file.read()
    return saving.to_bytes(model) + json.dumps(history.history).encode() + text.encode()


def test_killed_training_ends_as_if_it_had_not_been(tmp_path, rng):
    """SIGKILL at 20 random moments. The seed is drawn by the first process: the backup has to bring it back.

    A training is killed eight times at most and then left alone: where starting takes longer than the time between two
    kills, it would never end.
    """
    (tmp_path / "whole").mkdir()
    start = time.perf_counter()
    assert wait(run_child(tmp_path / "whole", 1), 200)
    whole = time.perf_counter() - start  # on this machine, now
    kills = {1: 0, 2: 0, "epoch": 0}
    rounds = 0
    while sum(kills.values()) < 20:
        save_freq = min(kills, key=kills.get)
        folder = tmp_path / f"{rounds}"
        folder.mkdir()
        child = run_child(folder, save_freq)
        wait_for(folder / "backup" / "backup.cnnfast")
        seed = json.loads(description(folder))["model"]["config"]["seed"]
        for kill in range(8):
            if kill % 2:  # in the midst of steps; the others may come while it starts
                wait_for_a_step(folder, child)
            if wait(child, rng.random() * 0.35 * whole):
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills[save_freq] += 1
            child = run_child(folder, save_freq)
        else:
            assert wait(child, 200)
        expected = tmp_path / f"{rounds}-whole"
        expected.mkdir()
        assert wait(run_child(expected, save_freq, seed), 200)
        assert (folder / "end").read_bytes() == (expected / "end").read_bytes()
        rounds += 1
        assert rounds < 40, f"{kills} kills in {rounds} trainings"


def run_child(folder, save_freq, seed=None):
    child = fork()
    if child:
        return child
    try:
        if seed is not None:
            import nets

            original = nets.every_layer
            globals()["every_layer"] = lambda seed_=None, seed=None, s=seed: original(seed=s)
        end = long_training(folder, save_freq)
        with open(os.path.join(folder, "end"), "wb") as file:
            file.write(end)
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def wait(child, seconds):
    """Whether the child has ended within that time."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0
            return True
        time.sleep(0.002)
    return False


def wait_for_a_step(folder, child):
    """Until the training has made another backup, or has ended."""
    path = folder / "backup" / "backup.cnnfast"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    while (path.stat().st_ino, path.stat().st_mtime_ns) == before:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def wait_for(path):
    end = time.perf_counter() + 200
    while not path.exists():
        assert time.perf_counter() < end, "no backup was made"
        time.sleep(0.002)


def description(folder):
    tensors, _ = tensorfile.read_tensors((folder / "backup" / "backup.cnnfast").read_bytes(), {"U8": np.dtype("u1")})
    _, metadata = tensorfile.read_tensors(tensors["model"].tobytes())
    return metadata["cnnfast"].split("\n")[1]


TERMINATED = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_callbacks import long_training
print("begins", flush=True)
with open(os.path.join(sys.argv[1], "end"), "wb") as file:
    file.write(long_training(sys.argv[1], "epoch", epochs=150, seed=7))
"""


def test_sigterm_makes_a_backup_at_the_end_of_the_step(tmp_path, rng):
    """At random moments, though backups are made after each epoch only; and the end is that of a whole training."""
    (tmp_path / "whole").mkdir()
    start = time.perf_counter()
    expected = long_training(tmp_path / "whole", "epoch", epochs=150, seed=7)
    whole = time.perf_counter() - start
    told = 0
    for _ in range(20):
        child = subprocess.Popen([sys.executable, "-c", TERMINATED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"begins\n"
        time.sleep(0.3 * whole * rng.random())
        child.terminate()
        code = child.wait(60)
        child.stdout.close()
        if code == 0:
            break
        if code == -signal.SIGTERM:  # before fit began, or after it ended
            continue
        assert code == 143
        told += 1
    else:
        subprocess.run([sys.executable, "-c", TERMINATED, tmp_path], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert told
    assert (tmp_path / "end").read_bytes() == expected


@pytest.mark.parametrize("moment, place", [("on_train_batch_end", (0, 1)), ("on_test_batch_end", (0, 2)), ("on_epoch_end", (1, 0))])
def test_sigterm_is_passed_on_to_the_programs_handler(tmp_path, moment, place):
    """After the backup; where the handler returns, training goes on, and it is the handler again after `fit`."""
    heard = []
    sent = callbacks.LambdaCallback(**{moment: lambda *_: heard or os.kill(os.getpid(), signal.SIGTERM)})
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append((tmp_path / "backup.cnnfast").exists()))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        history = quiet(compiled(small()), sent, callbacks.BackupAndRestore(tmp_path), epochs=2, validation_split=0.2)
        assert heard == [True] and len(history.epoch) == 2 and signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        heard.clear()
        with pytest.raises(SystemExit) as ended:
            quiet(compiled(small()), sent, callbacks.BackupAndRestore(tmp_path), epochs=2, validation_split=0.2)
        assert ended.value.code == 143 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert os.listdir(tmp_path) == ["backup.cnnfast"]
        _, metadata = tensorfile.read_tensors((tmp_path / "backup.cnnfast").read_bytes(), {"U8": np.dtype("u1")})
        position = json.loads(metadata["cnnfast.backup"])["position"]
        assert (position["epoch"], position["batch"]) == place
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        backup = callbacks.BackupAndRestore(tmp_path)
        assert len(quiet(compiled(small()), sent, backup, epochs=2, validation_split=0.2).epoch) == 2 and not heard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_backup_of_something_else_is_refused(tmp_path):
    class Ends(callbacks.Callback):
        raises = True

        def on_epoch_end(self, epoch, logs=None):
            if self.raises:
                raise InterruptedError

    def backup():
        return callbacks.BackupAndRestore(tmp_path, save_freq=1)

    with pytest.raises(InterruptedError):
        quiet(compiled(small()), Ends(), backup())
    with pytest.raises(ValueError, match="another network"):
        quiet(compiled(small(classes=4)), Ends(), backup())
    with pytest.raises(ValueError, match="another optimizer"):
        quiet(compiled(small(), "sgd"), Ends(), backup())
    with pytest.raises(ValueError, match="made with the callback Ends, not History"):
        quiet(compiled(small()), backup())
    Ends.raises = False
    assert os.listdir(tmp_path) == ["backup.cnnfast"]
    quiet(compiled(small()), Ends(), backup())  # at its end the backup goes
    assert os.listdir(tmp_path) == []
    (tmp_path / "backup.cnnfast").write_bytes(b"")
    with pytest.raises(ModelFileError, match="truncated"):
        quiet(compiled(small()), Ends(), backup())


CTRL_C = """
import os, random, signal, sys, threading, time
sys.path.insert(0, "tests")
import numpy as np
from nets import compiled, every_layer, images
from cnnfast import callbacks
x, y = images()
random.seed(1)

class StopAt(callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = self.model._clock.step == self.step

class Count(callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        Count.steps += 1

most, moments, late = 0, 0, 0.0
while moments < 20:
    model = compiled(every_layer())
    sent = []
    def interrupt():
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)
        sent.append(Count.steps)
        if random.random() < 0.3:
            os.kill(os.getpid(), signal.SIGINT)  # twice quickly
    timer = threading.Timer(random.uniform(0.0, 0.15), interrupt)
    try:
        try:
            timer.start()
            model.fit(x, y, epochs=10_000, batch_size=16, verbose=0, validation_split=0.2, callbacks=[Count()])
        except KeyboardInterrupt:
            late = max(late, time.process_time() - sent[0])
            timer.join()
            most = max(most, Count.steps - sent[1])
        timer.join()
        time.sleep(0.01)
    except KeyboardInterrupt:
        timer.join()
    moments += 1
    steps = model._clock.step
    assert model.optimizer.iterations in (0, steps), (model.optimizer.iterations, steps)
    twin = compiled(every_layer())
    if steps:
        stop = StopAt()
        stop.step = steps
        twin.fit(x, y, epochs=10_000, batch_size=16, verbose=0, validation_split=0.2, callbacks=[stop])
        twin.stop_training = False
    elif not model.built:
        continue
    assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in twin.get_weights()], steps
    assert model.fit(x, y, verbose=0).history == twin.fit(x, y, verbose=0).history
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert most <= 1, most  # the step that was running may end, no other begins
assert late < 0.25, late  # seconds of work, whatever else the machine does
"""


def test_ctrl_c_at_random_moments():
    """The weights are those of the last whole step, it returns at once, and the network goes on as if nothing had been."""
    run = subprocess.run([sys.executable, "-c", CTRL_C], capture_output=True, text=True, timeout=280, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
