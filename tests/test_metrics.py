"""Metrics against plain formulas and scikit-learn's definitions, in batches, with weights."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from cnnfast import Sequential, callbacks, layers, metrics


@pytest.fixture
def scored(rng):
    """Labels, one-hot targets, probabilities, weights of 200 samples of 4 classes."""
    labels = rng.integers(0, 4, 200)
    scores = rng.standard_normal((200, 4)) + 1.5 * np.eye(4)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return labels, np.eye(4)[labels], probabilities, rng.random(200) + 0.1


def in_batches(metric, y_true, y_pred, weight=None):
    for part in np.array_split(np.arange(len(y_true)), 7):
        metric.update_state(y_true[part], y_pred[part], None if weight is None else weight[part])
    return metric.result()


def test_accuracies(scored):
    labels, one_hot, p, w = scored
    right = p.argmax(1) == labels
    assert in_batches(metrics.SparseCategoricalAccuracy(), labels, p) == pytest.approx(right.mean())
    assert in_batches(metrics.CategoricalAccuracy(), one_hot, p, w) == pytest.approx((w * right).sum() / w.sum())
    binary = ((p > 0.3) == one_hot).mean()
    assert in_batches(metrics.BinaryAccuracy(threshold=0.3), one_hot, p) == pytest.approx(binary)
    top = np.mean([label in np.argsort(row)[-2:] for label, row in zip(labels, p)])
    assert in_batches(metrics.SparseTopKCategoricalAccuracy(2), labels, p) == pytest.approx(top)
    assert in_batches(metrics.TopKCategoricalAccuracy(2), one_hot, p) == pytest.approx(top)
    assert metrics.SparseTopKCategoricalAccuracy()(labels, p) == 1


def test_errors_and_crossentropies(scored):
    labels, one_hot, p, w = scored
    assert in_batches(metrics.MeanSquaredError(), one_hot, p) == pytest.approx(((one_hot - p) ** 2).mean())
    assert in_batches(metrics.MeanAbsoluteError(), one_hot, p, w) == pytest.approx(
        (w * np.abs(one_hot - p).mean(1)).sum() / w.sum())  # fmt: skip
    entropy = -np.log(p[np.arange(200), labels]).mean()
    assert in_batches(metrics.SparseCategoricalCrossentropy(), labels, p) == pytest.approx(entropy)
    assert in_batches(metrics.CategoricalCrossentropy(), one_hot, p) == pytest.approx(entropy)
    assert in_batches(metrics.SparseCategoricalCrossentropy(from_logits=True), labels, np.log(p)) == pytest.approx(entropy)
    binary = -(one_hot * np.log(p) + (1 - one_hot) * np.log(1 - p)).mean()
    assert in_batches(metrics.BinaryCrossentropy(), one_hot, p) == pytest.approx(binary)


def test_precision_and_recall(scored):
    labels, one_hot, p, w = scored
    chosen, true = p > 0.4, one_hot > 0
    weight = np.repeat(w[:, None], 4, 1)
    assert in_batches(metrics.Precision(0.4), labels, p) == pytest.approx((chosen & true).sum() / chosen.sum())
    assert in_batches(metrics.Recall(0.4), one_hot, p, w) == pytest.approx(weight[chosen & true].sum() / weight[true].sum())
    of_class = (chosen & true)[:, 2].sum() / chosen[:, 2].sum()
    assert in_batches(metrics.Precision(0.4, class_id=2), labels, p) == pytest.approx(of_class)
    assert metrics.Precision()(np.zeros((3, 1)), np.zeros((3, 1))) == 0


def test_precision_and_recall_of_the_largest(scored):
    labels, one_hot, p, _ = scored
    best = np.argsort(-p, 1, kind="stable")[:, :2]
    chosen = np.zeros((200, 4), bool)
    np.put_along_axis(chosen, best, True, 1)
    hits = (chosen & (one_hot > 0)).sum()
    assert in_batches(metrics.Precision(top_k=2), labels, p) == pytest.approx(hits / 400)
    assert in_batches(metrics.Recall(top_k=2), one_hot, p) == pytest.approx(hits / 200)
    both = (chosen & (p > 0.3))[:, 1]
    assert in_batches(metrics.Precision(0.3, 2, 1), labels, p) == pytest.approx((both & (labels == 1)).sum() / both.sum())
    with pytest.raises(ValueError, match="Recall: top_k must be a positive int, got 0"):
        metrics.Recall(top_k=0)
    for kind in (metrics.Precision, metrics.Recall):
        several = in_batches(kind([0.6, 0.2, 0.5, 0.2], class_id=1), labels, p)
        assert several == [in_batches(kind(threshold, class_id=1), labels, p) for threshold in (0.6, 0.2, 0.5, 0.2)]
        assert metrics.get({"class_name": kind.__name__, "config": kind([0.6, 0.2]).get_config()}).thresholds == [0.6, 0.2]
    for bad in ([], [0.5, 1.5], -0.1, float("nan")):
        with pytest.raises(ValueError, match="Precision: thresholds must be numbers from 0 to 1"):
            metrics.Precision(bad)


def test_auc_by_other_sums(scored):
    """Step by step from the definition, over thresholds of one's own."""
    labels, _, p, _ = scored
    y, score, thresholds = labels == 1, p[:, 1], [0.7, 0.2, 0.5]
    levels = [-1e-7, 0.2, 0.5, 0.7, 1 + 1e-7]
    tp, fp = (np.array([(kind & (score > level)).sum() for level in levels]) for kind in (y, ~y))
    recall, fallout, precision = tp / y.sum(), fp / (~y).sum(), tp / np.maximum(tp + fp, 1)
    for method, between in (("interpolation", lambda v: (v[:-1] + v[1:]) / 2), ("minoring", lambda v: np.minimum(v[:-1], v[1:])),
                            ("majoring", lambda v: np.maximum(v[:-1], v[1:]))):  # fmt: skip
        roc = metrics.AUC(summation_method=method, thresholds=thresholds)
        expected = ((fallout[:-1] - fallout[1:]) * between(recall)).sum()
        assert in_batches(roc, y[:, None], score[:, None]) == pytest.approx(expected)
        if method != "interpolation":
            pr = metrics.AUC(curve="PR", summation_method=method, thresholds=thresholds)
            expected = ((recall[:-1] - recall[1:]) * between(precision)).sum()
            assert in_batches(pr, y[:, None], score[:, None]) == pytest.approx(expected)
    logits = np.log(score / (1 - score))[:, None]
    assert in_batches(metrics.AUC(from_logits=True), y[:, None], logits) == pytest.approx(
        in_batches(metrics.AUC(), y[:, None], score[:, None]))  # fmt: skip
    twin = metrics.get({"class_name": "AUC", "config": roc.get_config()})
    assert in_batches(twin, y[:, None], score[:, None]) == roc.result()
    for bad in (dict(summation_method="simpson"), dict(thresholds=[]), dict(thresholds=[0.5, 2])):
        with pytest.raises(ValueError, match="AUC: .* must be"):
            metrics.AUC(**bad)


