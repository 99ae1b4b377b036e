import subprocess
import sys

import numpy as np
import pytest

from cnnfast import Sequential, layers, networks, visualize


@pytest.fixture
def model():
    return networks.small((8, 8, 1), classes=3, seed=0)


@pytest.fixture
def image(rng):
    return rng.random((8, 8, 1), np.float32)


def test_filters_are_the_weights_one_after_the_other(model):
    weight = model.layers[0].get_weights()[0]
    shown = visualize.filters(model.layers[0])
    assert shown.shape == (32, 3, 3, 1)
    for i in range(32):
        np.testing.assert_array_equal(shown[i], weight[..., i])
    shown[:] = 0  # a copy
    assert model.layers[0].get_weights()[0].any()


def test_filters_of_a_depthwise_convolution():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2)
    Sequential([layers.Input((8, 8, 2)), layer], seed=0)
    weight = layer.get_weights()[0]  # (3, 3, 2, 2)
    shown = visualize.filters(layer)
    assert shown.shape == (4, 3, 3, 1)
    np.testing.assert_array_equal(shown[3, ..., 0], weight[:, :, 1, 1])


def test_filters_wants_a_convolution(model):
    with pytest.raises(ValueError, match="filters: layer must be a built convolution"):
        visualize.filters(model.layers[-1])


def test_feature_maps_are_what_the_layers_return(model, image):
    maps = visualize.feature_maps(model, image)
    assert list(maps) == [layer.name for layer in model.layers]
    shapes = [map_.shape for map_ in maps.values()]
    assert shapes == [(8, 8, 32), (4, 4, 32), (4, 4, 64), (2, 2, 64), (256,), (128,), (128,), (3,)]
    np.testing.assert_array_equal(list(maps.values())[-1], model.predict(image[None], verbose=0)[0])
    np.testing.assert_array_equal(visualize.feature_maps(model, image[..., 0])["flatten"], maps["flatten"])


def test_feature_maps_of_a_nested_network(image):
    inner = Sequential([layers.Conv2D(4, 3, name="a"), layers.Conv2D(2, 3, name="b")], name="inner")
    model = Sequential([layers.Input((8, 8, 1)), inner, layers.Flatten(name="flat")], seed=0)
    maps = visualize.feature_maps(model, image)
    assert {name: map_.shape for name, map_ in maps.items()} == {
        "inner/a": (6, 6, 4), "inner/b": (4, 4, 2), "flat": (32,)}


def test_feature_maps_wants_one_image(model):
    with pytest.raises(ValueError, match=r"feature_maps: image must have shape \(8, 8, 1\), got \(1, 8, 8, 1\)"):
        visualize.feature_maps(model, np.zeros((1, 8, 8, 1)))


def test_training_curves():
    record = {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75], "val_loss": [2.5, 1.5]}
    for history in (record, type("History", (), {"history": record})()):
        curves = visualize.training_curves(history)
        assert list(curves) == list(record)
        np.testing.assert_array_equal(curves["loss"], [2.0, 1.0])
    with pytest.raises(ValueError, match="history is empty"):
        visualize.training_curves({})


