"""Whole networks against the frameworks: ``python -m benchmarks.networks --help``.

A training step (forward, loss, backward, SGD with momentum) and inference from the same weights on the same batch. Logits
are checked against NumPy, the losses of three training steps against NumPy (the first) and each other, before timing.
"""

import argparse
import functools
import os
import re
import statistics
import sys
import time

from . import crew, machine, report, zoo

DEFAULT = (
    "cnnfast,numpy,torch-nhwc,torch-nchw,torch-compile-nhwc,torch-compile-nchw,keras,keras-jit,onnxruntime,openvino,"
    "openvino-default,ncnn"
)
QUICK = "cnnfast,torch-nhwc,torch-nchw,onnxruntime,openvino"
PEERS = ("torch", "torch-compile", "keras", "onnxruntime", "openvino", "ncnn", "numpy")


def arguments(argv):
    parser = argparse.ArgumentParser(prog="benchmarks.networks", description=__doc__)
    add = parser.add_argument
    add("--filter", default="", help="only jobs whose name, such as 'vgg-small train b64', matches this regular expression")
    add("--quick", action="store_true", help="small networks, few peers, few rounds")
    add("--busy", action="store_true", help="for a machine with other work: one thread, its processor time, minima")
    add("--threads", default="2", help="thread counts, by default %(default)s")
    add("--engines", default=None, help=f"by default {DEFAULT}; 'all' adds cnnfast-avx2 and cnnfast-avx512")
    add("--rounds", type=int, help="by default 20 (--quick: 5)")
    add("--seconds", type=float, default=0.05, help="length of a turn, by default %(default)s")
    add("--statistic", choices=("median", "minimum"), help="for the ratios; by default the median (--quick: minimum)")
    add("--budget", type=float, default=180, help="seconds for a job, after five rounds; by default %(default)s")
    add("--output", default=None, help="name under benchmarks/results; by default 'networks', for a part 'quick-networks'")
    add("--list", action="store_true", help="print the jobs and stop")
    options = parser.parse_args(argv)
    options.threads = [1] if options.busy else [int(t) for t in options.threads.split(",")]
    options.rounds = options.rounds or (5 if options.quick else 20)
    options.statistic = options.statistic or ("minimum" if options.quick or options.busy else "median")
    options.engines = crew.names("networks", options.engines or (QUICK if options.quick else DEFAULT))
    partial = options.quick or options.busy or options.filter
    options.output = options.output or ("quick-networks" if partial else "networks")
    return options


def jobs(options):
    found = []
    for name, (_, _, training, inference) in zoo.NETWORKS.items():
        found += [{"network": name, "mode": "train", "batch": training}]
        found += [{"network": name, "mode": "infer", "batch": size} for size in inference]
    return [
        job
        for job in found
        if re.search(options.filter, title(job))
        and not (options.quick and not options.filter and zoo.NETWORKS[job["network"]][1][0] > 32)
    ]


def title(job):
    return f"{job['network']} {job['mode']} b{job['batch']}"

# What three losses may differ by, relative to the first. Fifty fresh layers with batch norm are ill-conditioned: gradients in
# float32, of torch's two layouts and of cnnfast alike, are 2-4 % away from those in float64, and the third loss is by 3 %.
GROWTH = (1, 50, 400)


@functools.cache
def truth(network, size, training):
    x, labels = zoo.batch(network, size)
    logits = zoo.forward(zoo.NETWORKS[network][0], x, iter(zoo.weights(network)), training)
    return zoo.loss(logits, labels) if training else logits[:8]


def judge(job, results):
    """Adds each answer's error: of the logits, over the largest; or of the losses, relative."""
    expected = truth(job["network"], job["batch"], job["mode"] == "train")
    if job["mode"] == "infer":
        for r in results.values():
            r["error"] = float(abs(r.pop("logits") - expected).max() / abs(expected).max())
        return
    common = [statistics.median(values) for values in zip(*(r["losses"] for r in results.values()))]
    for r in results.values():
        steps = zip(r["losses"], [expected, *common[1:]], GROWTH)
        r["error"] = max(abs(ours - theirs) / abs(theirs) / growth for ours, theirs, growth in steps)


def summarise(job, threads, results, statistic):
    seconds = {name: r["seconds"] for name, r in results.items() if r.get("seconds")}
    median = {name: statistics.median(s) for name, s in seconds.items()}
    minimum = {name: min(s) for name, s in seconds.items()}
    compared = {"median": median, "minimum": minimum}[statistic]

    def of(peer, engine):
        compiled = engine.startswith("torch-compile")
        return engine != "openvino-default" and (peer == "torch-compile" if compiled else engine.split("-")[0] == peer)

    peers = {p: min((s for e, s in compared.items() if of(p, e)), default=None) for p in PEERS}
    ratio = {p: s / compared["cnnfast"] for p, s in peers.items() if s and "cnnfast" in compared}
    return {"name": title(job), **job, "threads": threads, "results": results, "median": median, "minimum": minimum,
            "ratio": ratio, "best_peer": min(ratio, key=ratio.get, default=None)}  # fmt: skip


