"""Laws of more classes than a network tells apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier
from openpfn.estimators.limits.classes import STRATEGIES, with_classes
from openpfn.estimators.views.ensemble import draw_members
from tests.estimators.conftest import KernelNetwork, random_network

KERNEL = KernelNetwork()


def table(n_classes: int, n_rows: int, seed: int = 0):
    """Rows around a point per class."""
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), random.integers(n_classes, size=n_rows - n_classes)])
    points = np.random.default_rng(n_classes).normal(size=(n_classes, 6))
    return points[y] + 0.1 * random.normal(size=(n_rows, 6)), y


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n_classes", [26, 100])
def test_many_classes_are_told_apart(strategy, n_classes):
    X, y = table(n_classes, 5 * n_classes)
    X_query, truth = table(n_classes, 2 * n_classes, seed=1)
    fitted = PFNClassifier(model=KERNEL, n_estimators=2, many_classes=strategy).fit(X, y)
    probabilities = fitted.predict_proba(X_query)
    assert probabilities.shape == (2 * n_classes, n_classes)
    assert_allclose(probabilities.sum(axis=1), 1)
    of_truth = probabilities[np.arange(len(truth)), truth]
    assert np.mean(probabilities.argmax(axis=1) == truth) > 0.9
    assert -np.log(of_truth).mean() < 0.5  # of chance it is 3.3 and more
    assert strategy in fitted.beyond_[0]


def test_probabilities_of_noise_are_about_how_often_classes_are():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 2)), random.permutation(np.arange(300) % 15)
    for strategy in STRATEGIES:
        fitted = PFNClassifier(
            model=random_network(), n_estimators=2, many_classes=strategy, random_state=0
        ).fit(X, y)
        answered = fitted.predict_proba(random.normal(size=(100, 2)))
        assert answered.max() < 0.7
        loss = -np.log(answered[np.arange(100), np.arange(100) % 15]).mean()
        assert loss < 1.5 * np.log(15)


@pytest.mark.parametrize("n_classes", [11, 26, 100, 101, 1003])
def test_a_tree_names_each_class_once(n_classes):
    present = np.ones(n_classes, dtype=bool)
    nodes = with_classes(draw_members(1, 10, 0), "hierarchy", present, 10, seed=0)
    codes = np.array([node.code for node in nodes])
    assert codes.max() <= 9
    paths = {tuple(code) for code in codes.T}
    assert len(paths) == n_classes
    assert sum(node.is_whole for node in nodes) == 1


def test_codes_part_all_classes():
    members = with_classes(draw_members(4, 10, 0), "codes", np.ones(26, dtype=bool), 10, seed=0)
    assert len({tuple(code) for code in np.array([member.code for member in members]).T}) == 26


def test_each_group_of_a_tree_has_rows_where_there_are_any():
    present = np.arange(40) < 8
    nodes = with_classes(draw_members(1, 10, 0), "hierarchy", present, 10, seed=0)
    assert all(any(present[c] for c, digit in enumerate(node.code) if digit >= 0) for node in nodes)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_row_alone_is_predicted_as_in_a_batch(strategy):
    X, y = table(14, 60)
    fitted = PFNClassifier(model=random_network(), n_estimators=1, many_classes=strategy).fit(X, y)
    together = fitted.predict_proba(X[:9])
    alone = np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(9)])
    assert_allclose(alone, together, atol=1e-5)


def test_names_and_order_of_rows_do_not_matter():
    X, y = table(14, 60)
    X_query, _ = table(14, 20, seed=1)
    model = random_network()
    plain = PFNClassifier(model=model, n_estimators=1).fit(X, y).predict_proba(X_query)
    order = np.random.default_rng(0).permutation(60)
    renamed = PFNClassifier(model=model, n_estimators=1).fit(X[order], 100 - y[order])
    assert np.array_equal(renamed.predict_proba(X_query)[:, ::-1], plain)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="many_classes is 'best', must be one of auto, hierarchy"):
        PFNClassifier(model=KERNEL, many_classes="best").fit([[0.0], [1.0]], [0, 1])


def test_what_reads_one_context_refuses_many_classes():
    X, y = table(14, 60)
    with pytest.raises(ValueError, match="y has 14 classes, more than the network tells apart"):
        PFNClassifier(model=random_network(), n_estimators=1).believer(X, y)
    with pytest.raises(ValueError, match="fine_tune is asked for, but y has 14 classes"):
        PFNClassifier(model=random_network(), n_estimators=1, fine_tune=True).fit(X, y)
