"""The scikit-learn estimators, as scikit-learn and its users handle them."""

import io
import pickle
import pickletools
import warnings

import numpy as np
import pytest
from harness import run_python

import cnnfast
from cnnfast import ModelFileError, Sequential, layers, networks, optimizers

pytest.importorskip("sklearn", reason="needs scikit-learn, which the extra [test] installs")

import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnfast.sklearn import CNNClassifier, CNNRegressor

ESTIMATORS = [CNNClassifier, CNNRegressor]


@pytest.fixture(autouse=True)
def one_thread():
    """The networks here are so small that a second thread would only wait."""
    with cnnfast.threads(1):
        yield


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def tiny(input_shape, outputs, seed):
    return Sequential([layers.Flatten(), layers.Dense(outputs, activation="softmax")], seed=seed)


def striped(n, rng, size=6):
    """Images with a horizontal or a vertical stripe, and what they are called."""
    images = rng.normal(0, 0.1, (n, size, size, 1)).astype(np.float32)
    labels = np.array(["across", "down"])[np.arange(n) % 2]
    for image, label, place in zip(images, labels, rng.integers(0, size, n)):
        (image if label == "across" else image.transpose(1, 0, 2))[place] += 1
    return images, labels


# --- scikit-learn's own checks -------------------------------------------------------------------------------------------

CHECK = """
from cnnfast.sklearn import {0}
from sklearn.utils.estimator_checks import check_estimator
results = check_estimator({0}(), expected_failed_checks={{}}, on_skip="warn", on_fail="raise")
assert {{result["status"] for result in results}} == {{"passed"}}
print(len(results))
"""


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_check_estimator(estimator):
    """All of them, with the defaults; in a process of its own, because one check needs SCIPY_ARRAY_API before SciPy."""
    code = CHECK.format(estimator.__name__)
    result = run_python(code, timeout=250, SCIPY_ARRAY_API="1", CNNFAST_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr[-3000:]
    assert int(result.stdout) > 50


def test_scikit_learn_is_imported_only_when_asked_for():
    script = "import sys, cnnfast; assert 'sklearn' not in sys.modules; cnnfast.sklearn; assert 'sklearn' in sys.modules"
    result = run_python(script)
    assert result.returncode == 0, result.stderr


def test_without_scikit_learn_the_error_says_what_to_install():
    script = "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None\nimport cnnfast\ncnnfast.sklearn"
    result = run_python(script)
    assert result.returncode == 1
    assert "ImportError: cnnfast.sklearn needs scikit-learn: pip install 'cnnfast[sklearn]'" in result.stderr


# --- learning ------------------------------------------------------------------------------------------------------------


def test_the_default_classifies_a_table():
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), CNNClassifier(learning_rate=0.01, random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.93


def test_the_default_classifies_images(digits):
    X, y = digits
    model = CNNClassifier(image_shape=(8, 8), epochs=15, batch_size=64, learning_rate=0.002, random_state=0)
    assert model.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.92
    assert [type(layer).__name__ for layer in model.model_.layers] == [
        "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense",
    ]  # fmt: skip


def test_the_default_learns_numbers_from_images(rng):
    X = rng.random((200, 5, 5, 1), np.float32)
    y = X[:, :2].mean((1, 2, 3)) * 4 - X[:, 3:].mean((1, 2, 3))
    model = CNNRegressor(batch_size=32, epochs=60, learning_rate=0.003, random_state=0).fit(X[:150], y[:150])
    assert model.score(X[150:], y[150:]) > 0.9


def test_several_targets(rng):
    X = rng.normal(size=(120, 3))
    Y = X @ rng.normal(size=(3, 2))
    model = CNNRegressor(learning_rate=0.01, random_state=0).fit(X, Y)
    assert model.predict(X).shape == (120, 2)
    assert model.score(X, Y) > 0.95


def test_strings_are_labels(rng):
    X, y = striped(80, rng)
    model = CNNClassifier(random_state=0, epochs=30, learning_rate=0.01).fit(X, y)
    assert list(model.classes_) == ["across", "down"]
    assert set(model.predict(X)) == {"across", "down"}
    assert model.score(X, y) > 0.9
    assert model.predict(X).dtype == y.dtype
    probabilities = model.predict_proba(X)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(1)], model.predict(X))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)


