"""Threads, processes and the environment: the same bits everywhere, and no way to hang or to end the process."""

import hashlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from harness import assert_same_bits, run_python

from cnnfast import ops
from cnnfast.ops import cpu
from cnnfast.ops.threads import _available, _quota, openmp_version

MOST = 256 if openmp_version() else 1  # threads an op can be given

SETUP = """
import hashlib, os, time, warnings
import numpy as np
from cnnfast import ops
rng = np.random.default_rng(0)
x, w, b = (rng.normal(size=s).astype(np.float32) for s in [(4, 20, 20, 16), (3, 3, 16, 32), (32,)])
def work(threads=None):
    y = ops.conv2d(x, w, b, 1, 1, activation="relu", num_threads=threads)
    dw = ops.conv2d_backward_weight(x, y, w.shape, 1, 1, num_threads=threads)
    return hashlib.sha256(y.tobytes() + dw.tobytes()).hexdigest()
def team(threads):
    ops.relu(np.ones(1 << 20, np.float32), num_threads=threads)  # has tasks for all
    for _ in range(2000):  # those of a larger team before take a moment to end
        count = len(os.listdir("/proc/self/task"))
        if count == (threads or ops.get_num_threads()):
            break
        time.sleep(0.01)
    return count
"""


@pytest.fixture(scope="module")
def digest():
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in [(4, 20, 20, 16), (3, 3, 16, 32), (32,)])
    y = ops.conv2d(x, w, b, 1, 1, activation="relu", num_threads=1)
    dw = ops.conv2d_backward_weight(x, y, w.shape, 1, 1, num_threads=1)
    return hashlib.sha256(y.tobytes() + dw.tobytes()).hexdigest()


def check_child(code, **environment):
    child = run_python(SETUP + code, OPENBLAS_NUM_THREADS="1", **environment)  # NumPy's threads would be counted with ours
    assert child.returncode == 0, f"exit {child.returncode}\n{child.stdout}{child.stderr}"
    return child.stdout.split()


# --- fork ----------------------------------------------------------------------------------------------------------------


def test_fork_after_use(digest):
    """The child computes, with as many threads as the parent had: libgomp by itself would hang here."""
    lines = check_child("""
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of fork in a process with threads
print(work(3), team(3), flush=True)
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        print(work(3), team(3), flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print(work(3), team(3), flush=True)
""")
    assert lines == [digest, str(min(3, MOST))] * 41


def test_fork_while_another_thread_computes(digest):
    lines = check_child("""
import threading
warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()
def compute():
    while not stop.is_set():
        work(2)
worker = threading.Thread(target=compute)
worker.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        print(work(2), flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
worker.join()
print(work(2))
""")
    assert lines == [digest] * 21


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, digest):
    lines = check_child(f"""
import multiprocessing
warnings.simplefilter("ignore", DeprecationWarning)
if __name__ == "__main__":
    work(2)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        parts = pool.starmap(ops.conv2d, [(x[i : i + 1], w, b, 1, 1) for i in range(4)])
    print(np.array_equal(np.concatenate(parts), ops.conv2d(x, w, b, 1, 1)))
""")
    assert lines == ["True"]


# --- environment ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        *({"OMP_NUM_THREADS": value} for value in ["0", "-3", "abc", "4,2", "99999999999", ""]),
        {"OMP_THREAD_LIMIT": "1"},
        {"OMP_THREAD_LIMIT": "2", "OMP_DYNAMIC": "true", "OMP_NUM_THREADS": "7"},
        {"OMP_STACKSIZE": "1K", "OMP_WAIT_POLICY": "nonsense", "GOMP_CPU_AFFINITY": "x-y", "OMP_PROC_BIND": "maybe"},
        {"OMP_SCHEDULE": "static,0", "OMP_MAX_ACTIVE_LEVELS": "0", "OMP_CANCELLATION": "true", "OMP_NESTED": "true"},
    ],
    ids=str,
)
def test_openmp_environment(environment, digest):
    lines = check_child("print(work(), work(3), work(300), ops.get_num_threads())", **environment)
    assert lines[:3] == [digest] * 3 and 1 <= int(lines[3]) <= 256


@pytest.mark.parametrize("value, count", [("3", 3), ("1", 1), ("1000", 256), ("9" * 20, 256)])
def test_cnnfast_num_threads(value, count, digest):
    lines = check_child("print(work(), ops.get_num_threads())", CNNFAST_NUM_THREADS=value, OMP_NUM_THREADS="2")
    assert lines == [digest, str(min(count, MOST))]


