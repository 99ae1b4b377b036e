"""Figures out of measured seconds: fractions of the machine's peak, ratios to the best peer, tables and pictures."""

import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PEERS = ("torch", "onnxruntime", "openvino", "ncnn", "numpy")  # the better of an engine's layouts stands for it
OURS = "cnnfast"


def geometric_mean(values):
    return statistics.geometric_mean(values) if values else float("nan")


def summarise(measured, statistic="median"):
    """Adds to one case's measurements what is compared: medians, minima, fraction of peak, ratios (> 1: we are faster).

    Ratios compare medians, or on a busy machine minima. The fraction of peak takes the fastest round of both, since
    either is a statement about a machine without neighbours.
    """
    results = measured["results"]
    timed = {name: r["seconds"] for name, r in results.items() if r.get("seconds")}
    median = {name: statistics.median(s) for name, s in timed.items()}
    best = {name: min(s) for name, s in timed.items()}
    limit = best.pop("limits"), median.pop("limits")
    flops = measured["flops"]
    measured["median"], measured["minimum"] = median, best
    compared = measured[statistic]
    measured["peak"] = 1 / limit[0] if flops else measured["bytes"] / limit[0]
    measured["fraction"] = {n: (flops or measured["bytes"]) / s / measured["peak"] for n, s in best.items()}
    peers = {p: min((t for n, t in compared.items() if n.split("-")[0] == p and n != "openvino-default"), default=None)
             for p in PEERS}  # fmt: skip
    measured["ratio"] = {p: t / compared[OURS] for p, t in peers.items() if t and OURS in compared}
    engines = {p: r for p, r in measured["ratio"].items() if p != "numpy" or measured["case"]["op"] == "matmul"}
    measured["best_peer"] = min(engines, key=engines.get) if engines else None
    return measured


def use_run_peak(measurements):
    """The peak that fractions refer to: the highest that any case of the run saw, for each thread count."""
    for threads in {m["threads"] for m in measurements}:
        rows = [m for m in measurements if m["threads"] == threads and m["flops"]]
        peak = max((m["peak"] for m in rows), default=0)
        for m in rows:
            m["fraction"] = {name: f * m["peak"] / peak for name, f in m["fraction"].items()}
            m["peak"] = peak


def _group(m):
    case = m["case"]
    return case["kind"] if case["op"] == "conv2d" else case["op"]


def markdown(run):
    """The whole run as a page of tables."""
    machine = run["machine"]
    lines = [
        "# Kernels against the peers", "",
        f"Ratios are peer time / cnnfast time, {run['statistic']} of interleaved rounds: above 1, cnnfast is faster. Fractions "
        "are of the FMA peak (or of the copy bandwidth) measured in this run.", "",
        f"{run['date']}, {machine['cpu']}, {machine['cores']} cores, {' '.join(machine['units'])}", "",
        "Versions: " + ", ".join(f"{n} {v}" for n, v in run["versions"].items()) + ".",
    ]  # fmt: skip
    if run["missing"]:
        lines += ["Missing here: " + ", ".join(sorted(run["missing"])) + "."]
    for threads, rows in _by_threads(run):
        lines += _heading(threads, rows) + _means(rows) + [""] + _worst(rows) + [""] + _table(rows, run["engines"])
    return "\n".join(lines) + "\n"


def summary(run):
    """The lines printed at the end: means and the slowest cases."""
    return [text for threads, rows in _by_threads(run) for text in [*_heading(threads, rows), *_means(rows), "", *_worst(rows)]]


def _by_threads(run):
    for threads in dict.fromkeys(m["threads"] for m in run["cases"]):
        yield threads, [m for m in run["cases"] if m["threads"] == threads]


def _heading(threads, rows):
    peak = max((m["peak"] for m in rows if m["flops"]), default=0)
    return ["", f"## {threads} thread{'s' * (threads > 1)}" + (f", peak {peak / 1e9:.0f} GFLOP/s" if peak else ""), ""]


def _means(rows):
    rows = [m for m in rows if m["ratio"]]
    if not rows:
        return ["Nothing to compare."]
    peers = [p for p in PEERS if any(p in m["ratio"] for m in rows)]
    table = [["geometric mean of", "cases", *peers, "best peer", "below 0.95"]]
    keys = [(name, kind) for name in dict.fromkeys(n for m in rows for n in m["case"]["lists"])
            for kind in dict.fromkeys(_group(m) for m in rows)]  # fmt: skip
    for name, kind in [*keys, ("all", None)]:
        chosen = [m for m in rows if kind is None or (name in m["case"]["lists"] and _group(m) == kind)]
        if chosen:
            title = "all" if kind is None else name if name == kind else f"{name} {kind}"
            means = [geometric_mean([m["ratio"][p] for m in chosen if p in m["ratio"]]) for p in peers]
            best = [m["ratio"][m["best_peer"]] for m in chosen if m["best_peer"]]
            cells = ["" if v != v else f"{v:.2f}" for v in [*means, geometric_mean(best)]]
            table.append([title, str(len(chosen)), *cells, str(sum(b < 0.95 for b in best))])
    return table_lines(table)


