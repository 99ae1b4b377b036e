"""The safetensors format, read strictly: every rule is checked before anything is made of the file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import ModelFileError
from .files import check_length, shown

MAX_TENSORS = 100_000
MAX_DEPTH = 32  # of nested JSON
MAX_RANK = 8
MAX_NAME = 1024

_DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def read_tensors(
    content: bytes | bytearray, more_dtypes: Mapping[str, np.dtype] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors of safetensors bytes, views into them, and the metadata. Every rule of the format is checked."""
    dtypes = {**_DTYPES, **(more_dtypes or {})}
    size = check_length(content[:8], len(content))
    try:
        text = content[8 : 8 + size].decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFileError("the header is not UTF-8") from None
    header = parse_json(text, "the header")
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
            raise ModelFileError(f"tensor {shown(name)} starts at {start}, where {end} was expected: a hole or an overlap")
        tensors[name] = np.frombuffer(data[start:stop], dtype).reshape(shape)
        end = stop
    if end != len(data):
        raise ModelFileError(f"{len(data) - end} bytes after the last tensor")
    return tensors, metadata


def _entry(
    name: str, entry: Any, available: int, dtypes: Mapping[str, np.dtype]
) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    """Check one tensor's row of the header."""
    label = shown(name)
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ModelFileError(f"tensor {label}: the name must be 1 to {MAX_NAME} printable characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"tensor {label}: must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise ModelFileError(f"tensor {label}: dtype must be {' or '.join(dtypes)}, got {shown(dtype)}")
    if not whole_numbers(shape) or len(shape) > MAX_RANK or any(n >= 2**31 for n in shape):
        raise ModelFileError(f"tensor {label}: bad shape {shown(shape)}")
    if not whole_numbers(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1]:
        raise ModelFileError(f"tensor {label}: bad data_offsets {shown(offsets)}")
    start, stop = offsets
    if stop > available:
        raise ModelFileError(f"file is truncated: tensor {label} ends at byte {stop:,} of the data, {available:,} present")
    if math.prod(shape) * dtypes[dtype].itemsize != stop - start:
        raise ModelFileError(f"tensor {label}: shape {shape} of {dtype} does not take {stop - start} bytes")
    return name, dtypes[dtype], tuple(shape), start, stop


def whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def parse_json(text: str, what: str) -> Any:
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
            raise ModelFileError(f"{what} names {shown(next(n for n in names if names.count(n) > 1))} twice")
        return result

    def constant(name: str) -> Any:
        raise ModelFileError(f"{what} contains {name}")

    def integer(digits: str) -> int:
        if len(digits) > 20:
            raise ModelFileError(f"{what} contains an integer of {len(digits)} digits")
        return int(digits)

    def real(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ModelFileError(f"{what} contains {shown(digits)}, which no float holds")
        return float(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_int=integer, parse_float=real)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{what} is not JSON: {shown(error)}") from None
