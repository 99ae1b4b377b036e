"""Model files: safetensors, with the network's description in the metadata.

A file may come from anyone, so reading is strict. The header is checked before anything is made of it: size, JSON without
duplicates, NaN or depth, tensors that fill the data without gap or overlap. Layers are looked up in a dictionary; the
network that they make must have exactly the tensors of the file, and only then memory is taken. Each tensor and the
description carry a SHA-256, so a flipped bit is found. The whole file is read through one descriptor, not mapped: a file
that somebody truncates meanwhile would end the process.

Format 1. Metadata: "cnnfast" is two lines of JSON, the checksums by name (the description's own under "") and the
description. Tensors: "<layer>/<weight>" and, for the optimizer, "optimizer:<slot>/<layer>/<weight>".
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import layers as layers_module
from .errors import ModelFileError
from .layers import Layer
from .models import Sequential
from .parameters import Parameter
from .registry import serialize

FORMAT = 1
MAX_HEADER = 16 << 20  # bytes
MAX_TENSORS = 100_000
MAX_LAYERS = 10_000
MAX_DEPTH = 32  # of nested JSON
MAX_RANK = 8
MAX_NAME = 1024

_DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_FORMATS = {  # how files of other kinds begin
    b"\x80": "a Python pickle; cnnfast never loads pickles",
    b"PK\x03\x04": "a zip file (.npz, .keras, PyTorch); cnnfast loads its own format",
    b"\x89HDF\r\n": "an HDF5 file; cnnfast loads its own format",
    b"\x89PNG": "a PNG picture",
    b"\x93NUMPY": "a NumPy array file",
    b"\x08": "an ONNX model; cnnfast loads its own format",
}


# --- writing -------------------------------------------------------------------------------------------------------------


def save_model(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`; see `Sequential.save`."""
    if not model.built:
        raise ValueError("save: the network has no weights yet: call fit or build first")
    write_atomically(path, to_bytes(model))


def to_bytes(model: Sequential) -> bytes:
    """Return the model file as bytes."""
    from safetensors.numpy import save

    with model._lock.reading():
        tensors = {name: p.data for name, p in named_weights(model)}
        optimizer = model.optimizer
        if optimizer is not None and optimizer.state and model._block is not None and model._block.is_bound:
            names = {id(p): name for name, p in named_weights(model)}
            for slot, flat in optimizer.state.items():
                for parameter, part in zip(model._block.parameters, model._block.slices):
                    tensors[f"optimizer:{slot}/{names[id(parameter)]}"] = flat[part].reshape(parameter.shape)
        description = json.dumps(_describe(model), allow_nan=False, separators=(",", ":"))
        _parse(description, "the description")  # what can't be read again is not written
        checksums = {"": _sha256(description.encode()), **{name: _sha256(data) for name, data in tensors.items()}}
        metadata = {"cnnfast": json.dumps(checksums, separators=(",", ":")) + "\n" + description}
        return save({name: np.ascontiguousarray(data) for name, data in tensors.items()}, metadata)


