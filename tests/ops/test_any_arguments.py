"""Calls with arguments of any type and value: an answer, or TypeError, ValueError, OverflowError or MemoryError. Nothing else.

Each valid call of `test_kernel_list.calls` has one or two of its arguments replaced, in a process of its own with limited memory
and time, and is repeated as it was from time to time: its bits are what they were.
"""

import pytest
from harness import run_python

CODE = """
import inspect, resource, sys, warnings
import numpy as np
from harness import ROOT
sys.path.append(str(ROOT / "tests" / "ops"))
from test_kernel_list import calls, results
from cnnfast import ops
SEED, COUNT = {seed}, {count}
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
ops.set_num_threads(2)
warnings.simplefilter("ignore")  # NumPy's, of casts that it was asked for
rng = np.random.default_rng(SEED)

class Sub(np.ndarray):
    pass

class Liar:
    shape, dtype, ndim = (2, 2), np.dtype("f4"), 2

    def __array__(self, *_, **__):
        raise RuntimeError("no")

class Index:
    def __index__(self):
        return int(rng.integers(-2, 5))

def anything(old):
    numbers = [0, 1, -1, 2, 3, -0.0, 0.5, 1e308, np.nan, np.inf, 2**31, 2**62, 2**63, 2**64, -2**63, 10**30, True, None, 1j,
               np.int8(3), np.uint64(2**63), np.float16(2), np.bool_(True), Index()]
    def one(choices):
        return choices[rng.integers(len(choices))]
    others = ["", "same", "valid", "relu", "channels_first", "x" * 5000, b"same", object(), Liar(), len, int, ..., NotImplemented,
              (), [], dict(), set(), (1, 2), [1, 1], ((1, 1), (0, 2)), (2**62, 1), (1,) * 40, (1,) * 5000, [[1.0, 2.0], [3.0]], range(3),
              np.datetime64("2020"), np.array(3.0), np.zeros(0, "f4"), np.zeros((0, 3), "f4"), np.zeros((2, 9, 9, 6), "f4"),
              np.array([1, "a", None], object), np.array(["a"]), np.zeros(3, "f4,i4"), np.ma.masked_array([1.0, 2.0], [0, 1])]
    if isinstance(old, np.ndarray) and rng.random() < 0.7:
        return one([
            lambda: old.astype(one(["f2", "f4", "f8", "i1", "u1", "i8", "?", "c8", "O", "U9", ">f4", "<M8[s]"])),
            lambda: old[..., ::-1], lambda: old.T, lambda: old[:0], lambda: old[..., :1], lambda: old.view(Sub), lambda: old[None],
            lambda: np.broadcast_to(old, (3, *old.shape)), lambda: old.tolist(), lambda: old.reshape(-1), lambda: np.asfortranarray(old),
            lambda: np.broadcast_to(old.reshape(-1)[:1], old.shape), lambda: old * np.nan, lambda: old * np.inf, lambda: -old,
            lambda: np.lib.stride_tricks.as_strided(old.copy(), old.shape, (0,) * old.ndim), lambda: memoryview(old.copy()),
            lambda: np.frombuffer(b"x" + old.tobytes(), old.dtype, old.size, 1).reshape(old.shape),
        ])()
    if isinstance(old, tuple) and old and rng.random() < 0.6:
        changed = list(old)
        changed[rng.integers(len(old))] = one(numbers)
        return tuple(changed)
    return one(numbers) if rng.random() < 0.5 else one(others)

dtype = np.dtype("f4")
valid = list(calls(rng, dtype))
def bits(call):
    op, arguments, options = call
    return [np.asarray(r).tobytes() for r in results(ops, op, arguments, dict(options), dtype)]
expected = [bits(call) for call in valid]
answers = refusals = 0
for number in range(COUNT):
    which = int(rng.integers(len(valid)))
    op, arguments, options = valid[which]
    arguments = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    options = dict(options)
    keywords = [p.name for p in inspect.signature(getattr(ops, op)).parameters.values()][len(arguments):]
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(len(arguments) + len(keywords)))
        try:
            if place < len(arguments):
                arguments[place] = anything(arguments[place])
            else:
                options[keywords[place - len(arguments)]] = anything(options.get(keywords[place - len(arguments)]))
        except (TypeError, ValueError, IndexError, RuntimeError):  # what was put there before can't be changed so (a date to U9)
            pass
    try:
        getattr(ops, op)(*arguments, **options)
        answers += 1
    except (TypeError, ValueError, OverflowError, MemoryError):
        refusals += 1
    except BaseException as error:
        if str(error) == "no":  # of the object's own making
            continue
        print(f"seed {{SEED}}, call {{number}}: {{op}}: {{error!r}}")
        raise
    if number % 50 == 0:
        assert bits(valid[which]) == expected[which], op
for call, e in zip(valid, expected):
    assert bits(call) == e, call[0]
print(answers, refusals)
"""


@pytest.mark.timeout(1600)
@pytest.mark.parametrize("seed, count", [(0, 10_000), *(pytest.param(seed, 100_000, marks=pytest.mark.nightly) for seed in range(1, 5))])
def test_any_arguments(seed, count):
    child = run_python(CODE.format(seed=seed, count=count), timeout=290 if count == 10_000 else 1500)
    assert child.returncode == 0, child.stdout + child.stderr
    answers, refusals = map(int, child.stdout.split())
    assert answers > count / 20 and refusals > count / 3
