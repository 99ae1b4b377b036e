"""Writing files whole or not at all, whatever happens to who writes them; reading what is no plain file.

What is in a file is in `test_saving.py`.
"""

from __future__ import annotations

import mmap
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest
from harness import run_python
from nets import small
from processes import fork

from cnnfast import ModelFileError, files, load_model, saving

OLD, NEW = (saving.to_bytes(small(seed=seed)) for seed in (0, 1))


def assert_whole(path):
    """The file is the old or the new one, and nothing else is left."""
    assert path.read_bytes() in (OLD, NEW)
    assert os.listdir(path.parent) == [path.name]


# --- the kernel says no, or there is a kill --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strace():
    """The program; the gate names it, and then it is not optional."""
    program = os.environ.get("CNNFAST_STRACE") or shutil.which("strace")
    if program is None:
        pytest.skip("no strace")
    return program


MEMORY = {"brk", "mmap", "munmap", "mremap", "madvise", "futex"}  # not the same in every run


def traced_save(strace, path, *options):
    """Save NEW in a child that strace watches from the first system call of the save on.

    Returns the exit code (0, 2: an OSError that names the path, 3: of something else, or the signal's number, negative) and
    the names of the calls.
    """
    (waits, go), (ready, says) = os.pipe(), os.pipe()
    child = fork()
    if child == 0:
        code = 1
        try:
            os.close(go)
            os.write(says, b"1")
            os.read(waits, 1)
            files.write_atomically(path, NEW)
            code = 0
        except OSError as error:
            code = 2 if error.filename == os.fspath(path) and error.errno else 3
        finally:
            os._exit(code)
    os.read(ready, 1)
    watcher = subprocess.Popen([strace, "-p", str(child), *options], stderr=subprocess.PIPE)
    log = b""
    try:
        while b"read(" not in log:  # the child's wait: it is watched
            part = os.read(watcher.stderr.fileno(), 4096)
            assert part, log
            log += part
    finally:
        for descriptor in (waits, go, ready, says):
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log += watcher.communicate(timeout=60)[1]
    names = re.findall(r"^(\w+)\(", log.decode(), re.M)
    assert names[0] == "read"
    return code, [name for name in names[1:] if name not in {*MEMORY, "exit_group"}]


@pytest.fixture
def saves(strace, tmp_path):
    """What each system call of a save is, and how to do the save again with one of them disturbed."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "m"
    files.write_atomically(path, OLD)
    code, calls = traced_save(strace, path)
    assert code == 0 and path.read_bytes() == NEW and calls.count("fsync") == 2 and calls.count("rename") == 1

    def disturbed(number, how):
        files.write_atomically(path, OLD)  # and sweep
        assert_whole(path)
        nth = Counter(calls[: number + 1])[calls[number]]
        return traced_save(strace, path, "-e", f"inject={calls[number]}:{how}:when={nth}")[0]

    return path, calls, disturbed


def test_killed_at_every_system_call(saves):
    path, calls, disturbed = saves
    for number in range(len(calls)):
        assert disturbed(number, "signal=KILL") == -signal.SIGKILL, calls[number]
        assert path.read_bytes() == (OLD if number <= calls.index("rename") else NEW), calls[number]
    files.write_atomically(path, NEW)
    assert_whole(path)


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_at_any_moment(tmp_path, rng, kills):
    """Savers are killed while they save without end; whatever they leave loads, and the next save sweeps up."""
    path = tmp_path / "m"
    files.write_atomically(path, OLD)
    for _ in range(kills):
        seen, saved = os.pipe()
        child = fork()
        if child == 0:
            while True:
                files.write_atomically(path, NEW)
                os.write(saved, b"1")
                files.write_atomically(path, OLD)
        os.close(saved)
        assert os.read(seen, 1)  # it is at work
        time.sleep(float(rng.random()) * 0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(seen)
        assert path.read_bytes() in (OLD, NEW)
        assert load_model(path).built
    files.write_atomically(path, NEW)
    assert_whole(path)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_every_system_call_may_fail(saves, error):
    """The error names the path; what was there before is there still, whole, and nothing beside it."""
    path, calls, disturbed = saves
    failed = set()
    for number, name in enumerate(calls):
        if name.startswith(("rt_sig", "getpid", "getrandom", "uname")):
            continue
        code = disturbed(number, f"error={error}")
        assert_whole(path)
        assert code in (0, 2), name
        if code == 2:
            failed.add(name)
            assert path.read_bytes() == (OLD if number <= calls.index("rename") else NEW), name
        else:
            assert path.read_bytes() == NEW
    assert failed >= {"openat", "write", "fsync", "rename"}


def test_disk_full(tmp_path):
    """A file system of 64 KiB, or a limit on the size of files where none can be mounted."""
    code = f"""