@pytest.mark.parametrize("value", ["abc", "0", "-2", "2.5", "4,2"])
def test_cnnfast_num_threads_of_nonsense_is_one_warning(value, digest):
    code = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from cnnfast import ops
assert [w.category for w in caught] == [RuntimeWarning], caught
assert "CNNFAST_NUM_THREADS" in str(caught[0].message) and {value!r} in str(caught[0].message)
"""
    child = run_python(code + SETUP + "print(work())", CNNFAST_NUM_THREADS=value)
    assert (child.returncode, child.stdout.split()) == (0, [digest]), child.stderr


def test_max_isa_lowers_the_path():
    code = "from cnnfast.ops import cpu, relu; relu([-1.0, 2.0]); print(cpu.current_isa())"
    for wanted in ("scalar", "avx2", "avx512", "amx"):
        child = run_python(code, CNNFAST_MAX_ISA=wanted)
        best = wanted if wanted in cpu.available_isas() else cpu.available_isas()[-1]
        assert (child.returncode, child.stdout.strip()) == (0, best), child.stderr
    child = run_python(code, CNNFAST_MAX_ISA=None)
    assert child.stdout.strip() == cpu.available_isas()[-1]


@pytest.mark.parametrize("value", ["avx9", "AVX2", "sse2", "1"])
def test_unknown_max_isa_is_an_import_error(value):
    code = f"""
try:
    import cnnfast.ops
except ImportError as error:
    message = str(error)
assert all(word in message for word in ("CNNFAST_MAX_ISA", "scalar", "avx2", "avx512", "amx", {value!r})), message
print("named")
"""
    child = run_python(code, CNNFAST_MAX_ISA=value)
    assert (child.returncode, child.stdout.strip()) == (0, "named"), child.stderr


FMA, OSXSAVE, AVX, AVX2 = 1 << 12, 1 << 27, 1 << 28, 1 << 5
AVX512 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31  # f, dq, bw, vl


@pytest.mark.parametrize(
    "leaf1, leaf7, xcr0, expected",
    [
        (FMA | OSXSAVE | AVX, AVX2 | AVX512, 0xE7, "avx512"),
        (FMA | OSXSAVE | AVX, AVX2 | AVX512, 0x07, "avx2"),  # the system doesn't save ZMM registers
        (FMA | OSXSAVE | AVX, AVX2 | AVX512, 0x03, "scalar"),  # nor YMM
        (FMA | OSXSAVE | AVX, AVX2 | AVX512 & ~(1 << 31), 0xE7, "avx2"),  # no vl
        (FMA | OSXSAVE | AVX, AVX2, 0xE7, "avx2"),
        (OSXSAVE | AVX, AVX2 | AVX512, 0xE7, "scalar"),  # a hypervisor hides FMA
        (FMA | AVX, AVX2 | AVX512, 0xE7, "scalar"),
        (FMA | OSXSAVE | AVX, AVX512, 0xE7, "scalar"),
        (0, 0, 0, "scalar"),
    ],
)
def test_choice_of_isa(leaf1, leaf7, xcr0, expected):
    assert cpu.isa_for(leaf1, leaf7, xcr0) == expected


@pytest.mark.parametrize(
    "leaf7, leaf7_edx, xcr0, expected",
    [
        (AVX512, 1 << 22 | 1 << 24, 0x600E7, "amx"),
        (AVX512, 1 << 24, 0x600E7, "avx512"),  # tiles, but not of bfloat16
        (AVX512, 1 << 22 | 1 << 24, 0x200E7, "avx512"),  # the system doesn't save what tiles hold
        (0, 1 << 22 | 1 << 24, 0x600E7, "avx2"),
    ],
)
def test_choice_of_tiles(leaf7, leaf7_edx, xcr0, expected):
    assert cpu.isa_for(FMA | OSXSAVE | AVX, AVX2 | leaf7, xcr0, leaf7_edx) == expected


@pytest.mark.skipif("amx" not in cpu.available_isas(), reason="needs a CPU with AMX")
def test_a_process_that_may_not_use_tiles_does_without(tmp_path):
    """The kernel refuses them where a signal's handler has too small a stack for them."""
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(4096)
small = libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 4096)), None) == 0
import numpy as np
from cnnfast import ops
from cnnfast.ops import cpu
y = ops.conv2d(np.ones((1, 14, 14, 512), np.float32), np.ones((1, 1, 512, 512), np.float32))
print(small, cpu.current_isa(), (y == 512).all())
"""
    child = run_python(code, CNNFAST_MAX_ISA=None)
    assert child.stdout.split() in (["True", "avx512", "True"], ["False", "amx", "True"]), child.stderr


def test_using_isa_restores():
    before = cpu.current_isa()
    with pytest.raises(KeyError), cpu.using_isa("scalar"):
        assert cpu.current_isa() == "scalar"
        raise KeyError
    assert cpu.current_isa() == before
    with pytest.raises(ValueError, match=r"using_isa: .*scalar.*'avx9'"), cpu.using_isa("avx9"):
        pass


# --- thread counts -------------------------------------------------------------------------------------------------------


def test_set_num_threads():
    before = ops.get_num_threads()
    try:
        ops.set_num_threads(3)
        assert ops.get_num_threads() == min(3, MOST)
        with ops.threads(2):
            assert ops.get_num_threads() == min(2, MOST)
            with ops.threads(5):
                assert ops.get_num_threads() == min(5, MOST)
            with ThreadPoolExecutor(1) as pool:  # the block is this thread's own
                assert pool.submit(ops.get_num_threads).result() == min(3, MOST)
        assert ops.get_num_threads() == min(3, MOST)
        with pytest.raises(KeyError), ops.threads(2):
            raise KeyError
        assert ops.get_num_threads() == min(3, MOST)
    finally:
        ops.set_num_threads(before)


@pytest.mark.parametrize("function", [ops.set_num_threads, lambda n: ops.threads(n).__enter__()])
@pytest.mark.parametrize(
    "value, error",
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("2", TypeError), (True, TypeError), (None, TypeError)],
)
def test_bad_thread_counts(function, value, error):
    before = ops.get_num_threads()
    with pytest.raises(error, match="num_threads must be"):
        function(value)
    assert ops.get_num_threads() == before


@pytest.mark.parametrize("value, error", [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_bad_num_threads_argument(value, error):
    x = np.ones((2, 3), np.float32)
    with pytest.raises(error, match="matmul: num_threads must be"):
        ops.matmul(x, x.T, num_threads=value)


def test_explicit_count_is_honoured():
    """As many tasks of the system as threads were asked for, and never more than the limit by default."""
    lines = check_child("""
