"""Every kernel against every peer: ``python -m benchmarks.kernels --help``.

Each library runs in a process of its own and they take turns, so that a drift of the machine's speed meets all alike.
Every result is checked before it is timed.
"""

import argparse
import os
import re
import sys
import time

from . import cases, crew, machine, report

DEFAULT = "cnnfast,cnnfast-direct,numpy,torch-nhwc,torch-nchw,onnxruntime,openvino,openvino-default,ncnn"
QUICK = "cnnfast,cnnfast-direct,torch-nhwc,torch-nchw,onnxruntime,openvino,ncnn"


def arguments(argv):
    parser = argparse.ArgumentParser(prog="benchmarks.kernels", description=__doc__)
    add = parser.add_argument
    add("--filter", default="", help="only cases whose name, or the name of a list of theirs, matches this regular expression")
    add("--quick", action="store_true", help="a representative subset in about two minutes")
    add("--busy", action="store_true", help="for a machine with other work: one thread, its processor time, minima")
    add("--threads", default="2,1", help="thread counts, by default %(default)s (--quick: 2)")
    add("--batch", default="", help="only these batch sizes, such as 1,8")
    add("--passes", default=",".join(cases.PASSES), help="of convolutions, by default all: %(default)s")
    add("--engines", default=None, help=f"by default {DEFAULT}; 'all' adds cnnfast-avx2 and cnnfast-avx512")
    add("--rounds", type=int, help="by default 20 (--quick: 5)")
    add("--seconds", type=float, default=0.01, help="length of a turn, by default %(default)s")
    add("--statistic", choices=("median", "minimum"), help="for the ratios; by default the median (--quick: minimum)")
    add("--budget", type=float, default=60, help="seconds for a case, after five rounds; by default %(default)s")
    add("--max-gflop", type=float, default=60, help="skip cases with more; by default %(default)s")
    add("--max-bytes", type=float, default=6e8, help="skip cases with larger operands; by default %(default)s")
    add("--random", type=int, default=0, metavar="N", help="N random convolutions instead of the lists")
    add("--seed", type=int, default=0, help="of the random convolutions")
    add("--output", default=None, help="name under benchmarks/results; by default 'kernels', for a part 'quick'")
    add("--list", action="store_true", help="print the cases and stop")
    options = parser.parse_args(argv)
    options.threads = [int(t) for t in ("2" if options.quick and options.threads == "2,1" else options.threads).split(",")]
    if options.busy:
        options.threads, options.statistic = [1], options.statistic or "minimum"
    options.rounds = options.rounds or (5 if options.quick else 20)
    options.statistic = options.statistic or ("minimum" if options.quick else "median")
    options.engines = crew.names("kernels", options.engines or (QUICK if options.quick else DEFAULT))
    partial = options.quick or options.busy or options.filter
    options.output = options.output or ("random" if options.random else "quick" if partial else "kernels")
    return options


def choose(options):
    found = cases.random_cases(options.random, options.seed) if options.random else cases.all_cases()
    batches = {int(b) for b in options.batch.split(",") if b}
    passes, pattern = options.passes.split(","), re.compile(options.filter)
    return [
        c
        for c in found
        if (not options.quick or options.filter or options.random or cases.quick(c))
        and (not batches or c.batch in batches)
        and (c.op != "conv2d" or c.kind in passes)
        and any(pattern.search(text) for text in (c.name, *c.lists))
        and c.flops <= options.max_gflop * 1e9
        and c.bytes <= options.max_bytes
    ]


def line(m):
    """What is printed while it runs."""
    names = {n: f"{100 * f:.0f}" for n, f in m["fraction"].items()}
    troubles = [f"{n}: {r['failed']}" for n, r in m["results"].items() if "failed" in r]
    ratio = f"{m['ratio'][m['best_peer']]:5.2f}x {m['best_peer']}" if m["best_peer"] else ""
    figures = "  ".join(f"{n} {v}" for n, v in names.items())
    return f"{m['name']:34} {m['threads']}t {ratio:18} | {figures}" + "".join(f"\n    {t}" for t in troubles)


def main(argv=None):
    options = arguments(argv)
    chosen = choose(options)
    if not chosen:
        sys.exit("no case matches")
    if options.list:
        print("\n".join(f"{c.name:36} {c.flops / 1e9:9.3f} GFLOP  {', '.join(c.lists)}" for c in chosen))
        return
    run = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine.description(), "engines": options.engines,
           "statistic": options.statistic, "rounds": options.rounds, "busy": options.busy, "cases": []}  # fmt: skip
    print(f"{len(chosen)} cases, threads {options.threads}, {options.rounds} rounds; % of the FMA peak or of copy bandwidth")
    started = time.monotonic()
    try:
        for threads in options.threads:
            with crew.Crew("kernels", options.engines, threads) as team:
                measure(run, team, chosen, options)
    except KeyboardInterrupt:
        print("interrupted: what was measured is kept")
    report.use_run_peak(run["cases"])
    paths = report.save(run, options.output)
    print("\n".join(report.summary(run)))
    print(f"{time.monotonic() - started:.0f} s; " + ", ".join(os.path.relpath(p) for p in paths))


def measure(run, team, chosen, options):
    """Adds the chosen cases, on the team's thread count, to the run."""
    run["versions"], run["missing"] = team.versions, team.missing
    for name, reason in team.missing.items():
        print(f"missing: {name} ({reason})")
    for number, case in enumerate(chosen, 1):
        job = case.to_json()
        results = team.measure(job, options.rounds, options.seconds, options.budget, cpu_time=options.busy)
        measured = {"name": case.name, "case": job, "threads": team.threads, "flops": case.flops, "bytes": case.bytes}
        run["cases"].append(report.summarise({**measured, "results": results}, options.statistic))
        print(line(run["cases"][-1]), flush=True)
        if number % 25 == 0:  # a long run that is ended loses little
            report.use_run_peak(run["cases"])
            report.save(run, options.output, draw=lambda *_: False)


if __name__ == "__main__":
    main()