# --- images and rows -----------------------------------------------------------------------------------------------------


def test_images_and_rows_are_the_same(digits):
    X, y = digits[0][:100], digits[1][:100]
    settings = dict(epochs=2, random_state=0)
    rows = CNNClassifier(image_shape=(8, 8), **settings).fit(X, y)
    stack = CNNClassifier(**settings).fit(X.reshape(-1, 8, 8), y)
    images = CNNClassifier(**settings).fit(X.reshape(-1, 8, 8, 1), y)
    expected = rows.predict_proba(X)
    for model in (rows, stack, images):
        assert model.image_shape_ == (8, 8, 1)
        assert model.n_features_in_ == 64
        for form in ((8, 8, 1), (8, 8), (64,)):
            np.testing.assert_array_equal(model.predict_proba(X.reshape(-1, *form)), expected)


def test_integers_are_images_too(digits):
    X, y = (digits[0][:60] * 16).astype(np.uint8), digits[1][:60]
    settings = dict(image_shape=(8, 8), epochs=2, random_state=0)
    expected = CNNClassifier(**settings).fit(X.astype(np.float32), y).predict_proba(X)
    np.testing.assert_array_equal(CNNClassifier(**settings).fit(X, y).predict_proba(X), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (3, 3), (4, 4)])
def test_the_default_network_fits_the_smallest_images(size, rng):
    X, y = rng.random((12, *size, 2), np.float32), np.arange(12) % 3
    assert CNNClassifier(epochs=1).fit(X, y).predict_proba(X).shape == (12, 3)


@pytest.mark.parametrize(("given", "dtype"), [("f8", "f8"), ("f4", "f4"), ("f2", "f4"), ("i8", "f4"), ("u1", "f4")])
def test_the_dtype_is_that_of_the_data_if_it_is_a_float(given, dtype, rng):
    X = rng.integers(0, 5, (20, 3)).astype(given)
    model = CNNClassifier(epochs=1).fit(X, np.arange(20) % 2)
    assert model.model_.dtype == dtype
    assert model.predict_proba(X).dtype == dtype


def test_arrays_that_are_not_numpys(rng):
    class OnlyDlpack:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    X, y = striped(20, rng)
    model = CNNClassifier(epochs=1, random_state=0).fit(X, y)
    for given in (X.tolist(), OnlyDlpack(X), memoryview(X)):
        np.testing.assert_array_equal(model.predict(given), model.predict(X))


# --- parameters ----------------------------------------------------------------------------------------------------------


def test_a_network_of_ones_own(digits):
    X, y = digits[0][:100].reshape(-1, 8, 8), digits[1][:100]
    for factory in (tiny, networks.small):
        model = CNNClassifier(factory, epochs=1, random_state=3).fit(X, y)
        assert len(model.model_.layers) == len(factory((8, 8, 1), 10, 0).layers)
        assert model.predict(X).shape == (100,)


def test_the_optimizer_is_copied(rng):
    X, y = striped(20, rng)
    optimizer = optimizers.SGD(0.1, momentum=0.9)
    model = CNNClassifier(optimizer=optimizer, epochs=1).fit(X, y)
    assert optimizer.iterations == 0
    assert model.model_.optimizer.momentum == 0.9
    assert model.model_.optimizer.learning_rate == 0.1
    assert model.set_params(learning_rate=0.5).fit(X, y).model_.optimizer.learning_rate == 0.5


