"""The command `cnnfast`: train, use and look at networks without writing a program.

Exit codes: 0 done, 1 it ran and failed, 2 wrong usage, 130 interrupted. An error is one line on stderr, and a command
that fails leaves no file behind.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import cnnfast

from . import datasets
from .answers import class_names, class_scores
from .datasets.files import open_regular
from .explain import LANGUAGES, explain
from .files import write_atomically
from .networks import NETWORKS
from .schedules import CosineDecay
from .visualize.walking import input_shape


class UsageError(Exception):
    """Options that do not go together: exit code 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, without the program's name (default: `sys.argv[1:]`); return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale can't show
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed its message
        return stop.code if isinstance(stop.code, int) else 2
    try:
        if arguments.threads is not None:
            cnnfast.set_num_threads(arguments.threads)
        arguments.run(arguments)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return _end(130, "interrupted")
    except BrokenPipeError:  # the reader has seen enough, as in `cnnfast info | head -1`
        return _end(1)
    except UsageError as error:
        return _end(2, f"error: {error}")
    except Exception as error:
        if arguments.debug:
            raise
        return _end(1, f"error: {error or type(error).__name__}")


def _end(code: int, message: str | None = None) -> int:
    """Say why in one line, and keep the interpreter from writing to a stdout that failed."""
    if message is not None:
        print(f"cnnfast: {printable(message)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def printable(text: object) -> str:
    """`text` with everything that is not a visible character escaped: a file name must not drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))


# ---- Options ---------------------------------------------------------------------------------------------------------


def _whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """An argparse type: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        rule = f"must be a whole number from {low} to {high}" if high < math.inf else f"must be a whole number, at least {low}"
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{rule}, got {printable(text)}")
        return value

    return parse


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {printable(text)}")
    return value


def _size(text: str) -> tuple[int, int]:
    """32 or 24x32 (height x width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise argparse.ArgumentTypeError(f"must be N or HEIGHTxWIDTH, 1 to 4096, got {printable(text)}")
    return int(parts[0]), int(parts[-1])


def _network(text: str) -> str:
    if text not in NETWORKS and not text.endswith(".json"):
        raise argparse.ArgumentTypeError(f"must be {', '.join(NETWORKS)} or a .json file, got {printable(text)}")
    return text


def _optimizer(text: str) -> str:
    try:
        cnnfast.optimizers.get(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(printable(error)) from None
    return text


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=_whole(1, 256), metavar="N", help="use at most N threads")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    parser = argparse.ArgumentParser(prog="cnnfast", description="Convolutional networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"cnnfast {cnnfast.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=help, description=help[0].upper() + help[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    data: dict[str, Any] = dict(
        required=True,
        metavar="DATA",
        help="digits (they come with the package), or a folder: the four files of MNIST or Fashion-MNIST, CIFAR binary "
        "batches, or one folder of pictures a class (also under train/ and test/)",
    )
    batch: dict[str, Any] = dict(type=_whole(1), metavar="N", help="images a step (default: %(default)s)")

    train = command("train", _train, "train a network on images")
    train.add_argument("--data", **data)
    train.add_argument("--model", type=_network, default="small", metavar="NAME|FILE.json",
                       help=f"{', '.join(NETWORKS)}, or a file with the network's layers (default: small)")
    train.add_argument("--epochs", type=_whole(1), default=5, metavar="N", help="passes over the data (default: 5)")
    train.add_argument("--batch-size", **batch, default=64)
    train.add_argument("--optimizer", type=_optimizer, default="adam", metavar="NAME",
                       help="adam, adamw, sgd or rmsprop (default: adam)")
    train.add_argument("--learning-rate", type=_rate, metavar="X",
                       help="at the start; it falls to 0 (default: twice the optimizer's)")
    train.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, metavar="N", help="(default: 0)")
    train.add_argument("--image-size", type=_size, metavar="N|HxW", help="resize pictures of a folder (default: 64)")
    train.add_argument("--color-mode", choices=list(datasets.images.MODES), default="rgb",
                       help="of the pictures of a folder (default: rgb)")
    train.add_argument("--out", metavar="FILE", help="save the trained network here")

    evaluate = command("evaluate", _evaluate, "measure a trained network on test images")
    evaluate.add_argument("model", metavar="MODEL")
    evaluate.add_argument("--data", **data)
    evaluate.add_argument("--batch-size", **batch, default=256)

    predict = command("predict", _predict, "say what pictures show")
    predict.add_argument("model", metavar="MODEL")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, BMP or PPM")
    predict.add_argument("--top", type=_whole(1), default=1, metavar="K", help="classes to show (default: 1)")

    summary = command("summary", _summary, "show the layers of a network")
    summary.add_argument("model", metavar="MODEL", help="a trained network's file")

    explain = command("explain", _explain, "write a page that walks a picture through a network")
    explain.add_argument("model", metavar="MODEL")
    explain.add_argument("image", metavar="IMAGE", help="PNG, JPEG, BMP or PPM")
    explain.add_argument("--out", required=True, metavar="FILE.html", help="the page: one file that needs no network")
    explain.add_argument("--lang", choices=LANGUAGES, default="en", help="English or Spanish (default: en)")

    command("info", _info, "show versions, instruction sets and threads")
    return parser


# ---- Data ------------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """uint8 images (N, height, width, channels), their labels, and the classes' names."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    class_names: list[str]


def load_data(name: str, image_size: tuple[int, int], color_mode: str) -> Data:
    """Load what `--data` names. In a folder without train/ and test/, every fifth picture of a class is for the test."""
    if name == "digits":
        return _labelled(*datasets.load_digits())
    if not os.path.isdir(name):
        raise FileNotFoundError(f"no such data: {name!r} (digits, or a folder)")
    files = set(os.listdir(name))
    if any(file.startswith("train-images") for file in files):
        return _labelled(*datasets.load_idx(name))
    if files & {"data_batch_1.bin", "train.bin"}:
        return _labelled(*datasets.load_cifar(name))
    options: dict[str, Any] = dict(image_size=image_size, color_mode=color_mode)
    if {"train", "test"} <= files:
        *train, class_names = datasets.load_folder(os.path.join(name, "train"), **options)
        *test, test_names = datasets.load_folder(os.path.join(name, "test"), **options)
        if test_names != class_names:
            raise ValueError(f"{name!r}: train/ and test/ hold different classes: {class_names} and {test_names}")
        return Data((train[0], train[1]), (test[0], test[1]), class_names)
    images, labels, class_names = datasets.load_folder(name, **options)
    is_test = np.zeros(len(labels), bool)
    for label in range(len(class_names)):
        is_test[np.flatnonzero(labels == label)[4::5]] = True
    if not is_test.any():
        raise ValueError(f"{name!r}: too few pictures: a class needs five to spare one for the test")
    return Data((images[~is_test], labels[~is_test]), (images[is_test], labels[is_test]), class_names)


def _labelled(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Data:
    """Images with a channel axis, classes named by their number."""
    (x_train, y_train), (x_test, y_test) = train, test
    if x_train.ndim == 3:
        x_train, x_test = x_train[..., None], x_test[..., None]
    return Data((x_train, y_train), (x_test, y_test), [str(i) for i in range(int(y_train.max()) + 1)])


def scaled(images: np.ndarray) -> np.ndarray:
    """uint8 0...255 as float32 0...1, what every network of this command sees."""
    return images.astype(np.float32) / 255


# ---- Commands --------------------------------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    data = load_data(arguments.data, arguments.image_size or (64, 64), arguments.color_mode)
    (images, labels), (test_images, test_labels) = data.train, data.test
    model = _new_network(arguments.model, images.shape[1:], len(data.class_names), arguments.seed)
    model.class_names = data.class_names
    optimizer = cnnfast.optimizers.get(arguments.optimizer)
    steps = arguments.epochs * math.ceil(len(images) / arguments.batch_size)
    # A rate that falls to zero ends at a better place than a steady one. Twice the usual at the start, it is the usual on
    # average.
    optimizer.learning_rate = CosineDecay(arguments.learning_rate or 2 * optimizer.learning_rate, steps)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"{len(images):,} training images, {len(test_images):,} test images, {len(data.class_names)} classes")
    model.fit(scaled(images), labels, epochs=arguments.epochs, batch_size=arguments.batch_size)
    _print_scores(model.evaluate(scaled(test_images), test_labels, verbose=0, return_dict=True))
    if arguments.out is None:
        print("not saved: --out FILE keeps the network")
    else:
        model.save(arguments.out)
        print(f"saved {printable(arguments.out)}")


def _new_network(name: str, input_shape: tuple[int, ...], classes: int, seed: int) -> cnnfast.Sequential:
    if name in NETWORKS:
        return NETWORKS[name](input_shape, classes, seed)
    try:
        model = _network_of(_read_json(name), input_shape, seed)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{name!r}: {error}") from error
    if model.output_shape[1:] != (classes,):
        raise ValueError(f"{name!r}: the data have {classes} classes, the network returns {model.output_shape[1:]}")
    return model


def _read_json(path: str) -> Any:
    """Read a small JSON file, more strictly than `json` does."""

    def no_constant(text: str) -> Any:
        raise ValueError(f"{text} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"a name occurs twice: {[name for name, _ in pairs]}")
        return dict(pairs)

    with open_regular(path) as file:
        text = file.read(2**20 + 1)
    if len(text) > 2**20:
        raise ValueError("a network's description has at most 1 MiB")
    return json.loads(text.decode("utf-8"), parse_constant=no_constant, object_pairs_hook=unique)


def _network_of(description: Any, input_shape: tuple[int, ...], seed: int) -> cnnfast.Sequential:
    """Build a network from a list of {"class_name": "Conv2D", "config": {"filters": 8, "kernel_size": 3}}."""
    if not isinstance(description, list) or not description or not all(isinstance(row, dict) for row in description):
        raise ValueError('must be a list of layers, {"class_name": ..., "config": {...}} each')
    stack = [cnnfast.layers.get({"config": {}, **row}) for row in description]
    if not isinstance(stack[0], cnnfast.layers.Input):
        stack.insert(0, cnnfast.layers.Input(input_shape))
    return cnnfast.Sequential(stack, seed=seed)


def _check_output(path: str | None) -> None:
    """Fail before the work rather than after it."""
    if path is None:
        return
    if os.path.isdir(path):
        raise IsADirectoryError(f"--out {path!r} is a folder")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"--out {path!r} is not a regular file")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"--out: no such folder: {folder!r}")
    try:
        with tempfile.TemporaryFile(dir=folder):  # asking for the right to is not enough: root has it anywhere
            pass
    except OSError as error:
        raise OSError(f"--out: can't write in {folder!r}: {error.strerror}") from None