def line(m):
    figures = "  ".join(f"{name} {1e3 * s:.3g}" for name, s in m["minimum"].items())
    troubles = "".join(f"\n    {n}: {r['failed']}" for n, r in m["results"].items() if "failed" in r)
    ratio = f"{m['ratio'][m['best_peer']]:.2f}x {m['best_peer']}" if m["best_peer"] else ""
    return f"{m['name']:26} {m['threads']}t {ratio:20} | ms: {figures}{troubles}"


def markdown(run):
    about = run["machine"]
    lines = [
        "# Networks against the frameworks", "",
        f"{run['date']}, {about['cpu']}, {about['cores']} cores, {' '.join(about['units'])}. Milliseconds, {run['statistic']} of "
        f"{run['rounds']} interleaved rounds; the ratio is best peer / cnnfast: above 1, cnnfast is faster.", "",
        "Versions: " + ", ".join(f"{n} {v}" for n, v in run["versions"].items()) + ".",
    ]  # fmt: skip
    if run["missing"]:
        lines += ["Missing here: " + ", ".join(sorted(run["missing"])) + "."]
    for threads in dict.fromkeys(m["threads"] for m in run["jobs"]):
        rows = [m for m in run["jobs"] if m["threads"] == threads]
        engines = [e for e in run["engines"] if any(e in m["median"] for m in rows)]
        times = [["network", *engines, "best peer", "ratio", "images/s"]]
        memory = [["peak memory, MB", *engines]]
        for m in rows:
            values = m[run["statistic"]]
            ratio = [m["best_peer"], f"{m['ratio'][m['best_peer']]:.2f}"] if m["best_peer"] else ["", ""]
            rate = [f"{m['batch'] / values['cnnfast']:.0f}" if "cnnfast" in values else ""]
            times.append([m["name"], *(_figure(m, values, e) for e in engines), *ratio, *rate])
            used = [m["results"].get(e, {}).get("memory") for e in engines]
            memory.append([m["name"], *(f"{b / 1e6:.0f}" if b else "" for b in used)])
        lines += ["", f"## {threads} thread{'s' * (threads > 1)}", "", *report.table_lines(times)]
        lines += ["", "Of the whole process, library and earlier jobs included.", "", *report.table_lines(memory)]
    return "\n".join(lines) + "\n"


def _figure(m, values, engine):
    if engine in values:
        return f"{1e3 * values[engine]:.3g}"
    return "failed" if "failed" in m["results"].get(engine, {}) else ""


def picture(run, path):
    """How many times faster cnnfast is than each peer, a bar each; False if matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [m for m in run["jobs"] if m["ratio"]]
    if not rows:
        return False
    peers = [p for p in PEERS if any(p in m["ratio"] for m in rows)]
    figure, panel = pyplot.subplots(figsize=(10, 1.5 + 0.13 * len(rows) * (len(peers) + 1)), layout="constrained")
    step = 0.85 / len(peers)
    for k, peer in enumerate(peers):
        places = [i + (k - (len(peers) - 1) / 2) * step for i, m in enumerate(rows) if peer in m["ratio"]]
        panel.barh(places, [m["ratio"][peer] for m in rows if peer in m["ratio"]], step, label=peer)
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_yticks(range(len(rows)), [f"{m['name']}, {m['threads']}t" for m in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xscale("log")
    panel.set_xlabel("time of the peer / time of cnnfast (to the right of 1: cnnfast is faster)")
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def main(argv=None):
    options = arguments(argv)
    chosen = jobs(options)
    if not chosen:
        sys.exit("no job matches")
    if options.list:
        print("\n".join(map(title, chosen)))
        return
    run = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine.description(), "engines": options.engines,
           "statistic": options.statistic, "rounds": options.rounds, "jobs": []}  # fmt: skip
    for threads in options.threads:
        with crew.Crew("networks", options.engines, threads) as team:
            run["versions"], run["missing"] = team.versions, team.missing
            for name, reason in team.missing.items():
                print(f"missing: {name} ({reason})")
            for job in chosen:
                check = functools.partial(judge, job)
                results = team.measure(job, options.rounds, options.seconds, options.budget, 2e-3, check, options.busy)
                run["jobs"].append(summarise(job, threads, results, options.statistic))
                print(line(run["jobs"][-1]), flush=True)
    paths = report.save(run, options.output, markdown, picture)
    print(", ".join(os.path.relpath(p) for p in paths))


if __name__ == "__main__":
    main()