ops.set_num_threads(1)
work()
print(team(None), team(3), team(5))
ops.set_num_threads(4)
print(team(None))
with ops.threads(2):
    print(team(None))
""")
    assert lines == [str(min(n, MOST)) for n in (1, 3, 5, 4, 2)]


@pytest.mark.skipif(MOST == 1, reason="without OpenMP")
def test_little_work_gets_a_team_where_calls_follow_each_other():
    """To wake a team takes longer than a few microseconds of work: once is worth it for many calls, not for each of them."""
    lines = check_child("""
ops.set_num_threads(2)
x = np.ones(60000, np.float32)
for _ in range(20):
    ops.relu(x)
    time.sleep(0.005)
print(len(os.listdir("/proc/self/task")))
for _ in range(2000):
    ops.relu(x)
print(len(os.listdir("/proc/self/task")))
""")
    assert lines == ["1", "2"]


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_NPROC"])
def test_threads_that_cannot_be_created_are_done_without(limit):
    """libgomp by itself would end the process. Nothing but the stacks of threads asks for memory under the limit."""
    if limit == "RLIMIT_NPROC" and os.getuid() != 0:
        pytest.skip("needs root: this user's other processes count against the limit")
    lines = check_child(f"""
import pathlib, resource
x = np.linspace(-1, 1, 1 << 18, dtype=np.float32)  # 16 tasks
y = np.empty_like(x)
expected = ops.relu(x, out=y, num_threads=1).copy()
if {limit!r} == "RLIMIT_NPROC":
    os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
else:
    size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (6 << 20), size + (6 << 20)))  # a thread's stack takes 8
for threads in (3, 300):
    y.fill(np.nan)
    ops.relu(x, out=y, num_threads=threads)
    print(y.tobytes() == expected.tobytes(), len(os.listdir("/proc/self/task")))