def _describe(model: Sequential) -> dict[str, Any]:
    from . import __version__

    optimizer = model.optimizer
    return {
        "format": FORMAT,
        "version": __version__,
        "model": serialize(model),
        "input_shape": list(model.input_shape),
        "compile": model._compile_config(),
        "step": model._clock.step,
        "iterations": 0 if optimizer is None else optimizer.iterations,
    }


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that is complete or, whatever happens, is not there: temporary name, fsync, rename, fsync of the folder.

    A temporary file that a killed process left behind is swept by the next write of the same name.
    """
    target = os.path.realpath(os.fspath(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    folder, name = os.path.split(target)
    try:
        mode = stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        mode = None
    temporary = os.path.join(folder, f".{name[:200]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        try:
            if mode is not None:
                os.fchmod(descriptor, mode)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        _remove(temporary)
        raise
    folder_descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)
    _sweep(folder, name)


def _sweep(folder: str, name: str) -> None:
    """Remove temporary files for `name` whose process is gone."""
    pattern = re.compile(re.escape(f".{name[:200]}.") + r"(\d+)\.[0-9a-f]{8}\.tmp")
    with os.scandir(folder) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and not _is_running(int(match[1])):
                _remove(entry.path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


# --- reading -------------------------------------------------------------------------------------------------------------


def load_model(
    path: str | os.PathLike[str], *, custom_objects: Mapping[str, type[Layer]] | None = None, check_finite: bool = False
) -> Sequential:
    """Read a network that `Sequential.save` wrote.

    Nothing in the file is run: layers are looked up by name in a dictionary, weights are plain numbers, and every size is
    checked before memory is taken for it.

    Parameters
    ----------
    path : path
    custom_objects : dict of str to class, optional
        Layers of your own, by class name.
    check_finite : bool
        Refuse weights that are NaN or infinite.

    Returns
    -------
    Sequential
        Compiled, if it was.

    Raises
    ------
    ModelFileError
        Not a model file, damaged, or made by a later version.
    OSError
        The file can't be read.
    """
    return from_bytes(read_regular_file(path), custom_objects=custom_objects, check_finite=check_finite)


def read_regular_file(path: str | os.PathLike[str]) -> bytearray:
    """Return the contents of a regular file; what is not one is refused without waiting for it."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{_shown(os.fspath(path))} is not a regular file")
        head = os.read(descriptor, 8)
        for start, kind in _FORMATS.items():
            if head.startswith(start) and (len(head) < 8 or int.from_bytes(head, "little") > MAX_HEADER):
                raise ModelFileError(f"{_shown(os.fspath(path))} starts like {kind}")
        _check_length(head, status.st_size)
        content = bytearray(status.st_size)
        content[:8] = head
        end = 8
        with memoryview(content) as view:
            while end < len(content) and (count := os.readv(descriptor, [view[end:]])):
                end += count
        del content[end:]
        return content
    finally:
        os.close(descriptor)


def from_bytes(
    content: bytes | bytearray, *, custom_objects: Mapping[str, type[Layer]] | None = None, check_finite: bool = False
) -> Sequential:
    """Make the network of a model file's bytes."""
    tensors, metadata = read_tensors(content)
    description, checksums = _checked_description(metadata)
    token = layers_module.custom_objects.set(dict(custom_objects or {}))
    try:
        model = _model(description)
        _fill(model, tensors, checksums, description, check_finite)
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError, AssertionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the description does not make a network: {_shown(error)}") from None
    finally:
        layers_module.custom_objects.reset(token)
    return model


def restore(model: Sequential, content: bytes) -> None:
    """Bring `model` to the state of a model file of the same network: weights, optimizer, seed, step."""
    loaded = from_bytes(content, custom_objects={cls.__name__: cls for cls in _classes(model)})
    if not model.built:
        model.build(loaded.input_shape)
    mine, theirs = dict(named_weights(model)), dict(named_weights(loaded))
    if {name: p.shape for name, p in mine.items()} != {name: p.shape for name, p in theirs.items()}:
        raise ModelFileError("the file is of another network")
    if model.optimizer is None or loaded.optimizer is None or type(model.optimizer) is not type(loaded.optimizer):
        raise ModelFileError("the file is of a network with another optimizer")
    model._clock.seed, model._clock.step = loaded.seed, loaded._clock.step
    model._restore_weights(loaded.get_weights())
    model._bind(model._clock, itertools.count(1))
    optimizer, block = model.optimizer, model._memory()
    optimizer.iterations = loaded.optimizer.iterations
    optimizer.learning_rate = loaded.optimizer._learning_rate
    optimizer.build(block.data)
    for slot, values in loaded.optimizer.state.items():
        optimizer.state[slot][...] = values


def _classes(layer: Layer) -> Iterator[type[Layer]]:
    yield type(layer)
    for inner in layer.sublayers:
        yield from _classes(inner)