def test_auc(scored):
    labels, _, p, w = scored
    y, score = (labels == 1).astype(int), p[:, 1]
    above = score[y == 1][:, None] > score[y == 0]
    weights = w[y == 1][:, None] * w[y == 0]
    fine = metrics.AUC(5000)
    assert in_batches(fine, y[:, None], score[:, None], w) == pytest.approx((weights * above).sum() / weights.sum(), abs=2e-3)
    assert in_batches(metrics.AUC(), y, score[:, None]) == pytest.approx(above.mean(), abs=2e-2)
    order = np.argsort(-score)
    precision = np.cumsum(y[order]) / np.arange(1, 201)
    average = precision[y[order] == 1].mean()
    assert in_batches(metrics.AUC(5000, "PR"), y[:, None], score[:, None]) == pytest.approx(average, abs=2e-2)
    # Keras's documented example
    example = metrics.AUC(num_thresholds=3)
    assert example(np.array([0, 0, 1, 1.0])[:, None], np.array([0, 0.5, 0.3, 0.9])[:, None]) == pytest.approx(0.75)
    for bad in (dict(num_thresholds=2), dict(curve="roc")):
        with pytest.raises(ValueError, match="must be"):
            metrics.AUC(**bad)


def test_confusion_matrix(scored):
    labels, one_hot, p, _ = scored
    matrix = metrics.confusion_matrix(labels, p)
    assert matrix.sum() == 200 and matrix.shape == (4, 4) and matrix.trace() == (p.argmax(1) == labels).sum()
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(one_hot, p.argmax(1), 4))
    assert matrix[1, 2] == ((labels == 1) & (p.argmax(1) == 2)).sum()
    for arguments in (([0, 1], [0]), ([0, 5], [0, 1], 3), ([-1], [0])):
        with pytest.raises(ValueError, match="confusion_matrix"):
            metrics.confusion_matrix(*arguments)


