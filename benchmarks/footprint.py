"""What a library costs before and beside its speed: ``python -m benchmarks.footprint --help``.

Installed size, time of the import, time from starting Python to the first prediction of a small network loaded from a file,
memory after the import, and the peak memory of training steps, each in processes of its own.
"""

import argparse
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import crew, machine, report, zoo
from .engines import environment

# module; how a model is saved (once) and loaded for a first prediction; {path} is a file without its ending
LIBRARIES = {
    "cnnfast": (
        "cnnfast",
        "from benchmarks.engines.cnnfast import model\nmodel('lenet32-64').save('{path}.cnnfast')",
        "import cnnfast\nnet = cnnfast.load_model('{path}.cnnfast')\ny = net.predict_on_batch(x)",
    ),
    "torch": (
        "torch",
        "import torch\nfrom benchmarks.engines.torch import build\n"
        "net, _ = build(zoo.NETWORKS['lenet32-64'][0], (28, 28, 1), iter(zoo.weights('lenet32-64')))\n"
        "torch.save(net, '{path}.pt')",
        "import torch\nnet = torch.load('{path}.pt', weights_only=False)\n"
        "with torch.inference_mode():\n    y = net(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()",
    ),
    "tensorflow-cpu": (
        "keras",
        "from benchmarks.engines.keras import model\nmodel('lenet32-64').save('{path}.keras')",
        "import keras\nnet = keras.saving.load_model('{path}.keras')\ny = net.predict_on_batch(x)",
    ),
    "onnxruntime": (
        "onnxruntime",
        "from benchmarks.engines.onnx_model import serialized\n"
        "open('{path}.onnx', 'wb').write(serialized('lenet32-64', 1))",
        "import onnxruntime\nnet = onnxruntime.InferenceSession('{path}.onnx')\n"
        "y = net.run(None, {{'x': x.transpose(0, 3, 1, 2)}})[0]",
    ),
    "openvino": (
        "openvino",
        "from benchmarks.engines.onnx_model import serialized\n"
        "open('{path}.onnx', 'wb').write(serialized('lenet32-64', 1))",
        "import openvino\nnet = openvino.Core().compile_model('{path}.onnx', 'CPU', {{'INFERENCE_PRECISION_HINT': 'f32'}})\n"
        "y = net(x.transpose(0, 3, 1, 2))[0]",
    ),
    "ncnn": ("ncnn", None, None),
}
IMPORT = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import {module}
end = time.perf_counter()
memory = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")]
print(middle - start, end - start, memory[0] * 1024)
"""
TRAINERS = ("cnnfast", "torch-nhwc", "torch-nchw", "keras")


def python(code, threads=2):
    """Seconds from starting Python until it has ended, and the last line it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=crew.ROOT, env=environment({}, threads), text=True, capture_output=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return seconds, done.stdout.strip().rpartition("\n")[2]


def installed_bytes(name, seen=None):
    """Bytes of a distribution and of all it requires, by distribution; NumPy, which everyone has, is left out."""
    seen = {} if seen is None else seen
    try:
        distribution = importlib.metadata.distribution(name)
        files, requires = [Path(distribution.locate_file(f)) for f in distribution.files or []], distribution.requires or []
    except importlib.metadata.PackageNotFoundError:
        files, requires = [], []
    if name == "cnnfast":  # built in place: what a wheel holds
        files = [f for f in (crew.ROOT / "cnnfast").rglob("*") if f.suffix not in (".c", ".pyx", ".pxd", ".h")]
        requires = requires or ["safetensors", "tqdm"]
    seen[name] = sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
    for requirement in requires:
        needed = re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")
        if "extra ==" not in requirement and needed not in seen and needed != "numpy":
            installed_bytes(needed, seen)
    return seen


