"""What a newcomer tries first: every block of code in the README and the documentation, the course, and `make demo`."""

import importlib.util
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import cnnfast
from cnnfast import cli

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
LESSONS = sorted(ROOT.glob("examples/curso/*.py"))
BLOCK = re.compile(
    r"^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$"
    r"|^<!-- before\n(?P<before>(?:.*\n)*?)-->$"
    r"|^\.\. plot::\n(?P<plot>(?:[ ].*\n|\n)+)",
    re.M,
)  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty folder to work in, with a picture; no window opens."""
    matplotlib = pytest.importorskip("matplotlib")
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    _, (images, _) = cnnfast.datasets.load_digits()
    Image.fromarray(images[0]).save("picture.png")
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield tmp_path
    import matplotlib.pyplot as plt

    plt.close("all")
    matplotlib.use(backend)


def blocks(path):
    """(kind, line, text) of the pieces of a page that mean something to a computer; a page may set a scene in a comment."""
    page = path.read_text("utf-8")
    for found in BLOCK.finditer(page):
        line = page.count("\n", 0, found.start()) + 2
        if found["before"] is not None:
            yield "before", line, found["before"]
        elif found["plot"] is not None:
            yield "plot", line, found["plot"]
        elif found["language"] == "{eval-rst}":
            for plot in BLOCK.finditer(found["text"]):
                yield "plot", line + found["text"].count("\n", 0, plot.start()) + 1, plot["plot"]
        elif not found["language"].startswith("{"):
            yield found["language"], line, found["text"]


def plot_code(text):
    """The code of a plot directive without its options; one that names a file is run by a test of its own."""
    return re.sub(r"^:.*\n", "", textwrap.dedent(text), flags=re.M)


def check_command(command):
    """Run a `cnnfast` command; of any other, check that what it names exists."""
    program, *arguments = shlex.split(command, comments=True) or [""]
    if program == "cnnfast":
        parsed = cli._parser().parse_args(arguments)
        if not getattr(parsed, "data", "").startswith("/"):  # data that only some machines have
            assert cli.main(arguments) == 0, command
    elif program == "make":
        targets = {name for names in re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), re.M) for name in names.split()}
        assert not {word for word in arguments if "=" not in word} - targets, command
    elif program == "python" or program == "bash":
        assert (ROOT / arguments[0]).exists(), command
    elif program == "pip":
        assert arguments[0] == "install" and len(arguments) == 2
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", arguments[1])
        assert extra and (not extra[1] or f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text()), command
    else:
        assert not program, f"what is {command!r}?"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_code_runs(path, desk):
    """In order, as somebody would who reads the page: one name space, one folder."""
    names = {"__name__": "__main__"}
    for kind, line, text in blocks(path):
        if kind == "plot":
            kind, text = "python", plot_code(text)
        if kind in ("python", "before"):
            exec(compile("\n" * (line - 1) + text, str(path), "exec"), names)
        elif kind != "py":  # for another process, with another framework: below, every night
            assert kind in ("console", ""), f"{path}:{line}: a block of {kind!r}: who runs it?"
            for command in text.splitlines():
                check_command(command)


@pytest.mark.nightly
@pytest.mark.parametrize("page, framework", [("keras", "keras"), ("pytorch", "torch")])
def test_weights_come_over_from_the_real_framework(page, framework, tmp_path):
    """The guide as it is read, with the framework itself where otherwise a scene stands in for it; it compares the answers."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"no {framework}: make nightly installs it")
    pieces = [(kind, text) for kind, _, text in blocks(ROOT / "docs" / f"{page}.md") if kind in ("python", "py")]
    assert any(kind == "py" and "assert_allclose" in text for kind, text in pieces)
    code = "\n".join(text for _, text in pieces)
    backend = {"KERAS_BACKEND": "jax"} if importlib.util.find_spec("jax") else {}
    environment = {**os.environ, **backend, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_blocks_are_found():
    """A test of the test: it has to see what is there."""
    found = {str(path.relative_to(ROOT)): [kind for kind, _, _ in blocks(path)] for path in PAGES}
    assert "python" in found["README.md"]
    assert found["docs/index.md"].count("python") == 1
    assert found["docs/pytorch.md"].count("python") >= 5
    assert found["docs/seeing.md"].count("plot") >= 8


def test_every_command_in_running_text_is_one():
    for path in PAGES:
        for command in re.findall(r"`cnnfast (\w+ [^`]+)`", path.read_text("utf-8")):
            assert cli._parser().parse_args(shlex.split(command)).run


def test_the_front_picture(desk):
    figure = runpy.run_path(str(ROOT / "docs" / "pictures" / "front.py"))["figure"]
    assert len(figure.axes) == 4


def test_every_test_that_a_page_names_exists():
    text = "".join(path.read_text("utf-8") for path in PAGES)
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 30
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text("utf-8"), re.M), f"{file}::{test}"


