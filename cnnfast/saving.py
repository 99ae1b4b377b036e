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

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import layers as layers_module
from .errors import ModelFileError
from .files import read_regular_file, shown, write_atomically
from .layers import Layer
from .models import Sequential
from .optimizers import Optimizer
from .parameters import Parameter
from .registry import serialize
from .tensorfile import parse_json, read_tensors, whole_numbers

FORMAT = 1
MAX_LAYERS = 10_000


# --- writing -------------------------------------------------------------------------------------------------------------


def save_model(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`; see `Sequential.save`."""
    if not model.built:
        raise ValueError("save: the network has no weights yet: call fit or build first")
    write_atomically(path, to_bytes(model))


def save_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write `model` without its training to `path`; see `Sequential.save_weights`."""
    if not model.built:
        raise ValueError("save_weights: the network has no weights yet: call fit or build first")
    write_atomically(path, to_bytes(model, with_training=False))


def to_bytes(model: Sequential, with_training: bool = True) -> bytes:
    """Return the model file as bytes."""
    from safetensors.numpy import save

    with model._lock.reading():
        tensors = {name: p.data for name, p in named_weights(model)}
        optimizer = model.optimizer if with_training else None
        if optimizer is not None and optimizer.state and model._block is not None and model._block.is_bound:
            names = {id(p): name for name, p in named_weights(model)}
            for slot, flat in optimizer.state.items():
                for parameter, part in zip(model._block.parameters, model._block.slices):
                    tensors[f"optimizer:{slot}/{names[id(parameter)]}"] = flat[part].reshape(parameter.shape)
        description = json.dumps(_describe(model, optimizer), allow_nan=False, separators=(",", ":"))
        parse_json(description, "the description")  # what can't be read again is not written
        checksums = {"": _sha256(description.encode()), **{name: _sha256(data) for name, data in tensors.items()}}
        metadata = {"cnnfast": json.dumps(checksums, separators=(",", ":")) + "\n" + description}
        return save({name: np.ascontiguousarray(data) for name, data in tensors.items()}, metadata)


def _describe(model: Sequential, optimizer: Optimizer | None) -> dict[str, Any]:
    from . import __version__

    return {
        "format": FORMAT,
        "version": __version__,
        "model": serialize(model),
        "input_shape": list(model.input_shape),
        "compile": None if optimizer is None else model._compile_config(),
        "step": model._clock.step,
        "iterations": 0 if optimizer is None else optimizer.iterations,
    }


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
        raise ModelFileError(f"the description does not make a network: {shown(error)}") from None
    finally:
        layers_module.custom_objects.reset(token)
    return model


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Set the weights of `model` from a model file; see `Sequential.load_weights`."""
    loaded = load_model(path, custom_objects={cls.__name__: cls for cls in _classes(model)})
    if not model.built:
        model.build(loaded.input_shape)
    shapes, found = ([p.shape for p in m.weights] for m in (model, loaded))
    if shapes != found:
        raise ModelFileError(f"the file is of another network: its weights are {shown(found)}, here they are {shown(shapes)}")
    model._restore_weights([p.data for p in loaded.weights])


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
    optimizer._learning_rate = loaded.optimizer._learning_rate
    optimizer.build(block.data)
    for slot, values in loaded.optimizer.state.items():
        optimizer.state[slot][...] = values


def _classes(layer: Layer) -> Iterator[type[Layer]]:
    yield type(layer)
    for inner in layer.sublayers:
        yield from _classes(inner)


def _checked_description(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if set(metadata) != {"cnnfast"}:
        raise ModelFileError("the file describes no cnnfast network: it is another program's safetensors file")
    checksums_text, _, text = metadata["cnnfast"].partition("\n")
    checksums = parse_json(checksums_text, "the list of checksums")
    if not isinstance(checksums, dict) or checksums.get("") != _sha256(text.encode("utf-8", "surrogatepass")):
        raise ModelFileError("checksum of the description does not match")
    description = parse_json(text, "the description")
    version = description.get("format") if isinstance(description, dict) else None
    if type(version) is not int or version < 1:
        raise ModelFileError(f"unknown format {shown(version)}")
    if version > FORMAT:
        raise ModelFileError(f"written by format {version}; this version reads 1…{FORMAT}; upgrade cnnfast")
    wanted = {"format", "version", "model", "input_shape", "compile", "step", "iterations"}
    if set(description) != wanted:
        raise ModelFileError(f"the description must have {sorted(wanted)}, got {shown(sorted(description))}")
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
        raise ModelFileError(f"bad input_shape {shown(shape)}")
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
        rows = [f"{shown(n)}: expected {expected.get(n, 'none')}, found {found.get(n, 'none')}" for n in names[:5]]
        raise ModelFileError(f"the tensors don't fit the network: {'; '.join(rows)}{'; ...' if len(names) > 5 else ''}")
    for name, tensor in tensors.items():
        if tensor.dtype != model.dtype:
            raise ModelFileError(f"tensor {shown(name)}: is {tensor.dtype}, the network {model.dtype}")
        if checksums[name] != _sha256(tensor):
            raise ModelFileError(f"checksum of {shown(name)} does not match")
        if check_finite and not np.isfinite(tensor).all():
            raise ModelFileError(f"tensor {shown(name)} contains NaN or infinity")
    for name, parameter in weights.items():
        parameter.data = tensors[name]
    model._adopt()
    _restore(model, description, {state[name]: tensors[name] for name in state} if has_state else {})


def _restore(
    model: Sequential, description: Mapping[str, Any], state: Mapping[tuple[str, Parameter], np.ndarray]
) -> None:
    """Bring back what training needs to go on as if it had not been interrupted."""
    step, iterations = description["step"], description["iterations"]
    if not whole_numbers([step, iterations]):
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
