"""The worker processes of one thread count, and the rounds in which they take turns."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from .engines import ENGINES, environment

ROOT = Path(__file__).resolve().parents[1]


class Worker:
    def __init__(self, name, threads, python=sys.executable):
        self.name, self.threads, self.python = name, threads, python
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.python, "-m", "benchmarks.worker", self.name, str(self.threads)],
            cwd=ROOT, env=environment(self.name, self.threads),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.start()  # a crash costs its case, not the run
        self.answer()
        return {"failed": f"the process ended with {code}"}

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()


class Crew:
    """Context manager: starts the engines that are installed, says which are missing."""

    def __init__(self, names, threads):
        self.threads, self.versions, self.missing, self.order = threads, {}, {}, random.Random(threads)
        self.workers = [Worker(name, threads) for name in [*names, "limits"]]
        for worker in list(self.workers):
            hello = worker.answer()
            if "missing" in hello:
                self.missing[worker.name] = hello["missing"]
                worker.close()
                self.workers.remove(worker)
            else:
                self.versions[worker.name] = hello["version"]
        self.versions.pop("limits", None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.close()

    def measure(self, case, rounds, seconds, budget=60.0, tolerance=2e-4):
        """Interleaved rounds of one case: {engine: {"seconds": [...], "error": e}} and the limits' seconds.

        An engine whose result is wrong (more than `tolerance` of the largest value) is not timed; one that computes in
        bfloat16 by default is, and its error shown. After `budget` seconds a case ends with five rounds or more.
        """
        for worker in self.workers:
            worker.tell(do="prepare", case=case.to_json())
        results, ready = {}, []
        for worker in self.workers:
            answer = worker.answer()
            results[worker.name] = answer
            if "error" in answer and (answer["error"] <= tolerance or worker.name.endswith("-default")):
                answer["seconds"] = []
                ready.append(worker)
            elif "error" in answer:
                answer["failed"] = f"wrong result: error {answer['error']:.2g}"
        end = time.monotonic() + budget
        for done in range(rounds):
            if done >= 5 and time.monotonic() > end:
                break
            for worker in self.order.sample(ready, len(ready)):
                worker.tell(do="turn", seconds=seconds)
                answer = worker.answer()
                if "seconds" in answer:
                    results[worker.name]["seconds"].append(answer["seconds"])
                else:
                    results[worker.name]["failed"] = answer["failed"]
                    ready = [w for w in ready if w is not worker]
        for worker in self.workers:
            worker.tell(do="drop")
        for worker in self.workers:
            worker.answer()
        return results


def names(text):
    """Engine names from a comma-separated list; ``all`` is every one."""
    chosen = list(ENGINES) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = sorted(set(chosen) - set(ENGINES))
    if unknown:
        raise SystemExit(f"unknown engine {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    return chosen