def test_every_page_of_the_site_is_reachable():
    """From the front page, by the tables of contents; and every public module has its place in the reference."""
    reachable, waiting = set(), ["index"]
    while waiting:
        page = waiting.pop()
        reachable.add(page)
        text = (ROOT / "docs" / f"{page}.md").read_text("utf-8") if page != "curso/index" else ""
        for toctree in re.findall(r"^```\{toctree\}\n((?:.*\n)*?)```", text, re.M):
            names = [line for line in toctree.splitlines() if line and not line.startswith(":")]
            waiting += {os.path.normpath(os.path.join(os.path.dirname(page), name)) for name in names} - reachable
    assert reachable == {str(p.relative_to(ROOT / "docs"))[:-3] for p in ROOT.glob("docs/**/*.md")} | {"curso/index"}
    reference = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/api/*.md"))
    assert set(re.findall(r"automodule:: cnnfast\.(\w+)", reference)) >= set(cnnfast._MODULES)
    for name in set(cnnfast.__all__) - set(cnnfast._MODULES) - {"ops", "Sequential", "__version__"}:
        assert f":: cnnfast.{name}\n" in reference


FACTS = {  # what a lesson claims, about the names that it leaves behind
    "01_activaciones": lambda n: np.allclose(n["dos_capas"], n["una_capa"]) and n["pendiente_sigmoide"].max() == 0.25,
    "02_filtros_a_mano": lambda n: np.isclose(n["a_mano"], n["mapa"][n["fila"], n["columna"]]),
    "03_convolucion": lambda n: n["tamanos"]["valid", 1] == (26, 26, 8) and n["nucleo"].size + n["sesgo"].size == 448,
    "04_pooling": lambda n: n["maximo"].tolist() == [[4, 2], [2, 9]] and n["cambio_despues"] < n["cambio_antes"] / 3,
    "05_lo_que_ven_las_capas": lambda n: n["aciertos"] > 0.9 and (n["tercios"][:2].argmax(1) == [0, 1]).all(),
    "06_flatten_y_dense": lambda n: n["aciertos_conv"] > n["aciertos_dense"] > 0.9,
    "07_entrenamiento": lambda n: np.isclose(n["d_w1"][0, 0], n["medida"], rtol=1e-3) and n["despues"] < n["error"]
        and n["aciertos"] > 0.96 and n["de_memoria"] == 1 > n["de_verdad"],
    "08_hay_una_persona": lambda n: n["aciertos"] >= 0.96 and n["respuestas"][0] > 0.5 > n["respuestas"][1:].max(),
}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, desk):
    names = runpy.run_path(str(path), run_name="__main__")
    assert FACTS[path.stem](names)


def test_what_is_wrong_with_the_built_pages_is_found(tmp_path, monkeypatch):
    """`make docs` ends with this check."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import links

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.html").write_text("<a href='../index.html#here'>x</a> <img src='../p.png' alt='a picture'>")
    (tmp_path / "p.png").touch()
    (tmp_path / "index.html").write_text("<p id=here><a href='sub/a.html'></a> <a href='https://example.org/#a'></a>")
    assert list(links.wrong(tmp_path)) == []
    (tmp_path / "index.html").write_text(
        "<a href='b.html'></a> <a href='sub/a.html#there'></a> <a href='#top'></a> <img src=p.png> <img src=p.png alt=x>")
    assert sorted(links.wrong(tmp_path)) == [
        "index.html: '#top' names no place on that page",
        "index.html: 'b.html' leads nowhere",
        "index.html: 'sub/a.html#there' names no place on that page",
        "index.html: the picture 'p.png' has no text for who can't see it",
        "index.html: the picture 'p.png' is shown twice",
        "sub/a.html: '../index.html#here' names no place on that page",
    ]


def test_every_lesson_has_its_facts():
    assert sorted(FACTS) == [path.stem for path in LESSONS]


def test_demo(tmp_path):
    pytest.importorskip("matplotlib")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    result = subprocess.run([sys.executable, ROOT / "examples" / "digits.py", "--out", "demo"], cwd=tmp_path,
                            env=environment, capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    accuracy = re.search(r"Test accuracy: (\S+)%", result.stdout)
    assert float(accuracy[1]) >= 98
    files = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert files == ["confusion_matrix.png", "digits.cnnfast", "explain.html", "feature_maps.png", "filters.png",
                     "training_curves.png"]