import os, resource, signal, subprocess
from cnnfast import Sequential, layers, load_model
folder = {str(tmp_path)!r}
mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]).returncode == 0
try:
    path = os.path.join(folder, "m")
    small = Sequential([layers.Input((10,)), layers.Dense(10)], seed=0)
    small.save(path)
    if not mounted:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    before = open(path, "rb").read()
    large = Sequential([layers.Input((200,)), layers.Dense(200)], seed=0)
    try:
        large.save(path)
    except OSError as error:
        print(error)
    assert open(path, "rb").read() == before and os.listdir(folder) == ["m"]
    assert load_model(path).get_weights()[0].tobytes() == small.get_weights()[0].tobytes()
    small.save(path)  # there is room for this one
finally:
    if mounted:
        subprocess.run(["umount", folder], check=True)
"""
    run = run_python(code)
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(rf"\[Errno \d+\] (No space left on device|File too large): '{tmp_path}/m'\n", run.stdout), run.stdout


# --- Ctrl-C --------------------------------------------------------------------------------------------------------------


def test_ctrl_c_at_every_instruction_of_a_save(tmp_path, monkeypatch):
    """It is neither lost nor leaves anything half done: a file is old or new, handler and descriptors are as before."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    path, own = tmp_path / "m", {files.__file__}
    files.write_atomically(path, OLD)
    descriptors = os.listdir("/proc/self/fd")
    before, tracer = signal.signal(signal.SIGINT, signal.default_int_handler), sys.gettrace()
    moment, sent, ends = 0, True, []
    try:
        while sent:
            moment, sent, count = moment + 1, False, 0

            def trace(frame, event, argument, moment=moment):
                nonlocal sent, count
                if frame.f_code.co_filename not in own:
                    return None
                frame.f_trace_opcodes = True
                count += event == "opcode"
                if count == moment and not sent:
                    sent = True
                    signal.raise_signal(signal.SIGINT)
                return trace

            try:
                sys.settrace(trace)
                files.write_atomically(path, NEW)
                sys.settrace(tracer)
                interrupted = False
            except KeyboardInterrupt:
                sys.settrace(tracer)
                interrupted = True
            assert interrupted == sent
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert_whole(path)
            assert len(os.listdir("/proc/self/fd")) == len(descriptors)
            ends.append(path.read_bytes() == NEW)
            path.write_bytes(OLD)
    finally:
        sys.settrace(tracer)
        signal.signal(signal.SIGINT, before)
    assert len(ends) > 200 and not ends[0] and ends[-1]


# --- others at the same file ---------------------------------------------------------------------------------------------


def test_many_savers_and_readers_of_one_path(tmp_path):
    """Processes that write two contents in turn; whoever reads meanwhile finds one of the two."""
    path = tmp_path / "m"
    files.write_atomically(path, OLD)
    savers = []
    for first in (OLD, NEW):
        child = fork()
        if child == 0:
            code = 1
            try:
                for content in [first, OLD, NEW, NEW, first] * 40:
                    files.write_atomically(path, content)
                code = 0
            finally:
                os._exit(code)
        savers.append(child)
    reads = 0
    while savers:
        assert files.read_regular_file(path) in (OLD, NEW)
        reads += 1
        pid, status = os.waitpid(-1, os.WNOHANG) if reads % 5 == 0 else (0, 0)
        if pid:
            assert status == 0
            savers.remove(pid)
    assert_whole(path)
    assert load_model(path).built


