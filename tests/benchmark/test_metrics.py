"""Metrics against closed forms and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn import metrics as oracle

from openpfn.benchmark import metrics


@pytest.fixture
def answers():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 200)
    p = softmax(random.normal(size=(200, 3)) + 1.2 * np.eye(3)[y], axis=1)
    return y, p


def test_metrics_agree_with_scikit_learn(answers):
    y, p = answers
    ours = metrics.classification_metrics(y, p)
    assert ours["roc_auc"] == pytest.approx(oracle.roc_auc_score(y, p, multi_class="ovr"))
    assert ours["accuracy"] == pytest.approx(oracle.accuracy_score(y, p.argmax(1)))
    assert ours["balanced_accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(y, p.argmax(1))
    )
    assert ours["log_loss"] == pytest.approx(oracle.log_loss(y, p))
    assert ours["brier"] == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(1).mean())


def test_the_auc_of_two_classes_is_the_ordinary_one():
    random = np.random.default_rng(1)
    y, score = random.integers(0, 2, 60), random.integers(0, 5, 60) / 5  # with ties
    assert metrics.roc_auc(y, np.stack([1 - score, score], 1)) == pytest.approx(
        oracle.roc_auc_score(y, score)
    )


def test_a_class_without_query_rows_does_not_count_in_the_auc(answers):
    y, p = answers
    two = y < 2
    by_hand = np.mean([oracle.roc_auc_score(y[two] == c, p[two, c]) for c in (0, 1)])
    assert metrics.roc_auc(y[two], p[two]) == pytest.approx(by_hand)
    assert np.isnan(metrics.roc_auc(np.zeros(5, dtype=int), p[:5]))


def test_a_certain_mistake_costs_a_bounded_log_loss():
    assert metrics.classification_metrics(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))[
        "log_loss"
    ] == pytest.approx(-np.log(1e-7) / 2)


def test_a_constant_confidence_is_off_by_its_distance_to_the_accuracy():
    right = np.arange(100) < 60
    assert metrics.calibration_error(np.full(100, 0.7), right) == pytest.approx(0.1)


def test_calibration_does_not_depend_on_the_order_of_rows():
    random = np.random.default_rng(2)
    confidence, right = random.integers(5, 11, 300) / 10, random.random(300) < 0.5  # many ties
    shuffled = random.permutation(300)
    assert metrics.calibration_error(confidence, right) == pytest.approx(
        metrics.calibration_error(confidence[shuffled], right[shuffled])
    )


def test_distinct_confidences_fill_fifteen_bins_of_equal_mass():
    bins = metrics.calibration_bins(np.linspace(0.5, 1, 150), np.ones(150, dtype=bool))
    assert bins[:, 2].tolist() == [10] * metrics.N_BINS
    assert (np.diff(bins[:, 0]) > 0).all()


def test_crps_of_normal_quantiles_is_the_closed_form():
    levels = np.arange(0.5, 1000) / 1000
    y = np.array([-1.0, 0.0, 2.0])
    quantiles = np.tile(norm.ppf(levels), (3, 1))
    closed = (
        y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
    )  # Gneiting and Raftery 2007, eq. 21
    assert metrics.crps_of_quantiles(y, levels, quantiles) == pytest.approx(closed.mean(), abs=2e-3)


def test_the_crps_of_a_point_is_its_absolute_error():
    y, prediction = np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 3.0])
    levels = np.array([0.25, 0.75])
    found = metrics.regression_metrics(y, prediction, levels, None)
    assert found["crps"] == found["mae"] == pytest.approx(1.0)
    assert metrics.crps_of_quantiles(y, levels, np.stack([prediction] * 2, 1)) == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(oracle.r2_score(y, prediction))
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(y, prediction))
    assert np.isnan([found["coverage"], found["width"]]).all()  # a point has no interval


def test_intervals_of_the_true_distribution_cover_what_they_say():
    y = np.random.default_rng(0).normal(size=4000)
    levels = np.arange(0.5, 100) / 100
    quantiles = np.tile(norm.ppf(levels), (len(y), 1))
    found = metrics.regression_metrics(y, np.zeros(len(y)), levels, quantiles)
    assert found["coverage"] == pytest.approx(0.9, abs=0.015)
    assert found["width"] == pytest.approx(2 * norm.ppf(0.95), abs=0.01)
    bins = metrics.coverage_bins(y, levels, quantiles)
    np.testing.assert_allclose(bins[:, 0], bins[:, 1], atol=0.025)
    assert (bins[:, 2] == 4000).all()
    narrow = metrics.regression_metrics(y, np.zeros(len(y)), levels, quantiles / 2)
    assert narrow["coverage"] < 0.65
    assert narrow["crps"] > found["crps"]


def test_the_auc_of_labels_is_scikit_learns_where_all_classes_occur():
    random = np.random.default_rng(0)
    y, p = np.arange(60) % 3, random.dirichlet(np.ones(3), 60)
    assert metrics.one_vs_rest_auc(y, p, [0, 1, 2]) == pytest.approx(
        oracle.roc_auc_score(y, p, multi_class="ovr")
    )
    assert metrics.one_vs_rest_auc(y > 0, p[:, :2], [False, True]) == pytest.approx(
        (oracle.roc_auc_score(y == 0, p[:, 0]) + oracle.roc_auc_score(y > 0, p[:, 1])) / 2
    )


def test_labels_without_rows_are_left_out_of_the_auc():
    assert (
        metrics.one_vs_rest_auc(
            ["a", "b"], np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), ["a", "b", "c"]
        )
        == 1
    )
    assert np.isnan(metrics.one_vs_rest_auc(["a", "a"], np.ones((2, 1)), ["a"]))


def test_scores_of_numbers_are_those_of_the_formulas():
    levels = (np.arange(99) + 0.5) / 99
    y, mean = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0, 5.0])
    certain = np.repeat(mean[:, None], len(levels), axis=1)
    scores = metrics.regression_metrics(y, mean, levels, certain)
    assert scores["rmse"] == pytest.approx(1)
    assert scores["r2"] == pytest.approx(1 - 4 / 5)
    assert scores["crps"] == pytest.approx(0.5, rel=0.02)  # the mean distance of a certain answer
    assert scores["coverage"] == 0.75
