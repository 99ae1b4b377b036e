"""One library in one process, told what to measure by JSON lines on stdin.

``python -m benchmarks.worker kernels|networks ENGINE THREADS``

A process of its own gives each library its allocator, its threads and its environment; taking turns keeps the
comparison fair when the machine's speed drifts. After its turn a worker waits until its threads have stopped spinning.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from . import cases, zoo
from .engines import FAMILIES, Unsupported, quickest
from .machine import Machine


def mean_seconds(call, seconds, clock):
    """Mean time of a call over about `seconds`, after some that do not count: threads wake up, caches fill."""
    call()
    end, once = clock() + seconds / 2, 0.0
    while not once or clock() < end:
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
    """One engine; a job is the fields of a `cases.Case`, or a network's name, mode ("infer", "train") and batch size."""

    def __init__(self, family, name, threads):
        module, self.variant, _ = FAMILIES[family][name]
        self.threads = threads
        self.prepare = self.prepare_kernel if family == "kernels" else self.prepare_network
        self.module = importlib.import_module(f".engines.{module}", __package__)
        self.about = self.module.version()

    def prepare_kernel(self, job):
        case = cases.Case.from_json(job)
        arrays = cases.data(case)
        self.call, fetch = self.module.prepare(case, arrays, self.threads, self.variant)
        return {"error": cases.error(case, arrays, fetch(self.call()))}

    def prepare_network(self, job):
        reset_peak_memory()
        x, labels = zoo.batch(job["network"], job["batch"])
        make = self.module.prepare_network
        self.call, fetch = make(job["network"], job["mode"], x, labels, self.threads, self.variant)
        if job["mode"] == "infer":
            return {"logits": np.asarray(fetch(self.call()))[:8].tolist()}
        return {"losses": [fetch(self.call()) for _ in range(3)]}

    def drop(self):
        self.call = None

    def turn(self, seconds, clock):
        return mean_seconds(self.call, seconds, clock)


class Limits:
    """The machine, measured by the same turns: FMA peak in every case, a copy where memory is the limit."""

    def __init__(self, threads):
        self.machine, self.about = Machine(threads), ""
        self.serial = Machine(1)

    def prepare(self, job):
        self.copy, case = None, cases.Case.from_json(job)
        if not case.flops:
            self.copy = quickest([self.serial.copier(case.bytes), self.machine.copier(case.bytes)])
        return {"error": 0.0}

    def drop(self):
        self.copy = None

    def turn(self, seconds, clock):
        if self.copy is None:
            return 1 / self.machine.flops(0.02, clock)
        return mean_seconds(self.copy, seconds, clock)


def reset_peak_memory():
    """Linux: the peak of resident memory counts from now on."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory():
    """Bytes, since `reset_peak_memory` or the start of the process; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def wait_until_quiet(limit=1.0, window=0.015):
    """Thread pools spin for a while after their work (OpenBLAS 0.1 s); the next library must not pay for that. What a
    thread uses on another CPU is known from clock tick to clock tick: a window must be longer than one."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(window)
        if time.process_time() - before < window / 10:
            return


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    family, name, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        library = Limits(threads) if name == "limits" else Library(family, name, threads)
    except ImportError as problem:
        print(json.dumps({"missing": str(problem)}), file=answers)
        return
    print(json.dumps({"version": library.about}), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "prepare":
                library.drop()
                answer = library.prepare(command["job"])
            elif command["do"] == "turn":
                clock = time.process_time if command["cpu_time"] else time.perf_counter
                answer = {"seconds": library.turn(command["seconds"], clock), "memory": peak_memory()}
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