def test_a_save_leaves_who_mapped_the_old_file_alone(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(OLD)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        files.write_atomically(path, NEW)
        assert mapped[:] == OLD and path.read_bytes() == NEW


@pytest.mark.parametrize("change", ["replaced", "truncated", "emptied", "removed", "grown"])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, change):
    """One descriptor is read from beginning to end: no SIGBUS, and never half of one and half of another."""
    path = tmp_path / "m"
    path.write_bytes(OLD)
    readv = os.readv

    def some(descriptor, buffers):
        count = readv(descriptor, [buffers[0][:100]])
        if change == "replaced":
            files.write_atomically(path, NEW)
        elif change == "removed" and path.exists():
            path.unlink()
        elif change == "grown":
            with open(path, "ab") as file:
                file.write(b"more")
        elif change in ("truncated", "emptied"):
            os.truncate(path, 600 if change == "truncated" else 0)
        return count

    monkeypatch.setattr(os, "readv", some)
    if change in ("truncated", "emptied"):
        with pytest.raises(ModelFileError, match="file is truncated"):
            load_model(path)
    else:
        assert saving.to_bytes(load_model(path)) == OLD


# --- what is no plain file, what may not be touched ------------------------------------------------------------------------


@pytest.fixture(params=["fifo", "socket", "device", "terminal"])
def no_file(request, tmp_path):
    """A path that is there and is no regular file."""
    if request.param == "fifo":
        os.mkfifo(tmp_path / "x")
        yield tmp_path / "x"
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "x"))
            yield tmp_path / "x"
    elif request.param == "device":
        yield "/dev/full"
    else:
        ours, theirs = pty.openpty()
        yield os.ttyname(theirs)
        os.close(ours)
        os.close(theirs)


def test_neither_read_nor_written(no_file):
    """At once: nobody is at the other end of a pipe."""
    before = os.stat(no_file)
    with pytest.raises(ModelFileError, match="is not a regular file"):
        load_model(no_file)
    model = small()
    with pytest.raises(OSError, match="Not a regular file") as caught:
        model.save(no_file)
    assert caught.value.filename == os.fspath(no_file)
    after = os.stat(no_file)
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)


def test_a_terminal_does_not_become_ours(tmp_path):
    run = run_python("""
import os, pty
import cnnfast
ours, theirs = pty.openpty()
name = os.ttyname(theirs)
child = os.fork()
if child == 0:
    os.setsid()
    try:
        cnnfast.load_model(name)
    except cnnfast.ModelFileError:
        pass
    try:
        os.open("/dev/tty", os.O_RDWR)
    except OSError:
        os._exit(0)
    os._exit(1)
print(os.waitpid(child, 0)[1])
""")
    assert (run.returncode, run.stdout) == (0, "0\n"), run.stderr


def test_permissions(tmp_path):
    """No right to read, to write into the folder, to pass through it. Root, who may everything, becomes nobody first."""
    closed, secret = tmp_path / "closed", tmp_path / "secret"
    (closed / "in").mkdir(parents=True)
    for file in (closed / "m", closed / "in" / "m", secret):
        file.write_bytes(OLD)
    secret.chmod(0)
    run = run_python(f"""
import os
import cnnfast, cnnfast.saving
from nets import small
model = small()
cnnfast.saving.to_bytes(model)  # nobody may not import: what saving needs is here now
os.chmod({str(closed)!r}, 0o755)
os.chdir({str(tmp_path)!r})
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
else:
    os.chmod("closed", 0o555)
for call in (lambda: cnnfast.load_model("secret"), lambda: model.save("closed/m"), lambda: model.save("closed/new"),
             lambda: model.save_weights("closed/new")):
    try:
        call()
    except PermissionError as error:
        print(error.filename)
if os.getuid() != 65534:
    os.chmod("closed", 0o755)
""")
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["secret", "closed/m", "closed/new", "closed/new"]
    assert (closed / "m").read_bytes() == OLD and sorted(os.listdir(closed)) == ["in", "m"]


def test_a_secret_file_stays_secret_at_every_moment(tmp_path, monkeypatch):
    path, modes = tmp_path / "m", []
    path.write_bytes(OLD)
    path.chmod(0o600)
    fchmod = os.fchmod

    def look(descriptor, mode):
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", look)
    umask = os.umask(0)
    try:
        files.write_atomically(path, NEW)
    finally:
        os.umask(umask)
    assert modes == [0o600] and os.stat(path).st_mode & 0o777 == 0o600