def _evaluate(arguments: argparse.Namespace) -> None:
    model = cnnfast.load_model(arguments.model)
    height, width, channels = _image_shape(model)
    images, labels = load_data(arguments.data, (height, width), "grayscale" if channels == 1 else "rgb").test
    if images.shape[1:] != (height, width, channels):
        raise ValueError(f"the network takes images {(height, width, channels)}, the data have {images.shape[1:]}")
    _print_scores(model.evaluate(scaled(images), labels, batch_size=arguments.batch_size, verbose=0, return_dict=True))


def _print_scores(scores: dict[str, float]) -> None:
    for name, value in scores.items():
        print(f"test {name} {value:.4f}")


def _predict(arguments: argparse.Namespace) -> None:
    model = cnnfast.load_model(arguments.model)
    height, width, channels = _image_shape(model)
    color_mode = "grayscale" if channels == 1 else "rgb"
    names = class_names(model)
    images = [datasets.load_image(path, (height, width), color_mode=color_mode) for path in arguments.images]
    outputs = model.predict(scaled(np.stack(images)), verbose=0)
    for path, scores in zip(arguments.images, class_scores(model, outputs)):
        best = np.argsort(-scores, kind="stable")[:arguments.top]
        print(f"{printable(path)}:", ", ".join(f"{names[i]} {scores[i]:.1%}" for i in best))


def _image_shape(model: cnnfast.Sequential) -> tuple[int, int, int]:
    shape = input_shape("the command line", model)
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"the network takes {shape}, not images (height, width, 1 or 3)")
    return shape[0], shape[1], shape[2]


def _summary(arguments: argparse.Namespace) -> None:
    cnnfast.load_model(arguments.model).summary()


def _explain(arguments: argparse.Namespace) -> None:
    _check_output(arguments.out)
    model = cnnfast.load_model(arguments.model)
    height, width, channels = _image_shape(model)
    color_mode = "grayscale" if channels == 1 else "rgb"
    image = datasets.load_image(arguments.image, (height, width), color_mode=color_mode)
    page = explain(model, scaled(image), lang=arguments.lang, caption=printable(os.path.basename(arguments.image)))
    write_atomically(arguments.out, page.encode())
    print(f"saved {printable(arguments.out)}")


def _info(arguments: argparse.Namespace) -> None:
    cnnfast.show_config()
