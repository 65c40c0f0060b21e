"""Shapley values: exact where all sets are asked, close where some are, in shap's interface."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNExplainer, PFNRegressor
from openpfn.estimators.inspection import explainer as module
from openpfn.estimators.inspection.coalitions import (
    all_coalitions,
    drawn_coalitions,
    exact_values,
    regressed_values,
)
from openpfn.estimators.inspection.explainer import Explanation
from tests.estimators.conftest import KernelNetwork, KernelRegression

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _no_shap(monkeypatch):
    """What is returned must not depend on what is installed where the tests run."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)


def values_of(explanation: Any) -> np.ndarray:
    return explanation.values  # noqa: PD011 (an array, not a table)


def by_permutations(worth, n_players: int) -> np.ndarray:
    """Shapley values by their definition: the mean over all orders of what each player adds."""
    values = np.zeros(n_players)
    orders = list(permutations(range(n_players)))
    for order in orders:
        inside: set[int] = set()
        for player in order:
            before = worth(frozenset(inside))
            inside.add(player)
            values[player] += worth(frozenset(inside)) - before
    return values / len(orders)


def test_exact_values_are_the_means_over_all_orders():
    drawn = {}

    def worth(inside: frozenset[int]) -> float:
        return drawn.setdefault(inside, float(RANDOM.normal()))

    expected = by_permutations(worth, 5)
    masks = all_coalitions(5)
    worths = np.array([[worth(frozenset(np.flatnonzero(mask).tolist()))] for mask in masks])
    assert_allclose(exact_values(masks, worths)[:, 0], expected, atol=1e-12)


def game(masks: np.ndarray) -> np.ndarray:
    """A smooth game of many players with pairs and triples that interact."""
    weights = np.random.default_rng(1).normal(size=masks.shape[1])
    score = masks @ weights + 0.5 * (masks[:, 0] & masks[:, 1]) - 0.5 * masks[:, 2:5].all(axis=1)
    return (1 / (1 + np.exp(-score)))[:, None]


@pytest.mark.parametrize("n_players", [7, 12])
def test_a_regression_on_all_sets_gives_the_exact_values(n_players):
    masks = all_coalitions(n_players)[1:-1]
    drawn, weights = drawn_coalitions(n_players, 2**n_players, np.random.default_rng(0))
    assert len(drawn) == len(masks) == len({mask.tobytes() for mask in drawn})
    ends = game(np.array([[False] * n_players, [True] * n_players]))
    found = regressed_values(drawn, weights, game(drawn), *ends)
    assert_allclose(found, exact_values(all_coalitions(n_players), game(all_coalitions(n_players))))


@pytest.mark.parametrize("n_players", [10, 13])
def test_values_from_drawn_sets_are_close_and_add_up(n_players):
    masks = all_coalitions(n_players)
    exact = exact_values(masks, game(masks))
    ends = game(np.array([[False] * n_players, [True] * n_players]))
    for seed in range(3):
        drawn, weights = drawn_coalitions(n_players, 510, np.random.default_rng(seed))
        assert 400 < len(drawn) <= 511
        assert_allclose(weights.sum(), 1)
        found = regressed_values(drawn, weights, game(drawn), *ends)
        assert np.abs(found - exact).max() < 0.01
        assert_allclose(found.sum(), (ends[1] - ends[0]).sum())


def test_a_classifier_is_explained_by_its_answers_to_rows_with_missing_cells(kernel):
    X = RANDOM.normal(size=(40, 4))
    classifier = PFNClassifier(model=kernel, n_estimators=2).fit(
        X, (X[:, 0] > 0) + 1 * (X[:, 1] > 1)
    )
    row = X[0]

    def worth(inside: frozenset[int]) -> np.ndarray:
        shown = np.where(np.isin(np.arange(4), list(inside)), row, np.nan)
        return classifier.predict_proba(shown[None])[0, 1]

    explanation = PFNExplainer(classifier)(X[:3])
    assert explanation.shape == (3, 4, 3)
    assert_allclose(values_of(explanation)[0, :, 1], by_permutations(worth, 4), atol=1e-9)
    total = explanation.base_values + values_of(explanation).sum(axis=1)
    assert_allclose(total, classifier.predict_proba(X[:3]), atol=1e-9)
    assert_allclose(explanation.base_values[0], PFNExplainer(classifier).expected_value)
    assert explanation.output_names == ["0", "1", "2"]


