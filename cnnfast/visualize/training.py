"""How training went, and what the trained network mixes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import Path, Words, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(
    history: Any, *, path: Path | None = None, figure: Figure | None = None, lang: str = "en"
) -> dict[str, np.ndarray]:
    """Return the losses and metrics of a training, epoch by epoch.

    Parameters
    ----------
    history : History or mapping
        What `fit` returned, or its `history` dictionary.
    path : path, optional
        Write a picture here: the loss on the left, the metrics on the right.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    dict of str to ndarray
        By name ("loss", "val_loss", "accuracy", ...): (epochs,), or (epochs, thresholds) where a metric has several.
    """
    record: Mapping[str, Any] = history if isinstance(history, Mapping) else history.history
    curves = {name: np.asarray(values, np.float64) for name, values in record.items()}
    if not curves:
        raise ValueError("training_curves: history is empty")

    def paint(figure: Figure, words: Words) -> None:
        groups = [[name for name in curves if ("loss" in name) == wanted] for wanted in (True, False)]
        groups = [group for group in groups if group]
        for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups):
            for name in group:
                epochs, label = np.arange(1, len(curves[name]) + 1), _curve(name, words)
                each = [f"{label} [{i}]" for i in range(curves[name].shape[-1])] if curves[name].ndim > 1 else label
                style = dict(linestyle="--", marker="o") if name.startswith("val_") else dict(marker="o")
                axes.plot(epochs, curves[name], label=each, **style)
            axes.set_xlabel(words["epoch"])
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()

    draw("training_curves", paint, path, figure, (9, 3.5), lang)
    return curves


def confusion_matrix(
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    path: Path | None = None,
    figure: Figure | None = None,
    lang: str = "en",
) -> np.ndarray:
    """Count which class was taken for which.

    Parameters
    ----------
    labels : ndarray
        True labels (N,), ints from 0.
    predicted : ndarray
        Predicted labels (N,), or the network's scores (N, classes).
    class_names : sequence of str, optional
        For the picture; also says how many classes there are. By default, as many as occur.
    path : path, optional
        Write a picture here.
    figure : matplotlib.figure.Figure, optional
        Draw the same into this figure.
    lang : "en" or "es"
        Of the words in the picture: English or Spanish.

    Returns
    -------
    ndarray
        int64 (classes, classes): row is the true class, column the predicted one.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    classes = len(class_names) if class_names is not None else 0
    if predicted.ndim == 2:
        classes = classes or predicted.shape[1]
        predicted = predicted.argmax(1)
    if labels.ndim != 1 or labels.shape != predicted.shape:
        raise ValueError(f"confusion_matrix: labels and predicted must be (N,), got {labels.shape}, {predicted.shape}")
    if labels.dtype.kind not in "iu" or predicted.dtype.kind not in "iu":
        raise TypeError(f"confusion_matrix: labels must be ints, got {labels.dtype} and {predicted.dtype}")
    highest = int(max(labels.max(initial=-1), predicted.max(initial=-1)))
    lowest = int(min(labels.min(initial=0), predicted.min(initial=0)))
    classes = classes or highest + 1
    if lowest < 0 or highest >= classes:
        raise ValueError(f"confusion_matrix: labels must be from 0 to {classes - 1}, got {lowest} to {highest}")
    counts = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes**2).reshape(classes, classes)
    names = list(class_names) if class_names is not None else [str(i) for i in range(classes)]

    def paint(figure: Figure, words: Words) -> None:
        axes = figure.subplots()
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.set_xlabel(words["predicted"])
        axes.set_ylabel(words["true"])
        slanted = max(map(len, names), default=0) > 3
        axes.set_xticks(range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(range(classes), names)
        if classes <= 25:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    dark = share[row, column] > 0.5
                    axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")

    draw("confusion_matrix", paint, path, figure, (6, 5.5), lang)
    return counts


def _curve(name: str, words: Words) -> str:
    """What a curve of `history` is called."""
    if name.startswith("val_"):
        return words["val"].format(name=_curve(name.removeprefix("val_"), words))
    return words.get(name, name)