def test_random_state_decides_everything(rng):
    X, y = striped(40, rng)

    def proba(**settings):
        return CNNClassifier(networks.small, epochs=2, batch_size=8, **settings).fit(*striped_16(X, y)).predict_proba(X16)

    def striped_16(X, y):
        return np.repeat(np.repeat(X, 2, 1), 2, 2), y

    X16 = striped_16(X, y)[0]
    first = proba(random_state=1, early_stopping=True, validation_fraction=0.2)
    np.testing.assert_array_equal(proba(random_state=1, early_stopping=True, validation_fraction=0.2), first)
    same = np.random.RandomState(1)
    np.testing.assert_array_equal(proba(random_state=same, early_stopping=True, validation_fraction=0.2), first)
    assert (proba(random_state=2) != proba(random_state=1)).any()


def test_training_stops_when_nothing_gets_better(rng):
    X, y = striped(40, rng)
    model = CNNClassifier(tol=10.0, n_iter_no_change=3, epochs=50, random_state=0).fit(X, y)
    assert model.n_iter_ == 4  # the first counts as better than nothing
    assert list(model.history_) == ["loss"]
    assert len(model.history_["loss"]) == 4


def test_early_stopping_restores_the_best_epoch(rng):
    X, y = striped(60, rng)
    y[:20] = rng.permutation(y[:20])
    settings = dict(early_stopping=True, validation_fraction=0.3, n_iter_no_change=5, learning_rate=0.05, random_state=0)
    model = CNNClassifier(epochs=60, **settings).fit(X, y)
    losses = model.history_["val_loss"]
    assert model.n_iter_ == len(losses) < 60
    best = int(np.argmin(losses)) + 1
    assert best < model.n_iter_
    shorter = CNNClassifier(epochs=best, **settings).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), shorter.predict_proba(X))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_warm_start_goes_on(estimator, rng):
    X = rng.normal(size=(40, 4))
    y = (X[:, 0] > 0).astype(float)
    settings = dict(random_state=0, batch_size=16)
    whole = estimator(epochs=6, **settings).fit(X, y)
    model = estimator(epochs=3, warm_start=True, **settings).fit(X, y)
    halfway = model.predict(X) if estimator is CNNRegressor else model.predict_proba(X)
    model = pickle.loads(pickle.dumps(model)).fit(X, y)  # with the optimizer's state
    end = model.predict(X) if estimator is CNNRegressor else model.predict_proba(X)
    assert (halfway != end).any()
    np.testing.assert_array_equal(end, whole.predict(X) if estimator is CNNRegressor else whole.predict_proba(X))
    cold = model.set_params(warm_start=False).fit(X, y)
    np.testing.assert_array_equal(cold.predict(X), estimator(epochs=3, **settings).fit(X, y).predict(X))


def test_class_weight_equals_sample_weight(rng):
    X, y = striped(40, rng)
    keep = np.r_[np.flatnonzero(y == "across")[:5], np.flatnonzero(y == "down")]
    X, y = X[keep], y[keep]
    settings = dict(epochs=5, random_state=0)
    expected = CNNClassifier(**settings).fit(X, y, sample_weight=np.where(y == "across", 8.0, 2.0)).predict_proba(X)
    for weight in ("balanced", {"across": 4, "down": 1}):
        model = CNNClassifier(class_weight=weight, **settings).fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert (CNNClassifier(**settings).fit(X, y).predict_proba(X) != expected).any()


def test_verbose(rng, capsys):
    X, y = striped(20, rng)
    CNNClassifier(epochs=2).fit(X, y)
    assert capsys.readouterr() == ("", "")
    CNNClassifier(epochs=2, verbose=2).fit(X, y)
    assert "2/2" in "".join(capsys.readouterr())


# --- with the rest of scikit-learn ---------------------------------------------------------------------------------------