""")
    assert lines == ["True", "1"] * 2


@pytest.mark.parametrize("name", ["OMP_STACKSIZE", "GOMP_STACKSIZE"])
@pytest.mark.parametrize("stack", ["300M", " 1 g ", "307200", "400000k", "500000000B"])
def test_threads_with_large_stacks_that_cannot_be_created(stack, name):
    """There is room for threads with the usual stacks, not for the ones that the environment asks for."""
    lines = check_child("""
import pathlib, resource
x = np.linspace(-1, 1, 1 << 18, dtype=np.float32)
y = np.empty_like(x)
expected = ops.relu(x, out=y, num_threads=1).copy()
size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20), size + (200 << 20)))
y.fill(np.nan)
ops.relu(x, out=y, num_threads=3)
print(y.tobytes() == expected.tobytes(), len(os.listdir("/proc/self/task")))
""", **{"OMP_STACKSIZE": None, "GOMP_STACKSIZE": None, name: stack})  # fmt: skip
    assert lines == ["True", "1"]


def test_limits_of_a_cgroup(tmp_path):
    """Version 2's file, version 1's two; what cannot be read or is no number grants everything."""
    new, old = tmp_path / "cpu.max", tmp_path / "cpu"
    old.mkdir()
    assert _quota(tmp_path) is None
    for text, count in [("150000 100000", 2), ("100000 100000", 1), ("1000 100000", 1), ("max 100000", None), ("", None),
                        ("x y", None), ("-1 100000", None), ("100000 0", None), ("nan 1", None)]:  # fmt: skip
        new.write_text(text + "\n")
        assert _quota(tmp_path) == count, text
    new.unlink()
    for quota, count in [("250000", 3), ("-1", None), ("many", None)]:
        (old / "cpu.cfs_quota_us").write_text(quota)
        (old / "cpu.cfs_period_us").write_text("100000")
        assert _quota(tmp_path) == count, quota


def test_affinity_limits_the_threads():
    lines = check_child("""
import subprocess, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(subprocess.run([sys.executable, "-c", "import cnnfast; print(cnnfast.get_num_threads())"],
                     capture_output=True, text=True, check=True).stdout)
""", CNNFAST_NUM_THREADS=None, OMP_NUM_THREADS=None)  # fmt: skip
    assert lines == ["1"]


@pytest.mark.skipif(_available() < 2 or not hasattr(os, "sched_setaffinity"), reason="needs two CPUs and their choice")
def test_threads_on_one_cpu_part_and_may_run_anywhere_afterwards():
    """A thread that wakes up on the CPU of its caller leaves it; nobody's affinity changes for that."""
    lines = check_child("""
cpus = os.sched_getaffinity(0)
tasks = lambda: [int(name) for name in os.listdir("/proc/self/task")]
def allow(some):
    for task in tasks():
        os.sched_setaffinity(task, some)
def places():
    found = set()
    for task in tasks():
        with open(f"/proc/self/task/{task}/stat") as file:
            found.add(file.read().rsplit(")", 1)[1].split()[36])
    return len(found)
team(2)
x, parted, together = np.ones(1 << 17, np.float32), 0, 0
for _ in range(10):
    allow({min(cpus)})
    ops.relu(x, num_threads=2)
    together += places() == 1
    allow(cpus)
    ops.relu(x, num_threads=2)
    parted += places() == 2
print(together, parted >= 8, all(os.sched_getaffinity(task) == cpus for task in tasks()))
""", CNNFAST_NUM_THREADS="2", OMP_NUM_THREADS="2")  # fmt: skip
    assert lines == ["10", "True", "True"]


def test_threadpoolctl_limits_the_threads():
    lines = check_child("""
from threadpoolctl import threadpool_limits
with threadpool_limits(1):
    print(ops.get_num_threads(), team(None))
print(ops.get_num_threads(), team(None))
with threadpool_limits(2):
    print(ops.get_num_threads())
    with ops.threads(4):
        print(ops.get_num_threads())
print(ops.get_num_threads())
""", CNNFAST_NUM_THREADS="3", OMP_NUM_THREADS="3")  # fmt: skip
    assert lines == [str(min(n, MOST)) for n in (1, 1, 3, 3, 2, 4, 3)]