@pytest.mark.parametrize("name", sorted({cls.__name__ for cls in metrics.TABLE.values()}))
def test_state_and_description(name, scored):
    labels, one_hot, p, w = scored
    y = labels if name.startswith("Sparse") else one_hot
    metric = metrics.get(name)
    assert metric.name == {"AUC": "auc"}.get(name, metric.name) and metrics.get(metric.name) is not None
    metric.update_state(y[:150], p[:150], w[:150])
    twin = metrics.get({"class_name": name, "config": metric.get_config()})
    twin.set_state(json.loads(json.dumps(metric.get_state())))
    for m in (metric, twin):
        m.update_state(y[150:], p[150:], w[150:])
    assert twin.result() == metric.result() != 0
    metric.reset_state()
    assert metric.result() == 0


def test_auc_of_many_labels(rng):
    y, p, weight = rng.random((90, 3)) < 0.4, rng.random((90, 3)).astype(np.float32), rng.random(90)
    areas = [in_batches(metrics.AUC(50), y[:, [i]], p[:, [i]]) for i in range(3)]
    assert in_batches(metrics.AUC(50, multi_label=True), y, p) == pytest.approx(np.mean(areas), rel=1e-12)
    weighted = metrics.AUC(50, multi_label=True, num_labels=3, label_weights=[1, 0, 2])
    assert in_batches(weighted, y, p) == pytest.approx((areas[0] + 2 * areas[2]) / 3, rel=1e-12)
    together = metrics.AUC(50, label_weights=[1, 1, 1])
    assert in_batches(together, y, p) == in_batches(metrics.AUC(50), y, p) != pytest.approx(np.mean(areas), rel=1e-6)
    weighted.update_state(y, p, weight)
    twin = metrics.get({"class_name": "AUC", "config": weighted.get_config()})
    twin.set_state(json.loads(json.dumps(weighted.get_state())))
    assert twin.result() == weighted.result()
    weighted.reset_state()
    assert weighted.result() == 0
    for config, message in ((dict(num_labels=2), "num_labels says 2 labels, y_pred has 3"),
                            (dict(label_weights=[1, 2]), "label_weights says 2 labels")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            metrics.AUC(multi_label=True, **config).update_state(y, p)
    with pytest.raises(ValueError, match="AUC: label_weights must be finite and not negative"):
        metrics.AUC(label_weights=[-1])


def test_several_thresholds_in_a_training(rng, tmp_path, capsys):
    """Lists in the history, the log file, the progress line, a backup and what evaluate returns."""
    x, y = rng.standard_normal((40, 6)), rng.integers(0, 2, (40, 1))

    def train(*more):
        model = Sequential([layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")], seed=1)
        model.compile("sgd", "binary_crossentropy", metrics=[metrics.Precision([0.4, 0.5, 0.6]), metrics.AUC(multi_label=True)])
        return model, model.fit(x, y, epochs=3, verbose=2, callbacks=list(more)).history

    logger = callbacks.CSVLogger(tmp_path / "log.csv")
    backup = callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1, delete_checkpoint=False)
    model, history = train(logger, backup)
    assert np.shape(history["precision"]) == (3, 3) and np.shape(history["auc"]) == (3,)
    scores = model.evaluate(x, y, verbose=0, return_dict=True)
    assert scores["precision"] == metrics.Precision([0.4, 0.5, 0.6])(y, model.predict(x, verbose=0))
    assert f'"{history["precision"][0]}"' in (tmp_path / "log.csv").read_text()
    assert re.search(r"precision: \[0\.\d{4}, ", capsys.readouterr().out)
    assert train(logger, backup)[1] == history  # which brings it back
    with pytest.raises(ValueError, match="EarlyStopping: 'precision' has a value for each threshold, and one is watched"):
        train(callbacks.EarlyStopping("precision"))