def test_a_regressor_is_explained_in_the_units_of_its_target():
    X = pd.DataFrame(RANDOM.normal(size=(40, 3)), columns=["a", "b", "c"])
    X["word"] = np.where(X["a"] > 0, "up", "down")
    X["flag"] = X["b"] > 0
    X["place"] = pd.Categorical(np.where(X["c"] > 0, "here", "there"))
    y = 1000 * X["a"] + X["b"]
    regressor = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(X, y)
    explanation = PFNExplainer(regressor)(X[:2])
    assert explanation.feature_names == ["a", "b", "c", "word", "flag", "place"]
    total = explanation.base_values + values_of(explanation).sum(axis=1)
    assert_allclose(total, regressor.predict(X[:2]), rtol=1e-6)
    assert np.abs(values_of(explanation)).max() > 100


def test_a_missing_cell_has_the_value_0_and_a_row_of_them_the_base_value(kernel):
    X = RANDOM.normal(size=(30, 3))
    classifier = PFNClassifier(model=kernel).fit(X, X[:, 0] > 0)
    rows = np.array([[1.0, np.nan, 0.5], [np.nan] * 3])
    explanation = PFNExplainer(classifier)(rows)
    assert (values_of(explanation)[0, 1] == 0).all()
    assert (values_of(explanation)[1] == 0).all()
    assert_allclose(explanation.base_values[1], classifier.predict_proba(rows[1:])[0])


def test_cells_come_from_a_background_where_one_is_given(kernel):
    X = RANDOM.normal(size=(30, 3))
    classifier = PFNClassifier(model=kernel, n_estimators=1).fit(X, X[:, 0] > 0)
    explainer = PFNExplainer(classifier, X[:8])

    def worth(inside: frozenset[int]) -> float:
        known = np.isin(np.arange(3), list(inside))
        return classifier.predict_proba(np.where(known, X[20], X[:8]))[:, 1].mean()

    values = explainer.shap_values(X[20:22])
    assert_allclose(values[0, :, 1], by_permutations(worth, 3), atol=1e-9)
    assert_allclose(explainer.expected_value, classifier.predict_proba(X[:8]).mean(axis=0))


def test_many_columns_are_explained_by_some_sets_the_same_each_time(kernel):
    X = RANDOM.normal(size=(30, 20))
    classifier = PFNClassifier(model=kernel, n_estimators=1).fit(X, X[:, 3] > 0)
    explainer = PFNExplainer(classifier, n_coalitions=128)
    values = explainer.shap_values(X[:2])
    assert np.array_equal(values[:1], explainer.shap_values(X[:1]))
    total = explainer(X[:2]).base_values + values.sum(axis=1)
    assert_allclose(total, classifier.predict_proba(X[:2]), atol=1e-9)


def test_an_explanation_is_indexed_like_that_of_shap():
    whole = Explanation(
        np.arange(24.0).reshape(2, 3, 4),
        np.ones((2, 4)),
        np.zeros((2, 3)),
        list("abc"),
        list("wxyz"),
    )
    assert len(whole) == 2
    assert whole[:, :, 1].shape == (2, 3)
    assert whole[0].base_values.shape == (4,)
    assert whole[:, np.array(list("abc")) == "b"].feature_names == ["b"]
    assert values_of(whole[0, :, 2]).tolist() == [2.0, 6.0, 10.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model is a int, must be a fitted classifier"),
        ({"n_coalitions": 2}, "n_coalitions is 2, must be a whole number of at least 4"),
        ({"background": np.empty((0, 3))}, "background has no rows"),
    ],
)
def test_what_cannot_be_explained_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PFNExplainer(arguments.pop("model", len), **arguments)


def test_too_few_sets_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="20 columns need at least 42"):
        PFNExplainer(lambda X: X[:, 0], n_coalitions=30).shap_values(np.ones((1, 20)))
    with pytest.raises(ValueError, match="X has 1 axes, must have rows and columns"):
        PFNExplainer(lambda X: X[:, 0]).shap_values(np.ones(3))
    with pytest.raises(ValueError, match="X has no rows"):
        PFNExplainer(lambda X: X[:, 0]).shap_values(np.empty((0, 3)))
    with pytest.raises(ValueError, match="background has 2 columns and X has 3"):
        PFNExplainer(lambda X: X[:, 0], np.ones((1, 2))).shap_values(np.ones((1, 3)))


def test_the_kernel_network_counts_one_call_per_row():
    network = KernelNetwork()
    X = RANDOM.normal(size=(30, 5))
    classifier = PFNClassifier(model=network, n_estimators=1).fit(X, X[:, 0] > 0)
    network.n_read.clear()
    PFNExplainer(classifier).shap_values(X[:2])
    assert network.n_read == [(1, 32, 5)] * 2  # 2⁵ sets of columns of one row in one pass
