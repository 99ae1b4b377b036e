import base64
import json
import re

import chromium
import numpy as np
import pytest

from cnnfast import Sequential, cli, layers, visualize
from cnnfast.explain import TEXT, explain


@pytest.fixture(scope="module")
def model():
    return Sequential([
        layers.Input((16, 12, 3)),
        layers.Conv2D(6, 3, activation="relu", name="edges"),
        layers.MaxPooling2D(2, name="smaller"),
        layers.DepthwiseConv2D(3, name="own"),
        layers.Conv2D(70, 1, name="many"),
        layers.Flatten(name="row"),
        layers.Dense(3, activation="softmax", name="answer"),
    ], seed=0)


@pytest.fixture
def image(rng):
    return rng.random((16, 12, 3), np.float32)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_what_the_page_says(model, image):
    data = data_of(explain(model, image, class_names=["cat", "dog", "hen"], caption="my.png"))
    scores = model.predict_on_batch(image[None])[0]
    assert [answer["name"] for answer in data["answers"]] == [["cat", "dog", "hen"][i] for i in np.argsort(-scores)]
    assert data["answers"][0]["score"] == pytest.approx(scores.max())
    assert len(data["cams"]) == 3 and data["caption"] == "my.png"
    assert [layer["name"] for layer in data["layers"]] == ["edges", "smaller", "own", "many", "row", "answer"]
    edges, many = data["layers"][0], data["layers"][3]
    assert edges["map"] == [14, 10] and edges["channels"] == 6 and len(edges["filters"]) == 6
    np.testing.assert_allclose(
        np.array(edges["filters"]).reshape(6, 3, 3, 3), model.layers[0].get_weights()[0].transpose(3, 2, 0, 1), atol=1e-5)
    assert [layer["units"] for layer in data["layers"]] == [0, 0, 0, 0, 1050, 3]
    assert data["layers"][5]["stats"][0][:3:2] == [pytest.approx(scores.min()), pytest.approx(scores.max())]
    assert many["all"] == 70 and many["channels"] == 64
    assert f"{14 * 10 * 3 * 3 * 3 * 6:,}".replace(",", "\u202f") in edges["text"]


def branched(last):
    return Sequential([
        layers.Input((16, 16, 1)),
        layers.RandomFlip("horizontal"),
        layers.Residual([layers.Conv2D(4, 3, padding="same", use_bias=False), layers.BatchNormalization()],
                        layers.Conv2D(4, 1), name="block"),
        layers.ReLU(name="on"),
        layers.GlobalAveragePooling2D(name="mean"),
        last,
    ], seed=0)


def test_layers_inside_of_branches_and_two_classes_of_one_sigmoid(rng):
    model, image = branched(layers.Dense(1, activation="sigmoid", name="answer")), rng.random((16, 16, 1), np.float32)
    data = data_of(explain(model, image, class_names=["no", "yes"]))
    assert [layer["name"] for layer in data["layers"]] == [
        "random_flip", "block/main/conv2d", "block/main/batch_normalization", "block/shortcut", "block", "on", "mean", "answer"]
    share = float(model.predict_on_batch(image[None])[0, 0])
    scores = {answer["name"]: answer["score"] for answer in data["answers"]}
    assert data["shares"] and scores == {"yes": pytest.approx(share), "no": pytest.approx(1 - share)}
    assert [cam["name"] for cam in data["cams"]] == [answer["name"] for answer in data["answers"]]
    assert data["layers"][6]["values"] == pytest.approx(list(visualize.feature_maps(model, image)["mean"]), rel=1e-3)
    parameters = model.count_params()
    multiplications = 256 * (9 * 4 + 4) + 4
    assert data["whole"] == TEXT["en"]["whole"].format(
        layers=8, parameters=parameters, multiplications=f"{multiplications:,}".replace(",", "\u202f"))


