"""The checks that constructors of layers share. Each returns the value in its plain form or raises."""

from __future__ import annotations

import operator
from typing import Any

Shape = tuple[int | None, ...]  # None: any size, known at the call


def whole(layer: object, name: str, value: Any, least: int = 1) -> int:
    """Return an int of at least `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{type(layer).__name__}: {name} must be an int, got {value!r}")
    value = operator.index(value)
    if value < least:
        rule = "positive" if least == 1 else f"at least {least}"
        raise ValueError(f"{type(layer).__name__}: {name} must be {rule}, got {value}")
    return value


def pair(layer: object, name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """Return two ints from one or two."""
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(f"{type(layer).__name__}: {name} must be an int or a tuple of 2 ints, got {value!r}")
        return whole(layer, name, value[0], least), whole(layer, name, value[1], least)
    return (whole(layer, name, value, least),) * 2


def single(layer: object, name: str, value: Any, least: int = 1) -> tuple[int]:
    """Return one int, bare or in a tuple, in a tuple."""
    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise ValueError(f"{type(layer).__name__}: {name} must be an int, got {value!r}")
        value = value[0]
    return (whole(layer, name, value, least),)


def choice(layer: object, name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return one of `choices`, in lower case."""
    if not isinstance(value, str):
        raise TypeError(f"{type(layer).__name__}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    if value.lower() not in choices:
        raise ValueError(f"{type(layer).__name__}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value.lower()


def number(layer: object, name: str, value: Any) -> float:
    """Return a finite float."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{type(layer).__name__}: {name} must be a number, got {value!r}")
    if not abs(float(value)) < float("inf"):
        raise ValueError(f"{type(layer).__name__}: {name} must be finite, got {value!r}")
    return float(value)


def flag(layer: object, name: str, value: Any) -> bool:
    """Return a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{type(layer).__name__}: {name} must be True or False, got {value!r}")
    return value


def data_format(layer: object, value: Any) -> str:
    """Return "channels_last" (for None too) or "channels_first"."""
    return choice(layer, "data_format", value or "channels_last", ("channels_last", "channels_first"))
