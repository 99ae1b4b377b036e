"""What a newcomer tries first: the example in the README, and `make demo`."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )


def test_every_python_block_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert blocks
    for block in blocks:
        result = run(["-W", "error", "-c", block], tmp_path)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "digits.cnnfast").exists()


def test_every_command_of_the_readme_is_one():
    from cnnfast import cli

    text = (ROOT / "README.md").read_text("utf-8")
    commands = re.findall(r"^cnnfast (.+)$", text, re.M) + re.findall(r"`cnnfast (\w+ [^`]+)`", text)
    assert len(commands) >= 3
    for command in commands:
        assert cli._parser().parse_args(command.split("#")[0].split()).run


def test_demo(tmp_path):
    pytest.importorskip("matplotlib")
    result = run([ROOT / "examples" / "digits.py", "--out", "demo"], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    accuracy = re.search(r"Test accuracy: (\S+)%", result.stdout)
    assert float(accuracy[1]) >= 98
    files = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert files == ["confusion_matrix.png", "digits.cnnfast", "explain.html", "feature_maps.png", "filters.png",
                     "training_curves.png"]
