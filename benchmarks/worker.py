"""One library in one process, told what to measure by JSON lines on stdin: ``python -m benchmarks.worker ENGINE THREADS``.

A process of its own gives each library its allocator, its threads and its environment; taking turns keeps the
comparison fair when the machine's speed drifts. After its turn a worker waits until its threads have stopped spinning.
"""

import importlib
import json
import os
import sys
import time
import traceback

from . import cases
from .engines import ENGINES, Unsupported, quickest
from .machine import Machine


def mean_seconds(call, seconds):
    """Mean time of a call over about `seconds`, after one that does not count."""
    clock = time.perf_counter
    call()
    start = clock()
    call()
    once = clock() - start
    if once > seconds / 2:
        return once
    count = min(100_000, int(seconds / max(once, 1e-7)))
    start = clock()
    for _ in range(count):
        call()
    return (clock() - start) / count


class Library:
    def __init__(self, name, threads):
        module, self.variant, _ = ENGINES[name]
        self.threads = threads
        self.module = importlib.import_module(f".engines.{module}", __package__)
        self.about = self.module.version()

    def prepare(self, case):
        self.drop()
        arrays = cases.data(case)
        self.call, fetch = self.module.prepare(case, arrays, self.threads, self.variant)
        return {"error": cases.error(case, arrays, fetch(self.call()))}

    def drop(self):
        self.call = None

    def turn(self, seconds):
        return mean_seconds(self.call, seconds)


class Limits:
    """The machine, measured by the same turns: FMA peak in every case, a copy where memory is the limit."""

    def __init__(self, name, threads):
        self.machine, self.about = Machine(threads), ""
        self.serial = Machine(1)

    def prepare(self, case):
        self.copy = None
        if not case.flops:
            self.copy = quickest([self.serial.copier(case.bytes), self.machine.copier(case.bytes)])
        return {"error": 0.0}

    def drop(self):
        self.copy = None

    def turn(self, seconds):
        if self.copy is None:
            return 1 / self.machine.flops(2)
        return mean_seconds(self.copy, seconds)


def wait_until_quiet(limit=0.3):
    """Thread pools spin for a while after their work; the next library must not pay for that."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0004:
            return


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    name, threads = sys.argv[1], int(sys.argv[2])
    try:
        library = (Limits if name == "limits" else Library)(name, threads)
    except ImportError as problem:
        print(json.dumps({"missing": str(problem)}), file=answers)
        return
    print(json.dumps({"version": library.about}), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "prepare":
                answer = library.prepare(cases.Case.from_json(command["case"]))
            elif command["do"] == "turn":
                answer = {"seconds": library.turn(command["seconds"])}
                wait_until_quiet()
            else:
                library.drop()
                answer = {}
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        except Exception as problem:
            answer = {"failed": f"{type(problem).__name__}: {problem}", "traceback": traceback.format_exc()}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
