"""Model files: round trips, damaged and hostile files, saving that is interrupted."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from gradients import randomize
from harness import ROOT
from layer_cases import CASES
from nets import compiled, every_layer, images, small
from safetensors.numpy import load_file, save_file

from cnnfast import ModelFileError, Sequential, callbacks, layers, load_model, optimizers, saving

X, Y = images()


@pytest.fixture(scope="module")
def trained():
    model = compiled(every_layer())
    model.fit(X, Y, epochs=2, verbose=0)
    return model


@pytest.fixture(scope="module")
def content():
    model = compiled(small())
    model.fit(X, Y, verbose=0)
    return saving.to_bytes(model)


def parts(content):
    """(header, data) of a file; the header as a dict."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), bytes(content[8 + size :])


def join(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_description(content, change):
    """The file with its description changed and its checksum made to fit: what an attacker would write."""
    header, data = parts(content)
    checksums, description = map(json.loads, header["__metadata__"]["cnnfast"].split("\n"))
    description = change(description) or description
    text = description if isinstance(description, str) else json.dumps(description)
    checksums[""] = saving._sha256(text.encode())
    header["__metadata__"] = {"cnnfast": json.dumps(checksums) + "\n" + text}
    return join(header, data)


def python(program, *arguments):
    """Run a program of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)


# --- round trips ---------------------------------------------------------------------------------------------------------


def test_loaded_is_saved_and_training_goes_on_as_if_nothing_had_been(trained, tmp_path):
    path = tmp_path / "a model.cnnfast"
    trained.save(path)
    loaded = load_model(str(path))
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), trained.predict(X, verbose=0))
    assert loaded.evaluate(X, Y, verbose=0) == trained.evaluate(X, Y, verbose=0)
    assert loaded.get_config() == trained.get_config() and loaded.seed == trained.seed
    assert saving.to_bytes(loaded) == saving.to_bytes(trained) == path.read_bytes()
    twin = load_model(path)
    assert twin.fit(X, Y, epochs=2, verbose=0).history == loaded.fit(X, Y, epochs=2, verbose=0).history
    assert saving.to_bytes(twin) == saving.to_bytes(loaded)


def test_resumed_training_equals_the_uninterrupted(tmp_path):
    whole, first = compiled(every_layer()), compiled(every_layer())
    whole.fit(X, Y, epochs=4, verbose=0)
    first.fit(X, Y, epochs=2, verbose=0)
    first.save(tmp_path / "m")
    resumed = load_model(tmp_path / "m")
    resumed.fit(X, Y, epochs=4, initial_epoch=2, verbose=0)
    assert saving.to_bytes(resumed) == saving.to_bytes(whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_every_layer_round_trips(name, dtype, rng):
    make, shape = CASES[name]
    model = Sequential([layers.Input(shape[1:]), make()], seed=1, dtype=dtype)
    randomize(model, rng)
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert loaded.get_config() == model.get_config() and loaded.dtype == model.dtype == np.dtype(dtype)
    x = rng.standard_normal(shape)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, momentum=0.9), optimizers.RMSprop(0.01, momentum=0.5), "adamw", "sgd"])
def test_every_optimizer_round_trips(optimizer):
    model = compiled(small(), optimizer)
    model.fit(X, Y, verbose=0)
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.iterations == model.optimizer.iterations == 2
    for model_ in (model, loaded):
        model_.fit(X, Y, verbose=0)
    assert saving.to_bytes(model) == saving.to_bytes(loaded)


def test_what_is_not_compiled_or_frozen_stays_so():
    model = small()
    model.layers[0].trainable = False
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert not loaded.compiled and [layer.trainable for layer in loaded.layers] == [False, True, True, True]


def test_it_is_a_safetensors_file(trained, tmp_path):
    trained.save(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    np.testing.assert_array_equal(tensors["conv2d/kernel"], trained.layers[3].get_weights()[0])
    assert {"residual/main/conv2d/kernel", "residual_1/shortcut/kernel", "optimizer:momentum/conv2d/kernel"} <= set(tensors)


def test_layers_of_ones_own():
    class Twice(layers.Layer):
        def forward(self, x, training=False):
            return x + x

    model = Sequential([layers.Input((3,)), Twice(), layers.Dense(2)], seed=0)
    content = saving.to_bytes(model)
    with pytest.raises(ModelFileError, match="unknown layer type 'Twice'"):
        saving.from_bytes(content)
    loaded = saving.from_bytes(content, custom_objects={"Twice": Twice})
    np.testing.assert_array_equal(loaded(np.ones((1, 3))), model(np.ones((1, 3))))
    with pytest.raises(ModelFileError, match="unknown layer type"):
        saving.from_bytes(content)


def test_weights_alone(trained, tmp_path):
    trained.save_weights(tmp_path / "w")
    trained.save(tmp_path / "m")
    assert os.path.getsize(tmp_path / "w") < 0.6 * os.path.getsize(tmp_path / "m")
    assert not load_model(tmp_path / "w").compiled
    for name in "wm":
        model = every_layer(seed=9)
        model.load_weights(tmp_path / name)
        np.testing.assert_array_equal(model.predict(X, verbose=0), trained.predict(X, verbose=0))
    other = small()
    before = other.get_weights()
    with pytest.raises(ModelFileError, match="of another network"):
        other.load_weights(tmp_path / "w")
    for a, b in zip(before, other.get_weights()):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="save_weights: the network has no weights yet"):
        Sequential([layers.Dense(1)]).save_weights(tmp_path / "x")


def test_nan_weights_are_data_unless_asked():
    model = small()
    model.weights[0].data[...] = np.nan
    content = saving.to_bytes(model)
    assert np.isnan(saving.from_bytes(content).get_weights()[0]).all()
    with pytest.raises(ModelFileError, match="'conv2d/kernel' contains NaN"):
        saving.from_bytes(content, check_finite=True)


def test_save_from_a_callback_is_a_whole_step(tmp_path):
    class Saves(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.save(tmp_path / f"{batch}")

    model = compiled(small())
    model.fit(X, Y, batch_size=16, verbose=0, callbacks=[Saves()])
    assert load_model(tmp_path / "2").get_weights()[0].tobytes() == model.get_weights()[0].tobytes()
    assert load_model(tmp_path / "1")._clock.step == 2


# --- damaged files -------------------------------------------------------------------------------------------------------


def refused(content, match=None):
    start = time.process_time()
    with pytest.raises(ModelFileError, match=match):
        saving.from_bytes(content)
    assert time.process_time() - start < 1


def test_cut_anywhere(content, tmp_path):
    for end in [*range(400), *range(400, len(content), 13), len(content) - 1]:
        refused(content[:end])
    refused(content[:812], "file is truncated: header says [0-9,]+ bytes, 812 present")
    refused(content + b"\0", "1 bytes after the last tensor")
    path = tmp_path / "m"
    path.write_bytes(content[:-1])
    with pytest.raises(ModelFileError, match="file is truncated"):
        load_model(path)


def test_any_flipped_bit(content, rng):
    positions = rng.choice(len(content) * 8, 2000, replace=False).tolist() + list(range(64))
    for position in positions:
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        refused(bytes(damaged))


def test_a_flipped_weight_is_named(content):
    header, data = parts(content)
    start = header["conv2d/kernel"]["data_offsets"][0]
    refused(join(header, data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]),
            "checksum of 'conv2d/kernel' does not match")  # fmt: skip


@pytest.mark.parametrize("text, match", [
    (b"[]", "not a JSON object"), (b"{", "not JSON"), (b"\xff\xfe", "not UTF-8"), (b"\xef\xbb\xbf{}", "byte order mark"),
    (b'{"a":NaN}', "contains NaN"), (b'{"a":-Infinity}', "contains -Infinity"), (b'{"a":1e400}', "which no float holds"),
    (b'{"a":1,"a":1}', "names 'a' twice"), (b"[" * 100_000 + b"]" * 100_000, "nests 100000 deep"),
    (b'{"a":' + b"1" * 5000 + b"}", "integer of 5000 digits"), (b'{"__metadata__":3}', "metadata"),
    (b'{"__metadata__":{"a":1}}', "metadata"), (b"{}", "describes no cnnfast network"), (b"", "not JSON"),
    (b'{"a":{}}', "must have dtype, shape and data_offsets"), (b'{"a":3}', "must have"), (b'{"":3}', "printable"),
    (b'{"a\\u001b[2J":3}', "printable"),
])  # fmt: skip
def test_headers(text, match):
    refused(join(text, b""), match)


def test_header_lengths(content):
    for size in (1, len(content), 2**24 + 1, 2**31, 2**63, 2**64 - 1):
        refused(size.to_bytes(8, "little") + content[8:])
    refused((2**63).to_bytes(8, "little"), "the limit is")


NUMBERS = [0, 1, -1, 2**31, 2**63, 10**19, 1.5, "1", None, True, [], {}]


@pytest.mark.parametrize("field", ["dtype", "shape", "data_offsets"])
def test_every_field_of_every_tensor(content, field):
    header, data = parts(content)
    count = 0
    for name in [name for name in header if name != "__metadata__"][:4]:
        old = header[name]
        values = {
            "dtype": ["F16", "BF16", "I64", "f4", ">f4", "", *NUMBERS],
            "shape": NUMBERS + [[n, *old["shape"][1:]] for n in NUMBERS] + [[1] * 9, [2**40, 2**40], [*old["shape"], -1]],
            "data_offsets": NUMBERS + [[n, old["data_offsets"][1]] for n in NUMBERS]
            + [[old["data_offsets"][0], n] for n in NUMBERS] + [[1, 2, 3], old["data_offsets"][::-1]],
        }[field]  # fmt: skip
        for value in values:
            if value == old[field] and type(value) is type(old[field]) and not (
                isinstance(value, list) and any(type(a) is not type(b) for a, b in zip(value, old[field]))):  # fmt: skip
                continue
            header[name] = {**old, field: value}
            refused(join(header, data))
            count += 1
        header[name] = old
    assert count > 40


def test_holes_overlaps_and_other_tensors(content):
    header, data = parts(content)
    names = [name for name in header if name != "__metadata__"]
    bias, kernel = header["conv2d/bias"]["data_offsets"], header["dense/bias"]["data_offsets"]
    refused(join({**header, "dense/bias": {**header["dense/bias"], "data_offsets": [kernel[0] - 4, kernel[1] - 4]}}, data),
            "hole or an overlap")  # fmt: skip
    refused(join({k: v for k, v in header.items() if k != "conv2d/bias"}, data), "hole or an overlap")
    assert bias[1] - bias[0] == 16
    for name in names[:3]:
        refused(join({("x" + k if k == name else k): v for k, v in header.items()}, data), "checksums does not fit")
    extra = {**header, "more": {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}}
    refused(join(extra, data + b"\0" * 4), "checksums does not fit")


def layer_config(description, index=0):
    return description["model"]["config"]["layers"][1 + index]["config"]


def first_layer(description):
    return description["model"]["config"]["layers"][1]


CHANGES = {
    "format 99": (lambda d: d.update(format=99), "written by format 99; this version reads 1…1; upgrade cnnfast"),
    "format 0": (lambda d: d.update(format=0), "unknown format"),
    "format true": (lambda d: d.update(format=True), "unknown format"),
    "more keys": (lambda d: d.update(more=1), "the description must have"),
    "fewer keys": (lambda d: d.pop("step") and None, "the description must have"),
    "a list": (lambda d: "[]", "unknown format"),
    "not JSON": (lambda d: "{", "not JSON"),
    "deep": (lambda d: "[" * 40 + "]" * 40, "nests 40 deep"),
    "no layers": (lambda d: d["model"]["config"].update(layers=[]), "without layers"),
    "layers a number": (lambda d: d["model"]["config"].update(layers=3), "does not make a network"),
    "model a layer": (lambda d: d.update(model={"class_name": "ReLU", "config": {}}), "not that of a Sequential"),
    "model a string": (lambda d: d.update(model="os.system"), "does not make a network"),
    "unknown type": (lambda d: first_layer(d).update(class_name="os.system"), "unknown layer type 'os.system'"),
    "import": (lambda d: first_layer(d).update(class_name="__import__"), "unknown layer type '__import__'"),
    "dotted": (lambda d: first_layer(d).update(class_name="cnnfast.layers.Dense"), "unknown layer type"),
    "long name": (lambda d: first_layer(d).update(class_name="x" * 10**6), "unknown layer type 'xxx"),
    "number as type": (lambda d: first_layer(d).update(class_name=3), "unknown layer type '3'"),
    "no config": (lambda d: first_layer(d).pop("config") and None, "class_name"),
    "unknown key": (lambda d: layer_config(d).update(filtres=3), "unexpected argument 'filtres'; did you mean 'filters'"),
    "missing key": (lambda d: layer_config(d).pop("filters") and None, "filters"),
    "filters text": (lambda d: layer_config(d).update(filters="4"), "filters must be an int"),
    "filters 1.5": (lambda d: layer_config(d).update(filters=4.0), "filters must be an int"),
    "filters huge": (lambda d: layer_config(d).update(filters=10**12), "tensors don't fit the network"),
    "kernel": (lambda d: layer_config(d).update(kernel_size=[3, 3, 3]), "kernel_size"),
    "units huge": (lambda d: layer_config(d, 3).update(units=10**12), "tensors don't fit the network"),
    "units": (lambda d: layer_config(d, 3).update(units=5), r"expected \(144, 5\)|expected \(36, 5\)"),
    "activation": (lambda d: layer_config(d).update(activation="rlu"), "unknown activation"),
    "initializer": (lambda d: layer_config(d).update(kernel_initializer="eval"), "unknown initializer"),
    "trainable": (lambda d: layer_config(d).update(trainable="yes"), "trainable must be True or False"),
    "dtype": (lambda d: layer_config(d).update(dtype="float16"), "dtype must be float32 or float64"),
    "dtype object": (lambda d: layer_config(d).update(dtype="O"), "dtype must be"),
    "float64": (lambda d: [e["config"].update(dtype="float64") for e in [d["model"], *d["model"]["config"]["layers"]]] and None,
                "float32, the network float64"),
    "input shape": (lambda d: d.update(input_shape=[None, 9, 9, 2]), "expected an input of"),
    "input shape text": (lambda d: d.update(input_shape="8"), "bad input_shape"),
    "input shape 0": (lambda d: d.update(input_shape=[None, 0, 8, 2]), "bad input_shape"),
    "step": (lambda d: d.update(step=-1), "whole numbers"),
    "iterations": (lambda d: d.update(iterations=1.5), "whole numbers"),
    "loss": (lambda d: d["compile"].update(loss={"class_name": "os.system", "config": {}}), "unknown loss"),
    "optimizer": (lambda d: d["compile"].update(optimizer={"class_name": "SGD", "config": {}}), "tensors don't fit"),
    "optimizer key": (lambda d: d["compile"]["optimizer"]["config"].update(lr=1), "lr"),
    "compile key": (lambda d: d["compile"].update(run="x"), "run"),
    "compile list": (lambda d: d.update(compile=[1]), "does not make a network"),
    "seed": (lambda d: d["model"]["config"].update(seed=-5), "seed must be"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_descriptions(content, change):
    refused(with_description(content, CHANGES[change][0]), CHANGES[change][1])


def test_a_change_without_the_checksum_is_seen_first(content):
    header, data = parts(content)
    header["__metadata__"]["cnnfast"] = header["__metadata__"]["cnnfast"].replace("relu", "tanh")
    refused(join(header, data), "checksum of the description does not match")


def test_mutations(content, rng):
    """Bytes written over, cut out and doubled anywhere."""
    for _ in range(1500):
        mutated = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            at, length = int(rng.integers(len(mutated))), int(rng.integers(1, 20))
            kind = rng.integers(3)
            if kind == 0:
                mutated[at : at + length] = rng.bytes(length)
            elif kind == 1:
                del mutated[at : at + length]
            else:
                mutated[at:at] = mutated[at : at + length]
        if bytes(mutated) != content:
            refused(bytes(mutated))


def test_loading_runs_and_opens_nothing_else(content, tmp_path):
    """An audit hook sees every import, exec, open and socket of a load, of good and of hostile files."""
    files = [content, content[:-1], pickle.dumps(print),
             with_description(content, lambda d: d["model"]["config"]["layers"][1].update(class_name="os.system"))]  # fmt: skip
    for i, file in enumerate(files):
        (tmp_path / str(i)).write_bytes(file)
    program = """
import sys, os
import cnnfast
from cnnfast import saving
import cnnfast.models, json, hashlib
cnnfast.load_model(sys.argv[1] + "/0")
events = []
sys.addaudithook(lambda event, args: events.append((event, args)))
for name in "0123":
    try:
        cnnfast.load_model(sys.argv[1] + "/" + name)
    except cnnfast.ModelFileError:
        pass
allowed = {"open", "object.__getattr__", "sys._getframe"}
bad = [e for e in events if e[0].split(".")[0] in ("import", "exec", "compile", "socket", "subprocess", "os", "pickle", "marshal")
       or (e[0] == "open" and not str(e[1][0]).startswith(sys.argv[1]))]
print(len(events), bad)
sys.exit(bool(bad) or not events)
"""
    run = python(program, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


# --- files that are none -------------------------------------------------------------------------------------------------


def test_paths(content, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="null"):
        load_model("a\0b")
    with pytest.raises(OSError):
        load_model("a" * 5000)
    for path in ("/dev/zero", "/dev/null"):
        with pytest.raises(ModelFileError, match="is not a regular file"):
            load_model(path)
    open_before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "empty").write_bytes(b"")
    for _ in range(3):
        with pytest.raises(ModelFileError, match="file is truncated: 0 bytes"):
            load_model(tmp_path / "empty")
        with pytest.raises(IsADirectoryError):
            load_model(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_other_formats(content, tmp_path):
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, a=np.zeros(3))
    np.save(npy, np.zeros(3))
    for start, match in ((pickle.dumps([1, 2, 3] * 20), "a Python pickle; cnnfast never loads pickles"),
                         (npz.getvalue(), "zip"), (npy.getvalue(), "NumPy array"),
                         (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "HDF5"),
                         (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "PNG"),
                         (b"\x08\x08\x12\x07pytorch" + b"\0" * 99, "ONNX")):  # fmt: skip
        (tmp_path / "f").write_bytes(start)
        with pytest.raises(ModelFileError, match=f"starts like .*{match}"):
            load_model(tmp_path / "f")
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "f")
    with pytest.raises(ModelFileError, match="describes no cnnfast network"):
        load_model(tmp_path / "f")


def test_memory_stays_within_the_file(tmp_path):
    """A file that claims large things takes none of the memory it claims."""
    entry = {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}
    (tmp_path / "bomb").write_bytes(join({"a": entry}, b""))
    program = """
import resource, sys, cnnfast
cnnfast.load_model  # imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    cnnfast.load_model(sys.argv[1])
except cnnfast.ModelFileError as error:
    print(error)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10
"""
    run = python(program, tmp_path / "bomb")
    assert run.returncode == 0 and "truncated" in run.stdout, run.stderr


# --- writing -------------------------------------------------------------------------------------------------------------


def test_refused_saves_leave_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    model = small()
    with pytest.raises(ValueError, match="save: the network has no weights yet"):
        Sequential([layers.Dense(1)]).save(path)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "no" / "m")
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path)
    model.save(path)
    old = path.read_bytes()
    for name in ("write", "fsync", "replace"):
        def fail(*arguments):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left"):
                small(seed=1).save(path)
        assert path.read_bytes() == old and os.listdir(tmp_path) == ["m"]


def test_order_of_writing(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    small().save(tmp_path / "m")
    assert calls == ["fsync", "replace", "fsync"]


def test_links_modes_and_names(tmp_path):
    model = small()
    (tmp_path / "target").write_bytes(b"")
    os.chmod(tmp_path / "target", 0o640)
    os.symlink("target", tmp_path / "link")
    model.save(tmp_path / "link")
    assert os.path.islink(tmp_path / "link") and load_model(tmp_path / "target").built
    assert os.stat(tmp_path / "target").st_mode & 0o777 == 0o640
    model.save(tmp_path / ("n" * 250))
    assert load_model(tmp_path / ("n" * 250)).built
    old = os.umask(0o022)
    try:
        model.save(tmp_path / "new")
    finally:
        os.umask(old)
    assert os.stat(tmp_path / "new").st_mode & 0o777 == 0o644
