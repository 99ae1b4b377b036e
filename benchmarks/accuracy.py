"""Seconds from starting Python to 91 % on Fashion-MNIST's test images: ``python -m benchmarks.accuracy --data FOLDER``.

One network (lenet32-64), one optimiser (Adam, 1e-3), batches of 64, the same first weights and the same order of images in
every library, each in a process of its own; after each epoch all 10,000 test images are classified.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from . import crew, machine, report, zoo
from .engines import TUNED_MALLOC, environment

NETWORK, BATCH = "lenet32-64", 64
LIBRARIES = {"cnnfast": {}, "torch-nhwc": TUNED_MALLOC, "torch-nchw": TUNED_MALLOC, "keras": {}}


def images(folder):
    """((x, y), (x, y)) of training and test: float32 images from 0 to 1 and integer labels."""

    def read(name, header):
        (path,) = Path(folder).glob(f"{name}*")
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        return np.frombuffer(data, np.uint8, offset=header)

    def part(name):
        x = read(f"{name}-images", 16).reshape(-1, 28, 28, 1)
        return x.astype(np.float32) / 255, read(f"{name}-labels", 8).astype(np.int64)

    return part("train"), part("t10k")


def with_cnnfast(_, threads):
    import cnnfast

    from .engines.cnnfast import model

    cnnfast.set_num_threads(threads)
    net = model(NETWORK)
    loss = cnnfast.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(cnnfast.optimizers.Adam(1e-3), loss)

    def epoch(x, y):
        net.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)

    return epoch, lambda x: net.predict(x, batch_size=512, verbose=0)


def with_keras(_, threads):
    import keras
    import tensorflow as tf

    from .engines.keras import model

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    net = model(NETWORK)
    net.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def epoch(x, y):
        net.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)

    return epoch, lambda x: net.predict(x, batch_size=512, verbose=0)


def with_torch(variant, threads):
    import torch
    import torch.nn.functional as F

    from .engines.torch import build

    torch.set_num_threads(threads)
    layout = torch.channels_last if variant == "nhwc" else torch.contiguous_format
    layers, shape, *_ = zoo.NETWORKS[NETWORK]
    net = build(layers, shape, iter(zoo.weights(NETWORK)))[0].to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, eps=1e-7, fused=True)

    def tensor(x):
        return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def epoch(x, y):
        x, y = tensor(x), torch.from_numpy(y)
        for i in range(0, len(x), BATCH):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x[i : i + BATCH]), y[i : i + BATCH]).backward()
            optimizer.step()

    def predict(x):
        with torch.inference_mode():
            x = tensor(x)
            return torch.cat([net(x[i : i + 512]) for i in range(0, len(x), 512)]).numpy()

    return epoch, predict


def train(name, folder, target, limit, threads):
    """In a process of its own: a line of JSON after each epoch."""
    library, _, variant = name.partition("-")
    start = {"cnnfast": with_cnnfast, "keras": with_keras, "torch": with_torch}[library]
    epoch, predict = start(variant, threads)
    (x, y), (x_test, y_test) = images(folder)
    rng = np.random.default_rng(0)
    for number in range(1, limit + 1):
        order = rng.permutation(len(x))
        epoch(x[order], y[order])
        accuracy = float(np.mean(predict(x_test).argmax(axis=1) == y_test))
        print(json.dumps({"epoch": number, "accuracy": accuracy}), flush=True)
        if accuracy >= target:
            return


def measure(name, options):
    """Seconds since the start of the process after each epoch, and the accuracy then."""
    command = [sys.executable, "-m", "benchmarks.accuracy", "--library", name, "--data", options.data,
               "--target", str(options.target), "--epochs", str(options.epochs), "--threads", str(options.threads)]  # fmt: skip
    start, epochs = time.perf_counter(), []
    env = environment(LIBRARIES[name], options.threads)
    with subprocess.Popen(command, cwd=crew.ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        for line in child.stdout:
            epochs.append({**json.loads(line), "seconds": time.perf_counter() - start})
            print(f"{name:12} epoch {epochs[-1]['epoch']}: {epochs[-1]['accuracy']:.4f} after {epochs[-1]['seconds']:.1f} s")
        trouble = child.stderr.read().strip().rpartition("\n")[2]
    return {"epochs": epochs} if epochs else {"failed": trouble}


def markdown(run):
    rows = [["", "epochs", "accuracy", "seconds", "times cnnfast's"]]
    reached = {n: r["epochs"][-1] for n, r in run["libraries"].items() if "epochs" in r}
    ours = reached.get("cnnfast", {}).get("seconds")
    for name, last in reached.items():
        ratio = f"{last['seconds'] / ours:.2f}" if ours else ""
        rows.append([name, str(last["epoch"]), f"{last['accuracy']:.2%}", f"{last['seconds']:.1f}", ratio])
    failed = [f"{name}: {r['failed']}" for name, r in run["libraries"].items() if "failed" in r]
    return "\n".join([f"# Fashion-MNIST, from starting Python to {run['target']:.0%}", "", f"{run['date']}, "
                      f"{run['machine']['cpu']}, {run['threads']} threads; lenet32-64, Adam 1e-3, batches of 64, equal weights "
                      "and order.", "", *report.table_lines(rows), *failed]) + "\n"  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    add = parser.add_argument
    add("--data", default="/usr/share/datasets/fashion-mnist", help="folder of the four IDX files, by default %(default)s")
    add("--target", type=float, default=0.91, help="accuracy on the test images, by default %(default)s")
    add("--epochs", type=int, default=12, help="at most, by default %(default)s")
    add("--threads", type=int, default=2, help="by default %(default)s")
    add("--libraries", default=",".join(LIBRARIES), help="by default %(default)s")
    add("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.library:
        train(options.library, options.data, options.target, options.epochs, options.threads)
        return
    run = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": machine.description(), "target": options.target,
           "threads": options.threads, "libraries": {}}  # fmt: skip
    for name in options.libraries.split(","):
        run["libraries"][name] = measure(name, options)
    print(markdown(run))
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / "accuracy.json").write_text(json.dumps(run, indent=1) + "\n")
    (report.RESULTS / "accuracy.md").write_text(markdown(run))


if __name__ == "__main__":
    main()