def test_callers_at_the_same_time_share_the_threads(digest):
    """joblib's eight threads: those that compute are one each; and a caller who is alone has all of them again."""
    lines = check_child("""
import ctypes, threading
from joblib import Parallel, delayed
def digests(_):
    return {work() for _ in range(30)}
barrier = threading.Barrier(8)
def met(_):  # each opens a team while the others do
    barrier.wait()
    return digests(0)
found = Parallel(n_jobs=8, backend="threading")(delayed(met)(i) for i in range(8))
print(*set.union(*found), team(None))
long, tiny = np.ones(1 << 26, np.float32), np.ones(1 << 20, np.float32)
helper = threading.Thread(target=lambda: ops.gelu(long, num_threads=1))
helper.start()
time.sleep(0.02)
def more():
    before = len(os.listdir("/proc/self/task"))
    ops.relu(tiny)
    print(len(os.listdir("/proc/self/task")) - before, helper.is_alive())
other = threading.Thread(target=more)
other.start()
other.join()
helper.join()
""", CNNFAST_NUM_THREADS="2")  # fmt: skip
    assert lines == [digest, str(min(2, MOST)), "0", "True"]


def test_small_stacks():
    """All kernels of the list, on a Python thread of 128 KiB whose team has 64 KiB each."""
    lines = check_child("""
import sys, threading
from harness import ROOT
sys.path.append(str(ROOT / "tests" / "ops"))
from test_kernel_list import calls, results
from cnnfast.ops import cpu
done = []
def everything():
    for isa in cpu.available_isas():
        for dtype in map(np.dtype, ("float32", "float64")):
            with cpu.using_isa(isa):
                for op, arguments, options in calls(np.random.default_rng(0), dtype):
                    results(ops, op, arguments, dict(options, num_threads=2), dtype)
                    done.append(op)
    work(2)
everything_once = list(calls(np.random.default_rng(0), np.dtype("f4")))
threading.stack_size(128 << 10)
thread = threading.Thread(target=everything)
thread.start()
thread.join()
print(len(done) // len(everything_once) == 2 * len(cpu.available_isas()))
""", OMP_STACKSIZE="64K")  # fmt: skip
    assert lines == ["True"]


def test_threads_end_with_the_python_threads_that_used_them():
    lines = check_child("""
import threading, time
for _ in range(100):
    thread = threading.Thread(target=work, args=(3,))
    thread.start()
    thread.join()
for _ in range(5000):  # joined is not yet gone
    left = len(os.listdir("/proc/self/task"))
    if left == 1:
        break
    time.sleep(0.01)
print(left)
""")
    assert lines == ["1"]


def test_same_bits_in_every_process():
    """Address layout, hash seed and size of the environment differ; training is in it."""
    code = """
import sys
from harness import ROOT
sys.path.append(str(ROOT / "tests"))
from nets import compiled, every_layer, images
model = compiled(every_layer())
pictures, labels = images()
model.fit(pictures, labels, epochs=2, batch_size=16, verbose=0)
bits = b"".join(w.tobytes() for w in [*model.get_weights(), model.predict(pictures, verbose=0)])
print(len({work() for _ in range(100)}), work(), hashlib.sha256(bits).hexdigest())
"""
    runs = [check_child(code, PYTHONHASHSEED=str(n), CNNFAST_PADDING="x" * 777 * n) for n in range(4)]
    assert runs[0][0] == "1" and all(run == runs[0] for run in runs)


# --- Python threads ------------------------------------------------------------------------------------------------------