def read_tensors(
    content: bytes | bytearray, more_dtypes: Mapping[str, np.dtype] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors of safetensors bytes, views into them, and the metadata. Every rule of the format is checked."""
    dtypes = {**_DTYPES, **(more_dtypes or {})}
    size = _check_length(content[:8], len(content))
    try:
        text = content[8 : 8 + size].decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFileError("the header is not UTF-8") from None
    header = _parse(text, "the header")
    if not isinstance(header, dict):
        raise ModelFileError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFileError("the metadata must be strings by name")
    if len(header) > MAX_TENSORS:
        raise ModelFileError(f"{len(header)} tensors, the limit is {MAX_TENSORS}")
    data = memoryview(content)[8 + size :]
    entries = sorted((_entry(name, entry, len(data), dtypes) for name, entry in header.items()), key=lambda e: (e[3], e[4]))
    tensors, end = {}, 0
    for name, dtype, shape, start, stop in entries:
        if start != end:
            raise ModelFileError(f"tensor {_shown(name)} starts at {start}, where {end} was expected: a hole or an overlap")
        tensors[name] = np.frombuffer(data[start:stop], dtype).reshape(shape)
        end = stop
    if end != len(data):
        raise ModelFileError(f"{len(data) - end} bytes after the last tensor")
    return tensors, metadata


def _check_length(head: bytes | bytearray, present: int) -> int:
    """Return the header's length from the first 8 bytes."""
    if len(head) < 8:
        raise ModelFileError(f"file is truncated: {present} bytes, even the header's length takes 8")
    size = int.from_bytes(head, "little")
    if size > MAX_HEADER:
        raise ModelFileError(f"not a model file, or damaged: its header would be {size:,} bytes, the limit is {MAX_HEADER:,}")
    if 8 + size > present:
        raise ModelFileError(f"file is truncated: header says {8 + size:,} bytes, {present:,} present")
    return size


def _entry(
    name: str, entry: Any, available: int, dtypes: Mapping[str, np.dtype]
) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    """Check one tensor's row of the header."""
    shown = _shown(name)
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ModelFileError(f"tensor {shown}: the name must be 1 to {MAX_NAME} printable characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"tensor {shown}: must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise ModelFileError(f"tensor {shown}: dtype must be {' or '.join(dtypes)}, got {_shown(dtype)}")
    if not _whole_numbers(shape) or len(shape) > MAX_RANK or any(n >= 2**31 for n in shape):
        raise ModelFileError(f"tensor {shown}: bad shape {_shown(shape)}")
    if not _whole_numbers(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1]:
        raise ModelFileError(f"tensor {shown}: bad data_offsets {_shown(offsets)}")
    start, stop = offsets
    if stop > available:
        raise ModelFileError(f"file is truncated: tensor {shown} ends at byte {stop:,} of the data, {available:,} present")
    if math.prod(shape) * dtypes[dtype].itemsize != stop - start:
        raise ModelFileError(f"tensor {shown}: shape {shape} of {dtype} does not take {stop - start} bytes")
    return name, dtypes[dtype], tuple(shape), start, stop


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _parse(text: str, what: str) -> Any:
    """Read JSON as its standard has it: `json` alone lets NaN, duplicate names, long integers and any depth through."""
    if text.startswith("\ufeff"):
        raise ModelFileError(f"{what} begins with a byte order mark")
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(depth, deepest)
    if deepest > MAX_DEPTH:
        raise ModelFileError(f"{what} nests {deepest} deep, the limit is {MAX_DEPTH}")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items):
            names = [name for name, _ in items]
            raise ModelFileError(f"{what} names {_shown(next(n for n in names if names.count(n) > 1))} twice")
        return result

    def constant(name: str) -> Any:
        raise ModelFileError(f"{what} contains {name}")

    def integer(digits: str) -> int:
        if len(digits) > 20:
            raise ModelFileError(f"{what} contains an integer of {len(digits)} digits")
        return int(digits)

    def real(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ModelFileError(f"{what} contains {_shown(digits)}, which no float holds")
        return float(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer, parse_float=real)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{what} is not JSON: {_shown(error)}") from None


def _checked_description(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if set(metadata) != {"cnnfast"}:
        raise ModelFileError("the file describes no cnnfast network: it is another program's safetensors file")
    checksums_text, _, text = metadata["cnnfast"].partition("\n")
    checksums = _parse(checksums_text, "the list of checksums")
    if not isinstance(checksums, dict) or checksums.get("") != _sha256(text.encode("utf-8", "surrogatepass")):
        raise ModelFileError("checksum of the description does not match")
    description = _parse(text, "the description")
    version = description.get("format") if isinstance(description, dict) else None
    if type(version) is not int or version < 1:
        raise ModelFileError(f"unknown format {_shown(version)}")
    if version > FORMAT:
        raise ModelFileError(f"written by format {version}; this version reads 1…{FORMAT}; upgrade cnnfast")
    wanted = {"format", "version", "model", "input_shape", "compile", "step", "iterations"}
    if set(description) != wanted:
        raise ModelFileError(f"the description must have {sorted(wanted)}, got {_shown(sorted(description))}")
    return description, checksums


def _model(description: Mapping[str, Any]) -> Sequential:
    """Make the network, connected, but without memory."""
    described = description["model"]
    if _count_layers(described) > MAX_LAYERS:
        raise ModelFileError(f"more than {MAX_LAYERS} layers")
    model = layers_module.get(described)
    if not isinstance(model, Sequential):
        raise ModelFileError("the description is not that of a Sequential")
    shape = description["input_shape"]
    if not isinstance(shape, list) or not shape or not all(n is None or (type(n) is int and n > 0) for n in shape):
        raise ModelFileError(f"bad input_shape {_shown(shape)}")
    model._connect(tuple(shape), np.dtype(np.float32) if model.dtype is None else model.dtype)
    return model


def _count_layers(described: Any) -> int:
    if isinstance(described, dict):
        return ("class_name" in described) + sum(_count_layers(value) for value in described.values())
    return sum(_count_layers(value) for value in described) if isinstance(described, list) else 0


def _fill(
    model: Sequential, tensors: dict[str, np.ndarray], checksums: Mapping[str, Any], description: Mapping[str, Any],
    check_finite: bool,
) -> None:  # fmt: skip
    """Compare the file's tensors with the weights of the network, then take them over."""
    if set(checksums) - {""} != set(tensors):
        raise ModelFileError("the list of checksums does not fit the tensors")
    weights = dict(named_weights(model))
    compiled = description["compile"]
    if compiled is not None:
        model.compile(**compiled)
    slots = model.optimizer.all_slots if model.optimizer is not None else ()
    state = {f"optimizer:{slot}/{name}": (slot, p) for slot in slots for name, p in weights.items() if p.trainable}
    has_state = any(name.startswith("optimizer:") for name in tensors)
    expected = {name: p.shape for name, p in weights.items()}
    expected |= {name: p.shape for name, (_, p) in state.items()} if has_state else {}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if expected != found:
        names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        rows = [f"{_shown(n)}: expected {expected.get(n, 'none')}, found {found.get(n, 'none')}" for n in names[:5]]
        raise ModelFileError(f"the tensors don't fit the network: {'; '.join(rows)}{'; ...' if len(names) > 5 else ''}")
    for name, tensor in tensors.items():
        if tensor.dtype != model.dtype:
            raise ModelFileError(f"tensor {_shown(name)}: is {tensor.dtype}, the network {model.dtype}")
        if checksums[name] != _sha256(tensor):
            raise ModelFileError(f"checksum of {_shown(name)} does not match")
        if check_finite and not np.isfinite(tensor).all():
            raise ModelFileError(f"tensor {_shown(name)} contains NaN or infinity")
    for name, parameter in weights.items():
        parameter.data = tensors[name]
    model._adopt()
    _restore(model, description, {state[name]: tensors[name] for name in state} if has_state else {})


def _restore(
    model: Sequential, description: Mapping[str, Any], state: Mapping[tuple[str, Parameter], np.ndarray]
) -> None:
    """Bring back what training needs to go on as if it had not been interrupted."""
    step, iterations = description["step"], description["iterations"]
    if not _whole_numbers([step, iterations]):
        raise ModelFileError("step and iterations must be whole numbers")
    model._clock.step = step
    if model.optimizer is None:
        return
    model.optimizer.iterations = iterations
    if state:
        block = model._memory()
        model.optimizer.build(block.data)
        parts = {id(p): part for p, part in zip(block.parameters, block.slices)}
        for (slot, parameter), values in state.items():
            model.optimizer.state[slot][parts[id(parameter)]] = values.reshape(-1)


# --- names ---------------------------------------------------------------------------------------------------------------


def named_weights(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
    """Every weight by its path, "block/conv2d/kernel", in the order of `Layer.weights`."""
    for parameter in sorted(layer._parameters, key=lambda p: not p.trainable):
        yield prefix + parameter.name, parameter
    for name, inner in layer.named_sublayers():
        yield from named_weights(inner, f"{prefix}{name}/")


def _sha256(data: Any) -> str:
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data).data
    return hashlib.sha256(data).hexdigest()


def _shown(value: object) -> str:
    """`value` short and printable: a file must not drive the terminal."""
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= 100 else text[:97] + "..."
    return repr("".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text))