def test_grid_search_in_processes(digits):
    X, y = digits[0][:150], digits[1][:150]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), CNNClassifier(tiny, image_shape=(8, 8), epochs=5, random_state=0)),
        {"cnnclassifier__learning_rate": [1e-6, 0.05]}, n_jobs=2, cv=2,
    ).fit(X, y)  # fmt: skip
    assert search.best_params_ == {"cnnclassifier__learning_rate": 0.05}
    assert search.score(X, y) > 0.9


def test_cross_val_predict(digits):
    X, y = digits[0][:200], digits[1][:200]
    model = CNNClassifier(tiny, image_shape=(8, 8), epochs=30, learning_rate=0.02, random_state=0)
    assert np.mean(cross_val_predict(model, X, y, cv=2) == y) > 0.8
    images = cross_val_predict(model.set_params(image_shape=None), X.reshape(-1, 8, 8, 1), y, cv=2)
    assert np.mean(images == y) > 0.8


def test_calibration(digits):
    X, y = digits[0][:300], digits[1][:300]
    classifier = CNNClassifier(tiny, image_shape=(8, 8), epochs=40, learning_rate=0.02, random_state=0)
    model = CalibratedClassifierCV(classifier, cv=2)
    probabilities = model.fit(X[:200], y[:200]).predict_proba(X[200:])
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert np.mean(model.predict(X[200:]) == y[200:]) > 0.8


def test_scaled_targets(rng):
    X = rng.normal(size=(100, 3))
    y = 1000 + 50 * X[:, 0]
    model = TransformedTargetRegressor(CNNRegressor(learning_rate=0.01, random_state=0), transformer=StandardScaler())
    assert model.fit(X, y).score(X, y) > 0.95


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_clone_is_not_fitted(estimator, rng):
    X, y = rng.normal(size=(20, 2)), np.arange(20) % 2
    model = estimator(hidden_layer_sizes=(7,), epochs=1, random_state=5).fit(X, y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)
    np.testing.assert_array_equal(copy.fit(X, y).predict(X), model.predict(X))


# --- pickles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_hold_arrays_and_plain_values_only(estimator, protocol, rng):
    X, y = rng.normal(size=(30, 8)), np.arange(30) % 3
    model = estimator(image_shape=(2, 2, 2), epochs=2, random_state=0, early_stopping=True).fit(X, y)
    text = pickle.dumps(model, protocol)

    class Plain(pickle.Unpickler):
        def find_class(self, module, name):
            assert module.split(".")[0] in ("numpy", "copyreg", "builtins", "_codecs") or (module, name) == (
                "cnnfast.sklearn", estimator.__name__,
            ), f"{module}.{name}"  # fmt: skip
            return super().find_class(module, name)

    assert any(code.name in ("GLOBAL", "STACK_GLOBAL") for code, *_ in pickletools.genops(text))
    copy = Plain(io.BytesIO(text)).load()
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert copy.history_ == model.history_
    assert set(vars(copy)) == set(vars(model))


def test_joblib(tmp_path, digits):
    X, y = digits[0][:100], digits[1][:100]
    model = CNNClassifier(tiny, image_shape=(8, 8), epochs=2, random_state=0).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    copy = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_a_damaged_pickle_is_refused(rng):
    X, y = striped(20, rng)
    state = CNNClassifier(epochs=1).fit(X, y).__getstate__()
    assert isinstance(state["_model_file"], bytes)
    content = bytearray(state["_model_file"])
    content[-1] ^= 1
    with pytest.raises(ModelFileError, match="checksum"):
        CNNClassifier().__setstate__({**state, "_model_file": bytes(content)})


class Doubled(layers.Layer):
    def forward(self, x, training=False):
        return x * 2

    def backward(self, dy):
        return dy * 2


def with_a_layer_of_ones_own(input_shape, outputs, seed):
    return Sequential([Doubled(), layers.Dense(outputs, activation="softmax")], seed=seed)


def test_layers_of_ones_own_are_pickled_by_name(rng):
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    model = CNNClassifier(with_a_layer_of_ones_own, epochs=1).fit(X.astype(np.float32), y)
    copy = pickle.loads(pickle.dumps(model))
    assert type(copy.model_.layers[0]) is Doubled
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


