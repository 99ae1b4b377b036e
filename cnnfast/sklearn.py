"""Networks as scikit-learn estimators (`pip install cnnfast[sklearn]`).

Images are rows to scikit-learn: they are flattened (a view) before its validation and get their shape back before the
network, so that its pipelines, splitters and error messages apply to both. A pickled estimator holds its network as the
bytes of a model file, which are checked as strictly when they are read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
except ImportError as error:
    raise ImportError("cnnfast.sklearn needs scikit-learn: pip install 'cnnfast[sklearn]'") from error
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from . import layers, optimizers, saving
from .arrays import as_array
from .callbacks import EarlyStopping
from .models import Sequential

__all__ = ["CNNClassifier", "CNNRegressor"]

Factory = Callable[..., Sequential]


class _Estimator(BaseEstimator):
    """What both estimators share: rows and images, training, pickling."""

    model_: Sequential
    image_shape_: tuple[int, int, int] | None
    history_: dict[str, list[float]]
    n_iter_: int

    def __init__(
        self, network: Factory | None = None, *, image_shape: Sequence[int] | None = None,
        hidden_layer_sizes: Sequence[int] = (100,), optimizer: Any = "adam", learning_rate: Any = None,
        batch_size: int | str = "auto", epochs: int = 100, tol: float = 1e-4, early_stopping: bool = False,
        validation_fraction: float = 0.1, n_iter_no_change: int = 10, warm_start: bool = False, random_state: Any = None,
        verbose: int = 0,
    ) -> None:  # fmt: skip
        self.network = network
        self.image_shape = image_shape
        self.hidden_layer_sizes = hidden_layer_sizes
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # --- data --------------------------------------------------------------------------------------------------------

    def _validate(self, X: Any, y: Any, **rules: Any) -> tuple[np.ndarray, Any]:
        """Check what `fit` is given; return X as rows."""
        X, given = _flattened(X)
        shape = None if self.image_shape is None else _with_channels(self.image_shape)
        if None not in (given, shape) and given != shape:
            raise ValueError(f"{type(self).__name__}: image_shape is {self.image_shape}, got X of images of shape {given}")
        reset = not self._goes_on()
        X, y = validate_data(self, X, y, reset=reset, **rules)
        shape = given or shape
        if shape is not None and math.prod(shape) != X.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: image_shape {self.image_shape} means {math.prod(shape)} values, "
                f"got X of {X.shape[1]} features"
            )
        if not reset and shape != self.image_shape_:
            raise ValueError(
                f"{type(self).__name__}: warm_start needs images of the same shape: {self.image_shape_}, got {shape}"
            )
        self.image_shape_ = shape
        return X, y

    def _goes_on(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "model_")

    def _samples(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.image_shape_ is None else rows.reshape(len(rows), *self.image_shape_)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows, given = _flattened(X)
        if given is not None and self.image_shape_ is None:
            rows = X  # for scikit-learn's own words about the number of dimensions
        elif given not in (None, self.image_shape_):
            raise ValueError(
                f"X has images of shape {given}, but {type(self).__name__} is expecting {self.image_shape_} as input"
            )
        rows = validate_data(self, rows, reset=False)
        return self.model_.predict(self._samples(rows), batch_size=256, verbose=0)

    # --- training ----------------------------------------------------------------------------------------------------

    def _train(
        self, rows: np.ndarray, y: np.ndarray, weight: np.ndarray, outputs: int, activation: str, stratify: bool
    ) -> None:
        """Train the network on rows of positive weight, its units being `outputs`."""
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        x, weight = self._samples(rows), weight / weight.mean()
        if not self._goes_on():
            self.model_ = self._network(x, outputs, activation, seed)
        validation = None
        if self.early_stopping:
            x, x_val, y, y_val, weight, weight_val = train_test_split(
                x, y, weight, test_size=self.validation_fraction, random_state=seed, stratify=y if stratify else None
            )
            validation = x_val, y_val, weight_val
        stopping = EarlyStopping(
            "val_loss" if self.early_stopping else "loss", min_delta=self.tol, patience=self.n_iter_no_change,
            restore_best_weights=bool(self.early_stopping),
        )  # fmt: skip
        batch_size: Any = min(200, len(x)) if self.batch_size == "auto" else self.batch_size
        history = self.model_.fit(
            x, y, sample_weight=weight, batch_size=batch_size, epochs=self.epochs, verbose=int(self.verbose),
            validation_data=validation, callbacks=[stopping],
        )  # fmt: skip
        self.history_ = {name: list(values) for name, values in history.history.items()}
        self.n_iter_ = len(history.epoch)

    def _network(self, x: np.ndarray, outputs: int, activation: str, seed: int) -> Sequential:
        """Make and compile the network for samples `x`."""
        name = type(self).__name__
        if self.network is None:
            dtype = np.float64 if x.dtype.kind == "f" and x.dtype.itemsize > 4 else np.float32
            model = _default_network(x.shape[1:], outputs, activation, self.hidden_layer_sizes, seed, dtype)
        elif callable(self.network):
            model = self.network(x.shape[1:], outputs, seed)
        else:
            raise TypeError(f"{name}: network must be a function that returns a Sequential, or None, got {self.network!r}")
        if not isinstance(model, Sequential):
            raise TypeError(f"{name}: network must return a Sequential, got {model!r}")
        if not model.built:
            model.build((None, *x.shape[1:]))
        found = None if model.activation is None else model.activation.name
        if model.output_shape[1:] != (outputs,) or (activation == "softmax" and found != "softmax"):
            end = f"{outputs} units" + (" with softmax" if activation == "softmax" else "")
            raise ValueError(f"{name}: network must end in {end}, got outputs {model.output_shape[1:]} of {found}")
        loss = "sparse_categorical_crossentropy" if activation == "softmax" else "mean_squared_error"
        optimizer = optimizers.get(self.optimizer)
        config = optimizer.get_config()
        if self.learning_rate is not None:
            config["learning_rate"] = self.learning_rate
        model.compile(type(optimizer).from_config(config), loss)  # a copy: one optimizer serves one network
        return model

    # --- copies ------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        model = state.pop("model_", None)
        if model is not None:
            state["_model_file"] = saving.to_bytes(model)
            state["_custom_layers"] = {cls.__name__: cls for cls in saving._classes(model) if cls.__name__ not in layers.table()}
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        content, custom = state.pop("_model_file", None), state.pop("_custom_layers", None)
        super().__setstate__(state)
        if content is not None:
            self.model_ = saving.from_bytes(content, custom_objects=custom)


class CNNClassifier(ClassifierMixin, _Estimator):
    """A network that classifies images, or rows of a table.

    Parameters
    ----------
    network : callable, optional
        ``network(input_shape, outputs, seed) -> Sequential``, as the functions in `cnnfast.networks` are; it ends in
        `outputs` units with softmax. By default two convolution blocks for images, then dense layers.
    image_shape : (height, width) or (height, width, channels), optional
        X holds images as flat rows. By default X is what it is: images if it is 4-D (samples, height, width, channels)
        or 3-D (without channels), else rows of a table.
    hidden_layer_sizes : sequence of int
        Units of the default network's dense layers before the last.
    optimizer : str or Optimizer
    learning_rate : float or Schedule, optional
        By default the optimizer's own.
    batch_size : int or "auto"
        Samples a step; "auto" is ``min(200, n_samples)``.
    epochs : int
        At most so many passes over the samples.
    tol, n_iter_no_change : float, int
        Training stops when the loss did not fall by more than `tol` for so many epochs.
    early_stopping : bool
        Keep `validation_fraction` of the samples, stratified, and watch their loss instead; the weights of the best
        epoch are restored.
    validation_fraction : float
    class_weight : dict or "balanced", optional
        As everywhere in scikit-learn.
    warm_start : bool
        `fit` goes on from the weights of the last `fit`.
    random_state : int, RandomState or None
        Decides the initial weights, the order of the samples, dropout and the validation samples.
    verbose : 0, 1 or 2
        Nothing, a bar, or a line an epoch.

    Attributes
    ----------
    model_ : Sequential
    classes_ : ndarray (n_classes,)
    image_shape_ : (height, width, channels) or None
    n_features_in_ : int
        Values of a sample, of an image too.
    feature_names_in_ : ndarray (features,)
        Only if X had names.
    history_ : dict of str to list of float
        By epoch: "loss", "val_loss".
    n_iter_ : int
        Epochs of the last `fit`.

    Notes
    -----
    The default network computes in float64 if X is float64, as scikit-learn's own do, and else in float32, which is
    about twice as fast. Samples of weight zero are left out; a weight of 2 equals a sample given twice when one batch
    holds all samples.

    Examples
    --------
    >>> from cnnfast.sklearn import CNNClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> CNNClassifier(image_shape=(8, 8), epochs=10, random_state=0).fit(X / 16, y).predict(X[:2] / 16)
    array([0, 1])
    """

    classes_: np.ndarray

    def __init__(
        self, network: Factory | None = None, *, image_shape: Sequence[int] | None = None,
        hidden_layer_sizes: Sequence[int] = (100,), optimizer: Any = "adam", learning_rate: Any = None,
        batch_size: int | str = "auto", epochs: int = 100, tol: float = 1e-4, early_stopping: bool = False,
        validation_fraction: float = 0.1, n_iter_no_change: int = 10, class_weight: Any = None, warm_start: bool = False,
        random_state: Any = None, verbose: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            network, image_shape=image_shape, hidden_layer_sizes=hidden_layer_sizes, optimizer=optimizer,
            learning_rate=learning_rate, batch_size=batch_size, epochs=epochs, tol=tol, early_stopping=early_stopping,
            validation_fraction=validation_fraction, n_iter_no_change=n_iter_no_change, warm_start=warm_start,
            random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNClassifier:
        """Train.

        Parameters
        ----------
        X : array_like (n_samples, n_features), (n_samples, height, width) or (n_samples, height, width, channels)
        y : array_like (n_samples,)
            Labels of any kind.
        sample_weight : array_like (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Not what was said above, or fewer than two classes.
        FloatingPointError
            The loss is not finite: a smaller learning rate, or scaled features, may help.
        """
        rows, y = self._validate(X, y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        classes, codes = np.unique(y, return_inverse=True)
        if self._goes_on() and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        weight = _weights(sample_weight, rows)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, y)
        rows, codes, weight = _positive(rows, codes, weight)
        if (present := len(np.unique(codes))) < 2:
            raise ValueError(
                f"y contains {present} class after sample_weight trimmed classes with zero weights, while a minimum of 2 "
                "classes are required."
            )
        self.classes_ = classes
        self._train(rows, codes, weight, len(classes), "softmax", stratify=True)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array_like
            As for `fit`; images and flat rows are both accepted, whichever `fit` was given.

        Returns
        -------
        ndarray (n_samples, n_classes)
        """
        return self._outputs(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each sample; X as for `predict_proba`.

        Returns
        -------
        ndarray (n_samples,)
        """
        best = self._outputs(X).argmax(1)
        return self.classes_[best]


class CNNRegressor(RegressorMixin, _Estimator):
    """A network that learns numbers from images, or from rows of a table, by the mean squared error.

    Parameters and attributes are those of `CNNClassifier`, without `class_weight` and `classes_`; a `network` ends in as
    many units as y has columns. The targets are taken as they are: `sklearn.compose.TransformedTargetRegressor` scales
    those that are far from 0 and 1.

    Examples
    --------
    >>> model = CNNRegressor(image_shape=(8, 8), random_state=0).fit(X, y)
    >>> model.score(X, y)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Train; X and sample_weight as for `CNNClassifier.fit`.

        Parameters
        ----------
        X : array_like
        y : array_like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like (n_samples,), optional

        Returns
        -------
        self
        """
        rows, y = self._validate(X, y, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if self._goes_on() and self.model_.output_shape[1] != outputs:
            raise ValueError(f"warm_start needs as many outputs as before: {self.model_.output_shape[1]}, got {outputs}")
        rows, y, weight = _positive(rows, y.reshape(len(y), outputs), _weights(sample_weight, rows))
        self._train(rows, y, weight, outputs, "linear", stratify=False)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers for each sample; images and flat rows are both accepted.

        Returns
        -------
        ndarray (n_samples,) or (n_samples, n_outputs)
        """
        y = self._outputs(X)
        return y[:, 0] if y.shape[1] == 1 else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _flattened(X: Any) -> tuple[Any, tuple[int, int, int] | None]:
    """Return images as rows, and their shape; anything else as it is, and None."""
    if not hasattr(X, "ndim") or (hasattr(X, "__dlpack__") and not hasattr(X, "__array__")):
        X = as_array(X)
    if X.ndim not in (3, 4):
        return X, None
    X = as_array(X)
    shape = _with_channels(X.shape[1:])
    return X.reshape(len(X), math.prod(shape)), shape


def _with_channels(shape: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(int(n) for n in shape)
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"image_shape must be (height, width) or (height, width, channels), got {shape}")
    return (*sizes, 1)[:3]  # type: ignore[return-value]


def _weights(sample_weight: Any, rows: np.ndarray) -> np.ndarray:
    weight = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def _positive(rows: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leave out the samples of weight zero."""
    keep = weight > 0
    return (rows, y, weight) if keep.all() else (rows[keep], y[keep], weight[keep])


def _default_network(
    input_shape: Sequence[int], outputs: int, activation: str, hidden: Sequence[int], seed: int, dtype: Any
) -> Sequential:
    """Two convolution blocks if the input is an image, and dense layers; pooling stops before a map is empty."""
    parts: list[layers.Layer] = [layers.Input(input_shape)]
    if len(input_shape) == 3:
        smallest = min(input_shape[:2])
        for filters in (32, 64):
            parts.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
            if smallest >= 2:
                parts.append(layers.MaxPooling2D(2))
                smallest //= 2
        parts.append(layers.Flatten())
    parts += [layers.Dense(units, activation="relu") for units in hidden]
    parts.append(layers.Dense(outputs, activation=activation))
    return Sequential(parts, seed=seed, dtype=dtype)
