"""What is in use: versions, instruction sets, threads."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Any


def config() -> dict[str, Any]:
    """The build and the machine as cnnfast sees them.

    Returns
    -------
    dict
        Versions, ``isa`` (in use) and ``available_isas``, ``num_threads``, ``openmp`` (version, 0 for none),
        ``flush_denormals``, ``cached_bytes`` (memory kept for reuse).
    """
    import numpy

    from . import __version__
    from .ops.cpu import available_isas, current_isa
    from .ops.memory import cached_bytes
    from .ops.threads import get_flush_denormals, get_num_threads, openmp_version

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return {
        "cnnfast": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "safetensors": version("safetensors"),
        "platform": f"{sys.platform} {platform.machine()}",
        "isa": current_isa(),
        "available_isas": list(available_isas()),
        "num_threads": get_num_threads(),
        "openmp": openmp_version(),
        "flush_denormals": get_flush_denormals(),
        "cached_bytes": cached_bytes(),
    }


def show_config() -> None:
    """Print what `config` returns, a line each."""
    for key, value in config().items():
        print(f"{key:15} {', '.join(value) if isinstance(value, list) else value}")
