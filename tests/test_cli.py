import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import cnnfast
from cnnfast import cli, datasets

Image = pytest.importorskip("PIL.Image")

TINY = [
    {"class_name": "Flatten"},
    {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network trained by the command itself, and what it printed."""
    path = tmp_path_factory.mktemp("cli") / "digits.cnnfast"
    command = [sys.executable, "-m", "cnnfast", "train", "--data", "digits", "--epochs", "10", "--batch-size", "32",
               "--out", str(path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return path, result.stdout


@pytest.fixture
def run(capsys):
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        before = cnnfast.get_num_threads()
        code = cli.main([str(argument) for argument in arguments])
        cnnfast.set_num_threads(before)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def one_line(err):
    return err.startswith("cnnfast: error: ") and err.count("\n") == 1


def shell(command, **options):
    command = command.replace("cnnfast", f"{sys.executable} -m cnnfast", 1)
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, **options)


def digit_picture(path, index=0, size=8):
    (_, _), (images, labels) = datasets.load_digits()
    Image.fromarray(images[index]).resize((size, size), Image.Resampling.NEAREST).save(path)
    return int(labels[index])


# ---- What it does ----------------------------------------------------------------------------------------------------


def test_train_learns_and_says_so(trained):
    path, out = trained
    assert "1,442 training images, 355 test images, 10 classes" in out
    accuracy = float(re.search(r"^test accuracy (\S+)$", out, re.M)[1])
    assert accuracy > 0.95
    assert out.rstrip().endswith(f"saved {path}")
    assert [file.name for file in path.parent.iterdir()] == ["digits.cnnfast"]


def test_evaluate_repeats_the_score_of_the_training(trained, run):
    path, out = trained
    code, evaluated, err = run("evaluate", path, "--data", "digits")
    assert (code, err) == (0, "")
    assert evaluated.splitlines() == [line for line in out.splitlines() if line.startswith("test ")]


def test_predict(trained, run, tmp_path):
    labels = [digit_picture(tmp_path / f"{i}.png", index=i, size=8 + 8 * (i % 2)) for i in range(6)]
    code, out, err = run("predict", trained[0], *(tmp_path / f"{i}.png" for i in range(6)))
    assert (code, err) == (0, "")
    answers = [re.fullmatch(r"(.+): (\d) \d+\.\d%", line) for line in out.splitlines()]
    assert [answer[1] for answer in answers] == [str(tmp_path / f"{i}.png") for i in range(6)]
    assert sum(int(answer[2]) == label for answer, label in zip(answers, labels)) >= 5
    code, out, _ = run("predict", trained[0], tmp_path / "0.png", "--top", 20)
    shares = [float(share) for share in re.findall(r"\d (\d+\.\d)%", out)]
    assert code == 0 and len(shares) == 10 and shares == sorted(shares, reverse=True) and 99 < sum(shares) < 101


def test_predict_with_one_sigmoid(run, tmp_path):
    """Its number is the share of the second class."""
    model = cnnfast.Sequential([cnnfast.layers.Input((8, 8, 1)), cnnfast.layers.Flatten(),
                                cnnfast.layers.Dense(1, activation="sigmoid")], seed=0, class_names=["cat", "dog"])  # fmt: skip
    model.set_weights([np.zeros((64, 1)), [np.log(3)]])
    model.save(tmp_path / "m.cnnfast")
    digit_picture(tmp_path / "0.png", index=0)
    code, out, _ = run("predict", tmp_path / "m.cnnfast", tmp_path / "0.png", "--top", 2)
    assert code == 0 and out.endswith("0.png: dog 75.0%, cat 25.0%\n")


def test_summary(trained, run):
    code, out, err = run("summary", trained[0])
    assert (code, err) == (0, "") and "conv2d_1" in out and "53,002" in out


def test_info(run):
    code, out, err = run("info")
    assert (code, err) == (0, "")
    assert cnnfast.__version__ in out and np.__version__ in out and "scalar" in out


def test_image_folder_with_class_names(tmp_path, run, rng):
    for name, low in (("dark", 0), ("light", 160)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(low, low + 96, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    model = tmp_path / "m.cnnfast"
    code, out, err = run("train", "--data", tmp_path / "data", "--image-size", "12x16",
                         "--epochs", 15, "--batch-size", 8, "--out", model)
    assert code == 0, err
    assert "32 training images, 8 test images, 2 classes" in out
    code, out, err = run("predict", model, tmp_path / "data" / "light" / "3.png")
    assert code == 0 and ": light " in out
    code, out, err = run("evaluate", model, "--data", tmp_path / "data")
    assert code == 0 and "test accuracy 1.0000" in out


def test_train_and_test_folders(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("L", (4, 4), i).save(tmp_path / part / name / f"{i}.png")
    data = cli.load_data(str(tmp_path), (4, 4), "grayscale")
    assert data.train[0].shape == (6, 4, 4, 1) and data.test[0].shape == (4, 4, 4, 1) and data.class_names == ["a", "b"]
    os.rename(tmp_path / "test" / "b", tmp_path / "test" / "c")
    with pytest.raises(ValueError, match="different classes"):
        cli.load_data(str(tmp_path), (4, 4), "grayscale")


def test_network_from_a_file(tmp_path, run):
    (tmp_path / "net.json").write_text(json.dumps(TINY))
    code, out, err = run("train", "--data", "digits", "--model", tmp_path / "net.json", "--epochs", 1)
    assert code == 0, err
    assert "not saved" in out
    nine = [TINY[0], {"class_name": "Dense", "config": {"units": 9}}]
    (tmp_path / "net.json").write_text(json.dumps(nine))
    code, out, err = run("train", "--data", "digits", "--model", tmp_path / "net.json", "--epochs", 1)
    assert code == 1 and one_line(err) and "10 classes" in err


def test_same_seed_same_network(tmp_path, run):
    (tmp_path / "net.json").write_text(json.dumps(TINY))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ["--data", "digits", "--model", tmp_path / "net.json", "--epochs", 1, "--seed", seed]
        assert run("train", *arguments, "--out", tmp_path / name)[0] == 0
    weights = {name: cnnfast.load_model(tmp_path / name).get_weights() for name in "abc"}
    assert all(np.array_equal(a, b) for a, b in zip(weights["a"], weights["b"]))
    assert not np.array_equal(weights["a"][0], weights["c"][0])


# ---- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments, rule", [
    ([], "required: COMMAND"),
    (["fly"], "invalid choice"),
    (["info", "--fast"], "unrecognized arguments"),
    (["train"], "required: --data"),
    (["train", "--data", "digits", "--epochs", "0"], "at least 1"),
    (["train", "--data", "digits", "--epochs", "1.5"], "at least 1"),
    (["train", "--data", "digits", "--batch-size", "0"], "at least 1"),
    (["train", "--data", "digits", "--learning-rate", "0"], "positive"),
    (["train", "--data", "digits", "--learning-rate", "nan"], "positive"),
    (["train", "--data", "digits", "--image-size", "0x8"], "HEIGHTxWIDTH"),
    (["train", "--data", "digits", "--image-size", "1x2x3"], "HEIGHTxWIDTH"),
    (["train", "--data", "digits", "--seed", "-1"], "from 0"),
    (["train", "--data", "digits", "--model", "huge"], "mobilenet_v2 or a .json file"),
    (["train", "--data", "digits", "--optimizer", "magic"], "optimizer"),
    (["predict", "m.cnnfast"], "required: IMAGE"),
    *((["info", "--threads", value], "from 1 to 256") for value in ("0", "-1", "abc", "1e9", "257")),
])
def test_usage(run, arguments, rule):
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and rule in err and "Traceback" not in err


def test_help_and_version(run):
    code, out, _ = run("--version")
    assert code == 0 and out == f"cnnfast {cnnfast.__version__}\n"
    for command in ("train", "evaluate", "predict", "summary", "info"):
        code, out, _ = run(command, "--help")
        assert code == 0 and f"usage: cnnfast {command}" in out


def test_bad_files(trained, run, tmp_path):
    digit_picture(tmp_path / "good.png")
    (tmp_path / "junk").write_bytes(b"\x80\x04junk" * 100)
    (tmp_path / "empty").write_bytes(b"")
    for arguments in [
        ("evaluate", tmp_path / "missing", "--data", "digits"),
        ("evaluate", tmp_path / "junk", "--data", "digits"),
        ("evaluate", trained[0], "--data", tmp_path / "missing"),
        ("evaluate", trained[0], "--data", tmp_path / "junk"),
        ("evaluate", trained[0], "--data", tmp_path),
        ("predict", tmp_path, tmp_path / "good.png"),
        ("predict", trained[0], tmp_path / "missing.png"),
        ("predict", trained[0], tmp_path / "good.png", tmp_path / "junk"),
        ("predict", trained[0], tmp_path / "empty"),
        ("summary", tmp_path / "empty"),
        ("train", "--data", tmp_path / "missing"),
        ("train", "--data", "digits", "--model", tmp_path / "missing.json"),
    ]:
        code, out, err = run(*arguments)
        assert code == 1 and one_line(err) and out == "", (arguments, out, err)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"class_name": "os.system", "config": {}}]', "[" * 100_000,
                                  '[{"class_name": "Dense", "config": {"units": -1}}]', '[{"units": NaN}]', "\xff",
                                  '[{"class_name": "Dense", "class_name": "Dense", "config": {"units": 10}}]'])
def test_bad_network_files(run, tmp_path, text):
    (tmp_path / "net.json").write_bytes(text.encode("latin-1"))
    code, _, err = run("train", "--data", "digits", "--model", tmp_path / "net.json")
    assert code == 1 and one_line(err) and "net.json" in err


def test_output_is_checked_before_the_work(run, tmp_path):
    for out in (tmp_path, tmp_path / "missing" / "m.cnnfast", "/dev/full", "/proc/m.cnnfast"):
        start = time.process_time()
        code, _, err = run("train", "--data", "digits", "--epochs", 100_000, "--out", out)
        assert code == 1 and one_line(err) and "--out" in err and time.process_time() - start < 5
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(run):
    with pytest.raises(FileNotFoundError):
        run("summary", "missing", "--debug")


def test_names_cannot_drive_the_terminal(trained, run, tmp_path):
    assert cli.printable("a\x1b[31m\nb\udcffé日") == "a\\x1b[31m\\nb\\udcffé日"
    digit_picture(tmp_path / "good.png")
    os.rename(tmp_path / "good.png", tmp_path / "a\x1b[2J\nb.png")
    code, out, _ = run("predict", trained[0], tmp_path / "a\x1b[2J\nb.png")
    assert code == 0 and "a\\x1b[2J\\nb.png" in out and out.count("\n") == 1
    code, _, err = run("summary", "no\x1b]0;such\x07 file")
    assert code == 1 and one_line(err) and "\x1b" not in err


def test_odd_names_in_a_plain_locale(trained, tmp_path):
    digit_picture(tmp_path / "good.png")
    for name in (b"-dash.png", b"with space.png", b"\xff\xfe.png", "año.png".encode()):
        os.rename(tmp_path / "good.png", os.fsencode(tmp_path) + b"/" + name)
        command = [sys.executable, "-m", "cnnfast", "predict", str(trained[0]), "--", name]
        environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment)
        assert result.returncode == 0 and result.stdout.count(b"\n") == 1, result.stderr
        os.rename(os.fsencode(tmp_path) + b"/" + name, tmp_path / "good.png")
    result = subprocess.run(command[:-1] + ["x" * 4096], capture_output=True, text=True)
    assert result.returncode == 1 and one_line(result.stderr)


def test_closed_and_full_output():
    result = shell("cnnfast info | head -c 1; exit ${PIPESTATUS[0]}")
    assert result.returncode in (0, 1) and result.stderr == ""
    if os.path.exists("/dev/full"):
        result = shell("cnnfast info > /dev/full")
        assert result.returncode == 1 and one_line(result.stderr), result.stderr


@pytest.mark.parametrize("flags", [["-I", "-S", "-E", "-OO"], ["-X", "dev", "-W", "error", "-B"]], ids=" ".join)
def test_in_a_bare_environment(trained, tmp_path, flags):
    """No HOME, no folder for temporary files, no way to write where one stands, no site-packages: it works all the same."""
    digit_picture(tmp_path / "d.png")
    code = f"import sys; sys.path[:] = {sys.path!r}; from cnnfast.cli import main; sys.exit(main(sys.argv[1:]))"

    def command(*arguments):
        return subprocess.run([sys.executable, *flags, "-c", code, *map(str, arguments)], capture_output=True, text=True,
                              timeout=240, cwd="/proc" if os.path.isdir("/proc") else "/", env={"TMPDIR": "/missing"})  # fmt: skip

    for arguments, there in ((["info"], "cnnfast"), (["summary", trained[0]], "conv2d_1"),
                             (["predict", trained[0], tmp_path / "d.png"], "%"),
                             (["train", "--data", "digits", "--epochs", 1, "--out", tmp_path / "new"], "saved"),
                             (["evaluate", tmp_path / "new", "--data", "digits"], "test accuracy")):  # fmt: skip
        result = command(*arguments)
        assert result.returncode == 0 and there in result.stdout and result.stderr == "", result.stderr
    result = command("train", "--data", "digits", "--out", "here")
    assert result.returncode == 1 and one_line(result.stderr) and result.stdout == ""
    assert sorted(os.listdir(tmp_path)) == ["d.png", "new"]


def test_disk_full_on_output(trained, run, tmp_path, monkeypatch):
    """Exit code 1, one line that names the file, and no part of it."""
    digit_picture(tmp_path / "d.png")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for arguments in (["train", "--data", "digits", "--epochs", 1, "--out", tmp_path / "m"],
                      ["explain", trained[0], tmp_path / "d.png", "--out", tmp_path / "page.html"]):  # fmt: skip
        code, _, err = run(*arguments)
        assert code == 1 and "No space left on device" in err and str(arguments[-1]) in err and err.count("cnnfast: error: ") == 1
        assert os.listdir(tmp_path) == ["d.png"]


def test_interrupted_training_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "cnnfast", "train", "--data", "digits", "--epochs", "100000", "--out", "m.cnnfast"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment)
    try:
        assert "training images" in process.stdout.readline()
        assert process.stdout.readline().startswith("Epoch 1/")  # it is at work
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err and err.rstrip().endswith("cnnfast: interrupted")
    assert list(tmp_path.iterdir()) == []
