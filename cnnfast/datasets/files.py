"""Opening a file that somebody else made."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open `path` for reading; refuse anything that could block or never end (a pipe, a device)."""
    path = os.fspath(path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path!r} is a folder")
    raise ValueError(f"{path!r}: not a regular file")


def folder_of(function: str, folder: str | os.PathLike[str]) -> str:
    """`folder` as a str, which must be an existing folder."""
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        kind = NotADirectoryError if os.path.exists(folder) else FileNotFoundError
        raise kind(f"{function}: no such folder: {folder!r}")
    return folder