def measure(name, rounds, folder):
    module, save, first = LIBRARIES[name]
    runs = [[float(v) for v in python(IMPORT.format(module=module))[1].split()] for _ in range(rounds)]
    numpy_seconds, seconds, memory = (statistics.median(column) for column in zip(*runs))
    sizes = installed_bytes(name)
    result = {"own_bytes": sizes.get(name), "all_bytes": sum(sizes.values()), "import_seconds": seconds,
              "import_numpy_seconds": numpy_seconds, "import_memory": memory}  # fmt: skip
    if first:
        path = folder / name
        python(f"from benchmarks import zoo\n{save.format(path=path)}")
        code = f"import numpy as np\nx = np.load(r'{folder / 'x.npy'}')\n{first.format(path=path)}\nprint(*map(float, y[0]))"
        done = [python(code) for _ in range(rounds)]
        result["first_prediction_seconds"] = statistics.median(seconds for seconds, _ in done)
        result["prediction"] = [float(v) for v in done[0][1].split()]
    return result


def training_memory(network, engine):
    """Peak resident bytes of a fresh process that does some training steps."""
    job = {"network": network, "mode": "train", "batch": zoo.NETWORKS[network][2]}
    with crew.Crew("networks", [engine], 2) as team:
        if engine in team.missing:
            return None
        answer = team.measure(job, 2, 0.01, judge=lambda results: [r.update(error=0.0) for r in results.values()])[engine]
    return answer.get("memory")


def markdown(run):
    def mb(value):
        return f"{value / 1e6:.3g}" if value else ""

    rows = [["", "installed, MB", "with all it needs but NumPy, MB", "import, ms", "over NumPy's, ms", "first prediction, ms",
             "memory after import, MB"]]  # fmt: skip
    for name, r in run["libraries"].items():
        first = r.get("first_prediction_seconds")
        over = r["import_seconds"] - r["import_numpy_seconds"]
        rows.append([name, mb(r["own_bytes"]), mb(r["all_bytes"]), f"{1e3 * r['import_seconds']:.0f}", f"{1e3 * over:.0f}",
                     f"{1e3 * first:.0f}" if first else "", mb(r["import_memory"])])  # fmt: skip
    lines = ["# Footprint", "", f"{run['date']}, {run['machine']['cpu']}. The first prediction is one image through lenet32-64, "
             "from starting Python: import, model file, result.", "", *report.table_lines(rows)]  # fmt: skip
    if run["missing"]:
        lines += ["", "Missing here: " + "; ".join(f"{n} ({why})" for n, why in run["missing"].items()) + "."]
    if run["training_memory"]:
        engines = list(next(iter(run["training_memory"].values())))
        table = [["peak memory of training steps, MB", *engines]]
        table += [[network, *(mb(values[e]) for e in engines)] for network, values in run["training_memory"].items()]
        lines += ["", *report.table_lines(table)]
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="benchmarks.footprint", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="processes for each figure, by default %(default)s")
    parser.add_argument("--networks", default="lenet32-64,vgg-small,resnet18-cifar", help="trained for the peak memory")
    options = parser.parse_args(argv)
    run = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine.description(), "libraries": {}, "missing": {},
           "training_memory": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        python(f"import numpy as np\nfrom benchmarks import zoo\nnp.save(r'{folder}/x.npy', zoo.batch('lenet32-64', 1)[0])")
        for name in LIBRARIES:
            try:
                run["libraries"][name] = measure(name, options.rounds, Path(folder))
            except RuntimeError as problem:
                run["missing"][name] = str(problem)
            print(f"{name} done", file=sys.stderr)
    predictions = {name: r["prediction"] for name, r in run["libraries"].items() if "prediction" in r}
    for name, values in predictions.items():
        middle = [statistics.median(column) for column in zip(*predictions.values())]
        if max(abs(a - b) for a, b in zip(values, middle)) > 1e-3 * max(map(abs, middle)):
            sys.exit(f"{name} predicts {values}, the others {middle}")
    for network in filter(None, options.networks.split(",")):
        run["training_memory"][network] = {engine: training_memory(network, engine) for engine in TRAINERS}
    print(markdown(run))
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / "footprint.json").write_text(json.dumps(run, indent=1) + "\n")
    (report.RESULTS / "footprint.md").write_text(markdown(run))


if __name__ == "__main__":
    main()
