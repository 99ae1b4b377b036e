"""Objects that are described by a name and their constructor's arguments: layers, losses, optimizers and the rest.

Whatever `get_config` returns is plain JSON, and a name is only ever looked up in a dictionary: reading a description
never imports and never runs anything else than the constructors listed there.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Configurable:
    """An object whose attributes carry the names of its constructor's arguments, so that it can describe itself."""

    name: str | None

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain JSON values."""
        return {name: serialize(getattr(self, name)) for name in argument_names(type(self))}

    @classmethod
    def from_config(cls: type[T], config: Mapping[str, Any]) -> T:
        """Make an object from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        config = ", ".join(f"{name}={getattr(self, name)!r}" for name in argument_names(type(self)))
        return f"{type(self).__name__}({config})"


_argument_names: dict[type, list[str]] = {}  # functools.cache wants a Hashable, which mypy doubts of a class


def argument_names(cls: type) -> list[str]:
    """Names of the arguments of `cls(...)`; those of its bases count if it passes ``**kwargs`` on to them."""
    if cls not in _argument_names:
        _argument_names[cls] = _signature_names(cls)
    return _argument_names[cls]


def _signature_names(cls: type) -> list[str]:
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            names.update((p.name, None) for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return list(names)


def reject_unknown(cls: type, unknown: Mapping[str, Any]) -> None:
    """Raise the TypeError for keywords that `cls` doesn't take, with the name that was probably meant."""
    for name in unknown:
        names = argument_names(cls)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(names)}"
        raise TypeError(f"{cls.__name__}: unexpected argument {name!r}; {hint}")


def serialize(value: Any) -> Any:
    """Describe `value` in plain JSON."""
    if isinstance(value, Configurable):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, (list, tuple)):
        return [serialize(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): serialize(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.dtype):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "serialize"):
        return value.serialize()
    raise TypeError(f"{value!r} can't be described in a model file")


@lru_cache
def snake_case(name: str) -> str:
    """``MaxPooling2D`` -> ``max_pooling2d``, as Keras does."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def lookup(kind: str, identifier: Any, base: type[T], table: Mapping[str, type[T]]) -> T:
    """Return the object that `identifier` means: one already, its class, its name, or its description.

    Parameters
    ----------
    kind : str
        For messages: "optimizer", "loss", ...
    identifier : object
    base : type
        Class of the result.
    table : mapping
        Every class by every name it has.
    """
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if isinstance(identifier, str):
        return _named(kind, identifier, table)()
    if isinstance(identifier, Mapping):
        if set(identifier) != {"class_name", "config"} or not isinstance(identifier["config"], Mapping):
            raise ValueError(f"{kind}: a description has the keys 'class_name' and 'config', got {list(identifier)}")
        return _named(kind, identifier["class_name"], table).from_config(identifier["config"])  # type: ignore[attr-defined]
    raise TypeError(f"{kind} must be a name or a {base.__name__}, got {identifier!r}")


def _named(kind: str, name: Any, table: Mapping[str, type[T]]) -> type[T]:
    if not isinstance(name, str) or name not in table:
        choices = sorted({cls.__name__ for cls in table.values()})
        raise ValueError(f"unknown {kind} {str(name)[:100]!r}; choose from {', '.join(choices)}")
    return table[name]


def table_of(*classes: type[T], **aliases: type[T]) -> dict[str, type[T]]:
    """Classes by their name, by its snake case, and by other names."""
    return {**{c.__name__: c for c in classes}, **{snake_case(c.__name__): c for c in classes}, **aliases}
