import numpy as np
import pytest

from cnnfast import Sequential, layers, visualize
from cnnfast.visualize.walking import Trace


@pytest.fixture
def model():
    """Every kind of thing that behaves otherwise in training, in float64 so that differences tell."""
    model = Sequential([
        layers.Input((7, 6, 2)),
        layers.Conv2D(5, 3, padding="same", activation="tanh", name="first"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.Residual([layers.Conv2D(5, 3, padding="same", activation="sigmoid"), layers.Dropout(0.5)]),
        layers.AveragePooling2D(2),
        layers.Conv2D(4, 2, activation="tanh", name="last"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ], seed=0, dtype="float64")
    weights = model.get_weights()
    rng = np.random.default_rng(1)
    model.set_weights([abs(w) + rng.random(w.shape) if w.ndim == 1 else w for w in weights])
    return model


@pytest.fixture
def image(rng):
    return rng.random((7, 6, 2))


def log_share(model, image, class_index):
    return np.log(model.predict_on_batch(image[None])[0, class_index])


def test_saliency_is_the_gradient(model, image):
    """Differences of scores before the softmax are differences of log shares."""
    gradients = [visualize.saliency(model, image, i) for i in range(2)]
    assert gradients[0].shape == image.shape
    for place in [(0, 0, 0), (3, 2, 1), (6, 5, 0), (4, 4, 1)]:
        nudge = np.zeros_like(image)
        nudge[place] = 1e-6
        slope = [(log_share(model, image + nudge, i) - log_share(model, image - nudge, i)) / 2e-6 for i in range(2)]
        assert gradients[1][place] - gradients[0][place] == pytest.approx(slope[1] - slope[0], rel=1e-6)


def test_the_model_is_left_alone(model, image):
    before = model.get_weights()
    answer = model.predict_on_batch(image[None])
    visualize.saliency(model, image)
    visualize.grad_cam(model, image)
    visualize.activation_maximization(model, "last", 0, steps=3)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(answer, model.predict_on_batch(image[None]))
    assert all(layer.trainable for layer in model.layers) and model.layers[-1].activation.name == "softmax"


def corner_model():
    """One feature, "bright", and two classes: bright in the top left counts for 0, in the bottom right for 1."""
    model = Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(1, 1, activation="relu", name="bright"),
        layers.Flatten(name="row"),
        layers.Dense(2, activation="softmax", name="answer"),
    ], seed=0)
    places = np.zeros((8, 8, 2), np.float32)
    places[:4, :4, 0] = places[4:, 4:, 1] = 1
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), places.reshape(64, 2), np.zeros(2)])
    return model


def test_grad_cam_points_at_what_counts():
    image = np.zeros((8, 8, 1), np.float32)
    image[1:3, 1:3] = 1
    heat = visualize.grad_cam(corner_model(), image, 0)
    assert heat.shape == (8, 8) and heat.max() == 1 and heat.min() == 0
    assert (heat > 0).sum() == 4 and (heat[1:3, 1:3] == 1).all()
    np.testing.assert_array_equal(heat, visualize.grad_cam(corner_model(), image, layer="bright"))


def test_grad_cam_is_resized_to_the_image(model, image):
    assert visualize.grad_cam(model, image).shape == (7, 6)
    assert visualize.grad_cam(model, image, layer="first").shape == (7, 6)


def test_activation_maximization_finds_what_is_looked_for():
    for channel, bright in ((0, np.s_[:4, :4]), (1, np.s_[4:, 4:])):
        image = visualize.activation_maximization(corner_model(), "answer", channel, smoothness=0)
        assert image.shape == (8, 8, 1) and image.min() >= 0 and image.max() <= 1
        assert image[bright].mean() > 0.95 > 0.65 > image.mean()


def test_activation_maximization_raises_the_channel(model):
    start = visualize.activation_maximization(model, "last", 2, steps=0)
    found = visualize.activation_maximization(model, "last", 2)
    means = [visualize.feature_maps(model, image)["last"][..., 2].mean() for image in (start, found)]
    assert means[1] > means[0] + 0.1


def test_inside_of_a_residual(model, image):
    """The gradient that Grad-CAM and activation maximization use, at a layer inside of a branch."""
    inner = "residual/main/conv2d"
    heats = [visualize.grad_cam(model, image, i, layer=inner) for i in range(3)]
    assert heats[0].shape == (7, 6) and np.max(heats) == 1 and np.min(heats) == 0
    trace = Trace(model, logits=True)
    scores = trace.forward(image[None])
    assert trace.backward(np.ones_like(scores)).shape == (1, 7, 6, 2)
    place = (0, 3, 2, 4)
    branch = trace.model.get_layer("residual")
    rest, moved = branch.main.layers[1], []
    for step in (1e-6, -1e-6):
        maps = trace.outputs[inner].copy()
        maps[place] += step
        y = rest(maps) + trace.outputs["dropout"]
        for layer in trace.model.layers[4:-1]:
            y = layer(y)
        moved.append(trace.model.layers[-1].forward(y, logits=True).sum())
    assert trace.gradients[inner][place] == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-5)
    before, found = (visualize.activation_maximization(model, inner, 3, steps=steps) for steps in (0, 30))
    means = [visualize.feature_maps(model, image)[inner][..., 3].mean() for image in (before, found)]
    assert means[1] > means[0]


