"""The worker processes of one thread count, and the rounds in which they take turns."""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .engines import FAMILIES, environment

ROOT = Path(__file__).resolve().parents[1]


class Worker:
    def __init__(self, family, name, threads):
        self.name, self.arguments = name, [family, name, str(threads)]
        extra = FAMILIES[family][name][2] if name in FAMILIES[family] else {}
        self.environment = environment(extra, threads)
        self.start()

    def start(self):
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *self.arguments],
            cwd=ROOT, env=self.environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints,
        )  # fmt: skip

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.complaints.seek(0)
        last = self.complaints.read().strip().rpartition("\n")[2]
        self.start()  # a crash costs its case, not the run
        self.answer()
        return {"failed": f"the process ended with {code}: {last}"}

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()


class Crew:
    """Context manager: starts the engines that are installed, says which are missing."""

    def __init__(self, family, names, threads):
        self.threads, self.versions, self.missing, self.order = threads, {}, {}, random.Random(threads)
        names = [*names, "limits"] if family == "kernels" else names
        self.workers = [Worker(family, name, threads) for name in names]
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

    def measure(self, job, rounds, seconds, budget=60.0, tolerance=2e-4, judge=None, cpu_time=False):
        """Interleaved rounds of one job: {engine: {"seconds": [...], "error": e, "memory": bytes}}.

        `judge` gives each answer its "error" where workers cannot. An engine whose result is wrong (`tolerance`) is not
        timed; one that computes in bfloat16 by default is, and its error shown. After `budget` seconds a job ends with
        five rounds or more. `cpu_time` counts the processor's seconds instead of the clock's.
        """
        for worker in self.workers:
            worker.tell(do="prepare", job=job)
        results, ready = {worker.name: worker.answer() for worker in self.workers}, []
        if judge:
            judge({name: r for name, r in results.items() if not {"failed", "unsupported"} & set(r)})
        for worker in self.workers:
            answer = results[worker.name]
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
                worker.tell(do="turn", seconds=seconds, cpu_time=cpu_time)
                answer = worker.answer()
                if "seconds" in answer:
                    results[worker.name]["seconds"].append(answer["seconds"])
                    results[worker.name]["memory"] = answer["memory"]
                else:
                    results[worker.name]["failed"] = answer["failed"]
                    ready = [w for w in ready if w is not worker]
        for worker in self.workers:
            worker.tell(do="drop")
        for worker in self.workers:
            worker.answer()
        return results


def names(family, text):
    """Engine names from a comma-separated list; ``all`` is every one."""
    known = FAMILIES[family]
    chosen = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SystemExit(f"unknown engine {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen
