"""Metrics against plain formulas and scikit-learn's definitions, in batches, with weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnnfast import metrics


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
    with pytest.raises(TypeError, match="Precision: thresholds must be one number"):
        metrics.Precision([0.2, 0.5])


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