def test_augmentation_is_at_rest(rng):
    """Random layers leave the picture alone here, as in inference; a crop takes the middle."""
    model = Sequential([
        layers.Input((8, 8, 1)), layers.RandomFlip(), layers.RandomRotation(0.5), layers.RandomBrightness(1.0),
        layers.RandomCrop(4, 4), layers.Flatten(), layers.Dense(2, activation="softmax", name="answer"),
    ], seed=0)  # fmt: skip
    image, weights = rng.random((8, 8, 1), np.float32), model.get_weights()[0].reshape(4, 4, 2)
    expected = np.zeros((8, 8))
    expected[2:6, 2:6] = weights[..., 1]
    np.testing.assert_array_equal(visualize.saliency(model, image, 1)[..., 0], expected.astype(np.float32))
    np.testing.assert_array_equal(visualize.feature_maps(model, image)["random_crop"], image[2:6, 2:6])


def test_a_lone_sigmoid_has_two_classes():
    """One unit that bright pixels in the top left raise: it speaks for class 1 there, and against class 0."""
    model = Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(1, 1, activation="relu", name="bright"), layers.Flatten(),
        layers.Dense(1, activation="sigmoid"),
    ], seed=0)
    places = np.zeros((8, 8), np.float32)
    places[:4, :4], places[4:, 4:] = 1, -0.5
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), places.reshape(64, 1), np.zeros(1)])
    image = np.zeros((8, 8, 1), np.float32)
    image[1, 1] = 1
    np.testing.assert_array_equal(visualize.saliency(model, image, 1), -visualize.saliency(model, image, 0))
    np.testing.assert_array_equal(visualize.grad_cam(model, image), visualize.grad_cam(model, image, 1))
    assert visualize.grad_cam(model, image, 1).max() == 1 and visualize.grad_cam(model, image, 0).max() == 0
    falls = [visualize.occlusion(model, image, i, size=1)[1, 1] for i in (0, 1)]
    share = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(falls, [0.5 - share, share - 0.5], atol=1e-6)
    np.testing.assert_allclose(visualize.occlusion(model, image, size=1)[1, 1], share - 0.5, atol=1e-6)
    with pytest.raises(ValueError, match="class_index must be from 0 to 1, got 2"):
        visualize.saliency(model, image, 2)


def test_activation_maximization_wakes_a_silent_channel():
    """The bias keeps the ReLU shut on grey; white does, but not all becomes white."""
    model = Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 3, activation="relu", name="shy")], seed=0)
    model.set_weights([np.ones((3, 3, 1, 1)), [-8.0]])
    image = visualize.activation_maximization(model, "shy", 0)
    assert visualize.feature_maps(model, image)["shy"].max() > 0.9 and image.mean() < 0.6


def test_grad_cam_uses_what_follows_the_last_convolution(rng):
    """Of a convolution, its normalization and its ReLU, the ReLU."""
    model = Sequential([
        layers.Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(name="on"),
        layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax"),
    ], seed=0)
    image = rng.random((8, 8, 1), np.float32)
    np.testing.assert_array_equal(visualize.grad_cam(model, image), visualize.grad_cam(model, image, layer="on"))


def test_occlusion_falls_where_it_counts():
    image = np.zeros((8, 8, 1), np.float32)
    image[1, 1] = image[6, 6] = 2
    fall = visualize.occlusion(corner_model(), image, 0, size=3)
    assert fall.shape == (8, 8)
    coarse = visualize.occlusion(corner_model(), image, 0, size=3, stride=3)
    np.testing.assert_array_equal(coarse, fall[::3, ::3].repeat(3, axis=0).repeat(3, axis=1)[:8, :8])
    assert (fall[:3, :3] > 0.3).all() and (fall[5:, 5:] < -0.3).all() and np.abs(fall[3:5, 3:5]).max() < 1e-6


@pytest.mark.parametrize("call, message", [
    (lambda m, x: visualize.saliency(m, x, 3), "saliency: class_index must be from 0 to 2, got 3"),
    (lambda m, x: visualize.grad_cam(m, x[0]), "grad_cam: image must have shape"),
    (lambda m, x: visualize.grad_cam(m, x, layer="flatten"), "grad_cam: layer must return maps"),
    (lambda m, x: visualize.grad_cam(m, x, layer="nobody"), "grad_cam: layer must be one of first, "),
    (lambda m, x: visualize.occlusion(m, x, size=2), "occlusion: size must be odd and positive, got 2"),
    (lambda m, x: visualize.occlusion(m, x, stride=0), "occlusion: stride must be positive, got 0"),
    (lambda m, x: visualize.activation_maximization(m, "last", 4), "channel must be from 0 to 3, got 4"),
])
def test_errors(model, image, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, image)


@pytest.mark.parametrize("draw", [
    lambda m, x, path: visualize.saliency(m, x, path=path),
    lambda m, x, path: visualize.grad_cam(m, x, path=path),
    lambda m, x, path: visualize.occlusion(m, x, path=path),
    lambda m, x, path: visualize.activation_maximization(m, "bright", 0, path=path),
    lambda m, x, path: visualize.architecture(m, path=path),
])
def test_pictures(tmp_path, rng, draw):
    Image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    draw(corner_model(), rng.random((8, 8, 1), np.float32), tmp_path / "picture.png")
    picture = np.asarray(Image.open(tmp_path / "picture.png").convert("L"))
    assert picture.size > 100_000 and picture.std() > 10