def test_many_python_threads_get_the_same_bits(rng):
    x, w = rng.normal(size=(2, 14, 14, 8)).astype(np.float32), rng.normal(size=(3, 3, 8, 24)).astype(np.float32)
    expected = ops.conv2d(x, w, padding=1)
    barrier = threading.Barrier(8)

    def compute(_):
        barrier.wait()
        return [ops.conv2d(x, w, padding=1, num_threads=n % 3 + 1) for n in range(30)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(compute, range(8)):
            for y in results:
                assert_same_bits(y, expected)


def test_the_gil_is_released(rng):
    """Another Python thread sees a result of which a part is there: however slow the machine, it ran during the call."""
    x, w = rng.normal(size=(8, 40, 40, 32)), rng.normal(size=(5, 5, 32, 64))
    with cpu.using_isa("scalar"):
        out = np.full(ops.conv2d(x, w, padding=2).shape, np.nan)
        seen, ended = [], threading.Event()

        def watch():
            while not ended.is_set() and not seen:
                there = ~np.isnan(out[:, ::8, ::8, 0])
                if there.any() and not there.all():
                    seen.append(there.mean())

        watcher = threading.Thread(target=watch)
        watcher.start()
        ops.conv2d(x, w, padding=2, num_threads=1, out=out)
        ended.set()
        watcher.join()
    assert seen


def test_the_gil_is_released_while_sums_are_merged():
    """Of a million columns: another Python thread sees some of the merged sums, and not yet the others, in one of many calls."""
    x = np.ones((1, 1_000_000), np.float32)
    outs = tuple(np.empty(shape, np.float32) for shape in (x.shape, x.shape[1:], x.shape[1:]))
    seen, ended = [], threading.Event()

    def watch():
        while not ended.is_set() and not seen:
            first, last = outs[2][[0, -1]]  # at once: only what runs without the GIL can come between
            if np.isnan(last) and not np.isnan(first):
                seen.append(True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(200):
        outs[2][[0, -1]] = np.nan
        ops.layer_norm_backward(x, x, x.shape[1:], out=outs, num_threads=1)
        if seen:
            break
    ended.set()
    watcher.join()
    assert seen


def test_values_may_change_during_the_call(rng):
    """Another thread writes the input: values are undefined, nothing breaks."""
    x, w = rng.normal(size=(4, 30, 30, 8)).astype(np.float32), rng.normal(size=(3, 3, 8, 16)).astype(np.float32)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            x[:] = -x

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        for _ in range(30):
            assert np.isfinite(ops.conv2d(x, w, padding=1, num_threads=2)).all()
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("op, size", [("conv2d", (4, 64, 64, 64)), ("matmul", (4096, 1024)), ("max_pool2d", (8, 128, 128, 32)),
                                      ("plan", (32, 64, 64, 8))])  # fmt: skip
def test_ctrl_c_ends_a_huge_call(op, size, threads):
    """It comes when the first values are there, and ends long before the last; then memory and team serve the next calls."""
    child = run_python(f"""
import signal, threading, numpy as np
from cnnfast import Sequential, layers, ops
from cnnfast.ops import cpu
signal.signal(signal.SIGINT, signal.default_int_handler)
ops.set_num_threads({threads})
rng = np.random.default_rng(0)
x = rng.normal(size={size})
kernel, matrix = rng.normal(size=(7, 7, 64, 64)), rng.normal(size=(1024, 1024))
model = Sequential([layers.Input((64, 64, 8)), layers.Conv2D(128, 3, use_bias=False), layers.GlobalMaxPooling2D()],
                   seed=0, dtype="float64")
op, out = {dict(conv2d="lambda x, out: ops.conv2d(x, kernel, padding=3, out=out)",
                matmul="lambda x, out: ops.matmul(x, matrix, out=out)",
                max_pool2d="lambda x, out: ops.max_pool2d(x, 15, 1, 7, out=out)",
                plan="lambda x, out: model.predict_on_batch(x)")[op]}, None
with cpu.using_isa("scalar"):
    small = op(x[:1], None)
    if {op!r} == "plan":
        op(x, None), op(x, None)  # from now on it is planned
    else:
        out = np.full((len(x), *small.shape[1:]), np.nan)
    done = threading.Event()
    def interrupt():
        if out is None:
            done.wait(0.02)
        else:
            while not done.wait(0.001) and np.isnan(out.reshape(-1)[::97]).all():
                pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    helper = threading.Thread(target=interrupt)
    try:
        helper.start()
        op(x, out)
        done.set()
        helper.join()
    except KeyboardInterrupt:
        helper.join()
    assert out is None or np.isnan(out).any()
    for _ in range(3):
        assert op(x[:1], None).tobytes() == small.tobytes()
    print("usable")
""")  # fmt: skip
    assert (child.returncode, child.stdout) == (0, "usable\n"), child.stdout + child.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_signals_during_a_call_are_served(rng):
    x, w = rng.normal(size=(8, 30, 30, 16)), rng.normal(size=(3, 3, 16, 32))
    expected, served = ops.conv2d(x, w), []
    before = signal.signal(signal.SIGALRM, lambda *_: served.append(os.getpid()))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        for _ in range(1000):  # many more than it takes
            assert_same_bits(ops.conv2d(x, w, num_threads=2), expected)
            if len(served) > 5:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert served