def test_scores_that_are_no_shares_and_a_network_without_maps(rng):
    image = rng.random((16, 16, 1), np.float32)
    data = data_of(explain(branched(layers.Dense(2, name="answer")), image))
    assert not data["shares"] and data["layers"][-1]["names"] == ["0", "1"]
    model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")], seed=0)
    data = data_of(explain(model, image[:4, :4]))
    assert len(data["answers"]) == 3 and data["cams"] == []


def test_a_deep_network_stays_a_small_page(rng):
    model = Sequential([layers.Input((96, 96, 3)), *[layers.Conv2D(64, 3, padding="same") for _ in range(12)],
                        layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")], seed=0)
    page = explain(model, rng.random((96, 96, 3), np.float32))
    assert len(page) < 10e6 and data_of(page)["layers"][0]["map"] == [48, 48]


def test_every_layer_for_images_is_explained():
    named = {name for name in layers.__all__ if name not in ("Input", "Layer") and not name.endswith("1D")}
    assert named == set(TEXT["en"]["kinds"])


def test_both_languages_say_the_same_things(model, image):
    assert TEXT["en"].keys() == TEXT["es"].keys() and TEXT["en"]["kinds"].keys() == TEXT["es"]["kinds"].keys()
    for key, sentence in TEXT["en"].items():
        if key != "kinds":
            assert set(re.findall(r"\{\w+\}", sentence)) == set(re.findall(r"\{\w+\}", TEXT["es"][key])), key
    page = explain(model, image, lang="es")
    assert '<html lang="es">' in page and "Lo que ve la red" in page
    with pytest.raises(ValueError, match="lang must be one of en, es, got 'fr'"):
        explain(model, image, lang="fr")


def test_names_cannot_break_out_of_the_page(model, image):
    evil = "</script><script>alert(1)</script>"
    page = explain(model, image, class_names=[evil, "<!--", "b"], caption=evil)
    assert page.count("</script>") == 2 and "<!--" not in page.split("<body>")[1]
    assert evil in [answer["name"] for answer in data_of(page)["answers"]]


@pytest.fixture(scope="module")
def browser():
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CNNFAST_CHROMIUM")
    return program


@pytest.mark.parametrize("lang, title", [("en", "What the network sees"), ("es", "Lo que ve la red")])
def test_in_a_real_browser(model, image, tmp_path, browser, lang, title):
    html = explain(model, image, lang=lang, class_names=["a", "b", "c"])
    (tmp_path / "report.html").write_text(html, "utf-8")
    url = (tmp_path / "report.html").as_uri()
    with chromium.Page(browser, tmp_path / "profile", url) as page:
        assert page.run("document.title") == title == page.run("document.querySelector('h1').textContent")
        chosen = "document.getElementById('layer-name').textContent"
        assert page.run(chosen) == "edges (Conv2D)"
        # By keyboard alone: the class that Grad-CAM is for, then the layers, then the channels.
        page.press("Tab")
        assert page.run("document.activeElement.id") == "cam-class"
        page.press("Tab", "ArrowDown", "ArrowDown", "ArrowDown")
        assert page.run(chosen) == "many (Conv2D)"
        assert page.run("document.querySelectorAll('[name=channel]').length") == 64
        page.press("Tab", "ArrowRight", "ArrowRight")
        assert page.run("document.querySelector('[name=channel]:checked').value") == "2"
        label = page.run("document.querySelector('#one canvas').getAttribute('aria-label')")
        assert label.startswith(TEXT[lang]["map_alt"].split("{")[0] + "2")
        assert page.run("document.querySelectorAll('#one .filter canvas').length") == 6
        # What is painted is the map: the canvas holds the channel's bytes.
        painted = page.run("[...document.querySelector('#one canvas').getContext('2d').getImageData(0, 0, 3, 5).data]")
        many = data_of(html)["layers"][3]
        expected = base64.b64decode(many["pixels"])[2 * 15 : 3 * 15]
        assert many["map"] == [5, 3] and bytes(painted[::4]) == bytes(painted[1::4]) == bytes(painted[2::4]) == expected
        assert painted[3::4] == [255] * 15
        # Every control and picture has a name for a screen reader, and nothing is wider than the window.
        assert page.run("[...document.querySelectorAll('canvas[role=img]')].every(c => c.getAttribute('aria-label'))")
        assert page.run("[...document.querySelectorAll('input, select')].every(i => i.labels[0].textContent.trim())")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        page.run("document.querySelector('[name=layer][value=\"5\"]').click()")
        assert page.run("document.getElementById('channels').hidden") and "3" in page.run(
            "document.getElementById('channels-legend').textContent")
        assert page.errors == []
        assert page.requests == [url]


def test_on_a_phone(tmp_path, browser, rng):
    """Nothing sticks out of a narrow window, with long names and one sigmoid; dark where the reader likes it dark."""
    answer = layers.Dense(1, activation="sigmoid", name="nameswithoutanyplacetobreakthem" * 3)
    html = explain(branched(answer), rng.random((16, 16, 1), np.float32))
    (tmp_path / "report.html").write_text(html, "utf-8")
    url = (tmp_path / "report.html").as_uri()
    with chromium.Page(browser, tmp_path / "profile", url) as page:
        page.emulate(360, 740, dark=True)
        for layer in range(8):
            page.run(f"document.querySelector('[name=layer][value=\"{layer}\"]').click()")
            assert page.run("document.documentElement.scrollWidth <= innerWidth && innerWidth <= 360"), layer
            assert page.run("(list => list.scrollWidth <= list.clientWidth)(document.getElementById('layers-list'))")
        assert page.run("[...document.querySelectorAll('#answers th')].length") == 2
        assert page.run("document.querySelectorAll('#one th').length") == 1  # the unit of the last layer
        light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).every(c => c > 128)"
        assert page.run(light) is False
        page.emulate(360, 740, dark=False)
        assert page.run(light) is True
        assert page.errors == [] and page.requests == [url]


@pytest.mark.parametrize("mode, file, size", [
    ("RGB", "p.jpg", (640, 481)), ("RGBA", "p.png", (40, 50)), ("LA", "p.png", (5, 99)), ("L", "p.png", (16, 12)),
    ("L", "p.jpg", (1, 1)), ("1", "p.png", (310, 70)), ("CMYK", "p.jpg", (20, 20)), ("P", "p.bmp", (300, 2)),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_command_takes_any_picture(tmp_path, channels, mode, file, size):
    """Of any kind and size: the page shows it as the network takes it, what is transparent as white."""
    Image = pytest.importorskip("PIL.Image")
    model = Sequential([layers.Input((8, 6, channels)), layers.Flatten(), layers.Dense(2, activation="softmax")], seed=0)
    model.save(tmp_path / "m.cnnfast")
    picture = Image.new("RGB", size, "teal").convert(mode)
    if "A" in mode:
        picture.putalpha(0)
    picture.save(tmp_path / file)
    assert cli.main(["explain", str(tmp_path / "m.cnnfast"), str(tmp_path / file), "--out", str(tmp_path / "r.html")]) == 0
    shown = data_of((tmp_path / "r.html").read_text("utf-8"))["picture"]
    assert shown["shape"] == [8, 6, channels]
    pixels = np.frombuffer(base64.b64decode(shown["pixels"]), np.uint8)
    assert pixels.size == 48 * channels and (pixels == 255).all() == ("A" in mode)


def test_command(model, tmp_path, capsys):
    Image = pytest.importorskip("PIL.Image")
    model.save(tmp_path / "m.cnnfast")
    Image.new("RGB", (30, 30), "teal").save(tmp_path / "teal.png")
    before = sorted(tmp_path.iterdir())
    arguments = ["explain", str(tmp_path / "m.cnnfast"), str(tmp_path / "teal.png"), "--lang", "es", "--out"]
    assert cli.main([*arguments, str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert data_of(page)["caption"] == "teal.png" and 'lang="es"' in page
    (tmp_path / "report.html").unlink()
    arguments[2] = str(tmp_path / "missing.png")
    assert cli.main([*arguments, str(tmp_path / "report.html")]) == 1
    assert sorted(tmp_path.iterdir()) == before and "missing.png" in capsys.readouterr().err
