"""cnnfast: a CNN engine for CPUs. NumPy arrays in, NumPy arrays out.

>>> from cnnfast import Sequential, layers, ops

The kernels are in `ops` and loaded at once (an unknown ``CNNFAST_MAX_ISA`` fails here); everything else is imported
when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import ops
from .ops import get_flush_denormals, get_num_threads, set_flush_denormals, set_num_threads, threads

if TYPE_CHECKING:
    from . import (
        callbacks,
        datasets,
        filters,
        initializers,
        layers,
        losses,
        metrics,
        models,
        networks,
        optimizers,
        regularizers,
        schedules,
        visualize,
    )
    from .config import show_config
    from .errors import ModelFileError
    from .models import Sequential
    from .plans import clear_cache
    from .saving import load_model

__version__ = "0.1.0"

_MODULES = (
    "callbacks",
    "datasets",
    "filters",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "networks",
    "optimizers",
    "regularizers",
    "schedules",
    "sklearn",  # not in __all__: it needs scikit-learn
    "visualize",
)
_NAMES = {
    "ModelFileError": "errors",
    "clear_cache": "plans",
    "Sequential": "models",
    "load_model": "saving",
    "show_config": "config",
}

__all__ = [
    "ModelFileError",
    "Sequential",
    "__version__",
    "callbacks",
    "clear_cache",
    "constraints",
    "datasets",
    "filters",
    "get_flush_denormals",
    "get_num_threads",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "networks",
    "ops",
    "optimizers",
    "regularizers",
    "schedules",
    "set_flush_denormals",
    "set_num_threads",
    "show_config",
    "threads",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