# --- errors --------------------------------------------------------------------------------------------------------------


def test_scikit_learns_words(rng):
    X, y = rng.normal(size=(20, 4)), np.arange(20) % 2
    with pytest.raises(NotFittedError, match="This CNNClassifier instance is not fitted yet. Call 'fit'"):
        CNNClassifier().predict(X)
    with pytest.raises(NotFittedError, match="This CNNRegressor instance is not fitted yet. Call 'fit'"):
        CNNRegressor().predict(X)
    model = CNNClassifier(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features, but CNNClassifier is expecting 4 features as input"):
        model.predict(X[:, :3])
    with pytest.raises(ValueError, match="Found array with dim 4"):
        model.predict(X.reshape(20, 2, 2, 1))
    with pytest.raises(ValueError, match="y contains 1 class after sample_weight trimmed classes with zero weights"):
        model.fit(X, np.zeros(20))
    with pytest.raises(ValueError, match="y contains 1 class after sample_weight trimmed classes with zero weights"):
        model.fit(X, y, sample_weight=y)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:-1])
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        CNNClassifier(epochs=1, warm_start=True).fit(X, y).fit(X, y + 1)


def test_images_that_do_not_fit(rng):
    X, y = striped(20, rng, size=4)
    with pytest.raises(ValueError, match=r"image_shape \(3, 5\) means 15 values, got X of 16 features"):
        CNNClassifier(image_shape=(3, 5)).fit(X.reshape(20, 16), y)
    with pytest.raises(ValueError, match=r"image_shape is \(2, 8\), got X of images of shape \(4, 4, 1\)"):
        CNNClassifier(image_shape=(2, 8)).fit(X, y)
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\) or \(height, width, channels\), got \(16,\)"):
        CNNClassifier(image_shape=(16,)).fit(X.reshape(20, 16), y)
    model = CNNClassifier(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"X has images of shape \(2, 8, 1\), but CNNClassifier is expecting \(4, 4, 1\)"):
        model.predict(X.reshape(20, 2, 8, 1))
    with pytest.raises(ValueError, match="X has 15 features, but CNNClassifier is expecting 16"):
        model.predict(X.reshape(20, 16)[:, :15])


def test_networks_that_do_not_fit(rng):
    X, y = rng.normal(size=(20, 4)), np.arange(20) % 3

    def ends_in(*parts):
        return lambda input_shape, outputs, seed: Sequential(parts, seed=seed)

    with pytest.raises(ValueError, match=r"CNNClassifier: network must end in 3 units with softmax, got outputs \(2,\) of softmax"):
        CNNClassifier(ends_in(layers.Dense(2, activation="softmax"))).fit(X, y)
    with pytest.raises(ValueError, match=r"must end in 3 units with softmax, got outputs \(3,\) of linear"):
        CNNClassifier(ends_in(layers.Dense(3))).fit(X, y)
    with pytest.raises(ValueError, match=r"CNNRegressor: network must end in 1 units, got outputs \(3,\)"):
        CNNRegressor(ends_in(layers.Dense(3))).fit(X, y)
    with pytest.raises(TypeError, match="network must return a Sequential, got None"):
        CNNClassifier(lambda *arguments: None).fit(X, y)
    with pytest.raises(TypeError, match="network must be a function that returns a Sequential, or None, got 'small'"):
        CNNClassifier("small").fit(X, y)


def test_nothing_given_is_changed_and_nothing_warns(rng):
    X, y = striped(20, rng)
    weight = rng.random(20) + 0.1
    copies = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CNNClassifier(epochs=2, early_stopping=True, random_state=0, class_weight="balanced").fit(X, y, weight).predict(X)
    for array, copy in zip((X, y, weight), copies):
        np.testing.assert_array_equal(array, copy)
