"""Files that are written whole or not at all, and read without trust."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import stat

from .errors import ModelFileError
from .ops.locks import uninterrupted

MAX_HEADER = 16 << 20  # bytes

_FORMATS = {  # how files of other kinds begin
    b"\x80": "a Python pickle; cnnfast never loads pickles",
    b"PK\x03\x04": "a zip file (.npz, .keras, PyTorch); cnnfast loads its own format",
    b"\x89HDF\r\n": "an HDF5 file; cnnfast loads its own format",
    b"\x89PNG": "a PNG picture",
    b"\x93NUMPY": "a NumPy array file",
    b"\x08": "an ONNX model; cnnfast loads its own format",
}


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that is complete or, whatever happens, is not there: temporary name, fsync, rename, fsync of the folder.

    Ctrl-C waits until the file is there, so that nothing half done stays behind. A temporary file that a killed process left
    is swept by the next write of the same name.
    """
    with uninterrupted():
        try:
            _write(path, content)
        except OSError as error:  # of a descriptor, or of the temporary name
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    target = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(target)
    try:
        status = os.stat(target)
    except FileNotFoundError:
        mode = None
    else:
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):  # a device would be replaced by a file
            raise OSError(errno.EINVAL, "Not a regular file")
        mode = stat.S_IMODE(status.st_mode)
    prefix = _temporary_prefix(name)
    temporary = os.path.join(folder, f"{prefix}{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
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
    with contextlib.suppress(OSError):  # the file is there
        _sweep(folder, prefix)


def _temporary_prefix(name: str) -> str:
    """Of temporary files for `name` made on this machine: another one's processes can't be asked whether they live."""
    machine = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:64]
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.{machine}."


def _sweep(folder: str, prefix: str) -> None:
    """Remove temporary files whose process is gone."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.[0-9a-f]{8}\.tmp")
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


def read_regular_file(path: str | os.PathLike[str]) -> bytearray:
    """Return the contents of a regular file; what is not one is refused without waiting for it."""
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"):  # a terminal must not become the process's own
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise ModelFileError(f"{shown(os.fspath(path))} is not a regular file") from None
        raise
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{shown(os.fspath(path))} is not a regular file")
        head = os.read(descriptor, 8)
        for start, kind in _FORMATS.items():
            if head.startswith(start) and (len(head) < 8 or int.from_bytes(head, "little") > MAX_HEADER):
                raise ModelFileError(f"{shown(os.fspath(path))} starts like {kind}")
        check_length(head, status.st_size)
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


def check_length(head: bytes | bytearray, present: int) -> int:
    """Return the header's length from the first 8 bytes."""
    if len(head) < 8:
        raise ModelFileError(f"file is truncated: {present} bytes, even the header's length takes 8")
    size = int.from_bytes(head, "little")
    if size > MAX_HEADER:
        raise ModelFileError(f"not a model file, or damaged: its header would be {size:,} bytes, the limit is {MAX_HEADER:,}")
    if 8 + size > present:
        raise ModelFileError(f"file is truncated: header says {8 + size:,} bytes, {present:,} present")
    return size


def shown(value: object) -> str:
    """`value` short and printable: a file must not drive the terminal."""
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= 100 else text[:97] + "..."
    return repr("".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text))