def _worst(rows, limit=25):
    slow = sorted((m for m in rows if m["best_peer"]), key=lambda m: m["ratio"][m["best_peer"]])
    slow = [m for m in slow if m["ratio"][m["best_peer"]] < 0.95][:limit]
    if not slow:
        return ["No case is slower than 0.95x the best peer." if any(m["best_peer"] for m in rows) else ""]
    table = [["slowest against the best peer", "ratio", "peer", "cnnfast ms", "of peak"]]
    for m in slow:
        ratio = m["ratio"][m["best_peer"]]
        table.append([m["name"], f"{ratio:.2f}", m["best_peer"], f"{1e3 * m['median'][OURS]:.3f}", f"{m['fraction'][OURS]:.0%}"])
    return table_lines(table)


def _table(rows, engines):
    """Every case: our time and error, and each engine's fraction of the peak."""
    engines = [e for e in engines if any(e in m["fraction"] for m in rows)]
    table = [["case", "ms", "error", *(f"{e} %" for e in engines), "best peer", "ratio"]]
    for m in rows:
        ours, failed = m["results"].get(OURS, {}), {e: r for e, r in m["results"].items() if "failed" in r}
        cells = [f"{100 * m['fraction'][e]:.0f}" if e in m["fraction"] else "wrong" if e in failed else "" for e in engines]
        ratio = f"{m['ratio'][m['best_peer']]:.2f}" if m["best_peer"] else ""
        time = f"{1e3 * m['median'][OURS]:.3f}" if OURS in m["median"] else ""
        error = f"{ours['error']:.0e}" if "error" in ours else ""
        table.append([m["name"], time, error, *cells, m["best_peer"] or "", ratio])
    return table_lines(table)


def table_lines(rows):
    head, *rest = rows
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return ["| " + " | ".join(row) + " |" for row in [head, rule, *rest]]


def picture(run, path):
    """A column a pass: above, each case's share of the peak over its operations per byte, beside the best peer's; below,
    the ratios in order. False if matplotlib is missing or nothing can be compared."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    threads = max(m["threads"] for m in run["cases"])
    rows = [m for m in run["cases"] if m["threads"] == threads and m["best_peer"]]
    groups = {group: [m for m in rows if _group(m) == group] for group in dict.fromkeys(_group(m) for m in rows)}
    if not groups:
        return False
    figure, panels = pyplot.subplots(2, len(groups), figsize=(3.6 * len(groups) + 1, 7.5), squeeze=False, layout="constrained")
    for (group, chosen), (upper, lower) in zip(groups.items(), panels.T):
        operations = chosen[0]["flops"] > 0
        x = [m["flops"] / m["bytes"] if operations else m["bytes"] / 1e6 for m in chosen]
        ours = [100 * m["fraction"][OURS] for m in chosen]
        theirs = [100 * m["fraction"][OURS] / m["ratio"][m["best_peer"]] for m in chosen]
        upper.vlines(x, theirs, ours, color="0.8", linewidth=0.8, zorder=1)
        upper.scatter(x, theirs, s=14, color="0.45", label="best peer")
        upper.scatter(x, ours, s=14, color="#d62728", label=OURS)
        upper.axhline(100, color="black", linewidth=0.8)
        upper.set(xscale="log", ylim=(0, None), title=group, xlabel="operations a byte" if operations else "MB read and written")
        upper.set_ylabel("% of the FMA peak" if operations else "% of copy bandwidth")
        upper.legend(fontsize=7)
        ratios = sorted(m["ratio"][m["best_peer"]] for m in chosen)
        colours = ["#d62728" if r > 1 else "0.45" for r in ratios]
        lower.bar(range(len(ratios)), [r - 1 for r in ratios], 1, bottom=1, color=colours)
        lower.axhline(1, color="black", linewidth=0.8)
        lower.set(yscale="log", xlabel=f"{len(ratios)} cases, geometric mean {geometric_mean(ratios):.2f}")
        ticks = [t for t in (0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16) if 0.7 * ratios[0] <= t <= 1.5 * ratios[-1] or t == 1]
        lower.set_yticks(ticks, [f"{t:g}x" for t in ticks], minor=False)
        lower.minorticks_off()
        lower.set_ylabel("best peer's time / cnnfast's")
    figure.suptitle(f"{run['machine']['cpu']}, {threads} thread{'s' * (threads > 1)}, {run['date']}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def save(run, name, page=markdown, draw=picture):
    """results/NAME.json, .md and, with matplotlib, .png; returns the paths."""
    RESULTS.mkdir(exist_ok=True)
    paths = [RESULTS / f"{name}.{kind}" for kind in ("json", "md", "png")]
    paths[0].write_text(json.dumps(run, indent=1) + "\n")
    paths[1].write_text(page(run))
    return paths if draw(run, paths[2]) else paths[:2]