def test_mosaic():
    images = np.arange(1, 6)[:, None, None, None] * np.ones((5, 2, 3, 1))
    grid = visualize.mosaic(images, columns=3)
    assert grid.shape == (5, 11, 1)
    for i in range(5):
        top, left = 3 * (i // 3), 4 * (i % 3)
        assert (grid[top:top + 2, left:left + 3] == i + 1).all()
    assert np.isnan(grid[2]).all() and np.isnan(grid[:, 3]).all() and np.isnan(grid[3:, 8:]).all()


@pytest.mark.parametrize("name", ["filters", "feature_maps", "training_curves"])
def test_pictures(model, image, tmp_path, name):
    Image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    arguments = {"filters": (model.layers[0],), "feature_maps": (model, image),
                 "training_curves": ({"loss": [2, 1], "accuracy": [0, 1]},)}[name]
    getattr(visualize, name)(*arguments, path=tmp_path / "picture.png")
    picture = np.asarray(Image.open(tmp_path / "picture.png").convert("L"))
    assert picture.shape[0] > 200 and picture.shape[1] > 400
    assert (picture < 128).mean() > 0.005 and (picture > 200).mean() > 0.05  # something is drawn on white


def test_draws_into_a_given_figure(model):
    Figure = pytest.importorskip("matplotlib.figure").Figure
    figure = Figure()
    visualize.filters(model.layers[0], figure=figure)
    assert len(figure.axes) == 1


def test_matplotlib_is_loaded_only_for_a_picture():
    code = """if True:
        import sys
        from cnnfast import networks, visualize
        model = networks.small((8, 8, 1), classes=3, seed=0)
        visualize.filters(model.layers[0])
        assert "matplotlib" not in sys.modules
        sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
        try:
            visualize.filters(model.layers[0], path="never.png")
        except ImportError as error:
            assert "cnnfast[plot]" in str(error)
        else:
            sys.exit("no error without Matplotlib")
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confusion_matrix(tmp_path):
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert visualize.confusion_matrix(labels, predicted).tolist() == expected
    assert visualize.confusion_matrix(labels, np.eye(3)[predicted]).tolist() == expected
    assert visualize.confusion_matrix(labels, predicted, class_names="abcd").shape == (4, 4)
    assert visualize.confusion_matrix(labels[:0], predicted[:0], class_names="ab").tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="from 0 to 1, got 0 to 2"):
        visualize.confusion_matrix(labels, predicted, class_names="ab")
    with pytest.raises(ValueError, match=r"must be \(N,\)"):
        visualize.confusion_matrix(labels, predicted[1:])
    with pytest.raises(TypeError, match="must be ints"):
        visualize.confusion_matrix(labels, predicted + 0.5)
    pytest.importorskip("matplotlib")
    visualize.confusion_matrix(labels, predicted, path=tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_architecture(model):
    rows = visualize.architecture(model)
    assert [row.name for row in rows] == [layer.name for layer in model.layers]
    assert rows[0] == ("conv2d", "Conv2D", (8, 8, 32), 9 * 32 + 32, 8 * 8 * 9 * 32)
    assert sum(row.parameters for row in rows) == model.count_params()
    assert rows[-1].multiplications == 128 * 3


def branched():
    """Layers inside of layers: a network, branches with and without a shortcut, a separable convolution."""
    same = dict(padding="same", activation="relu")
    model = Sequential([
        layers.Input((8, 8, 2)),
        Sequential([layers.Conv2D(2, 3, **same, name="a")], name="stem"),
        layers.Residual([layers.Conv2D(2, 3, **same), layers.Dropout(0.5)], name="plus"),
        layers.Residual(layers.Conv2D(4, 1), layers.Conv2D(4, 3, padding="same"), name="wide"),
        layers.Parallel([[], layers.SeparableConv2D(3, 3, padding="same")], name="side"),
        layers.GlobalAveragePooling2D(name="mean"),
        layers.Dense(2, activation="softmax", name="answer"),
    ], seed=0)
    return model


def test_feature_maps_inside_of_branches(rng):
    model, image = branched(), rng.random((8, 8, 2), np.float32)
    maps = visualize.feature_maps(model, image)
    assert {name: map_.shape for name, map_ in maps.items()} == {
        "stem/a": (8, 8, 2), "plus/main/conv2d": (8, 8, 2), "plus/main/dropout": (8, 8, 2), "plus": (8, 8, 2),
        "wide/main": (8, 8, 4), "wide/shortcut": (8, 8, 4), "wide": (8, 8, 4), "side/branch_1": (8, 8, 3),
        "side": (8, 8, 7), "mean": (7,), "answer": (2,)}
    np.testing.assert_array_equal(maps["plus"], maps["stem/a"] + maps["plus/main/dropout"])
    np.testing.assert_array_equal(maps["plus/main/conv2d"], maps["plus/main/dropout"])
    np.testing.assert_array_equal(maps["side"], np.concatenate([maps["wide"], maps["side/branch_1"]], axis=-1))
    np.testing.assert_array_equal(maps["answer"], model.predict_on_batch(image[None])[0])


def test_architecture_counts_what_is_inside_once():
    model = branched()
    rows = {row.name: row for row in visualize.architecture(model)}
    assert list(rows) == [name for name, _ in visualize.walk(model)]
    assert rows["plus/main/conv2d"][2:] == ((8, 8, 2), 9 * 2 * 2 + 2, 8 * 8 * 9 * 2 * 2)
    assert rows["plus"][2:] == ((8, 8, 2), 0, 0)
    assert rows["side/branch_1"].multiplications == 8 * 8 * (9 * 4 + 4 * 3)
    assert sum(row.parameters for row in rows.values()) == model.count_params()


def texts(figure):
    """Every word of a Matplotlib figure."""
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)} - {""}


def test_pictures_speak_the_language_asked_for(model, image):
    Figure = pytest.importorskip("matplotlib.figure").Figure
    pictures = {
        "architecture": ((model,), "imagen"),
        "filters": ((model.layers[0],), "conv2d: 32 filtros de 3 × 3 × 1"),
        "feature_maps": ((model, image), "conv2d: 8 × 8 × 32, los primeros 16 canales"),
        "training_curves": (({"loss": [2, 1], "val_loss": [2, 1], "lr": [1, 1]},), "pérdida, validación"),
        "confusion_matrix": ((np.array([0, 1]), np.array([0, 0])), "clase verdadera"),
        "saliency": ((model, image, 1), "lo que mueve la clase 1"),
        "grad_cam": ((model, image, 1), "dónde vio la clase 1"),
        "occlusion": ((model, image, 1), "cuánto baja la clase 1 al taparlo"),
        "activation_maximization": ((model, "conv2d", 3), "lo que busca el canal 3 de conv2d"),
    }
    for name, (arguments, spanish) in pictures.items():
        function, english, translated = getattr(visualize, name), Figure(), Figure()
        function(*arguments, figure=english)
        function(*arguments, figure=translated, lang="es")
        assert spanish in texts(translated) - texts(english), name
        with pytest.raises(ValueError, match=f"^{name}: lang must be one of en, es, got 'fr'"):
            function(*arguments, lang="fr")
