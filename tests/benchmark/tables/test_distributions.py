"""Quantiles of peers: true to closed forms, honest about groups, and learnt from the context
alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from openpfn.benchmark.metrics import central_interval
from openpfn.benchmark.tables.distributions import (
    LOSS_LEVELS,
    ContextQuantiles,
    GaussianResiduals,
    LeafQuantiles,
    QuantileLoss,
    between,
)
from openpfn.benchmark.tables.gaussian_process import GaussianProcess, ask_process

LEVELS = [(i + 0.5) / 100 for i in range(100)]


def line(n, seed=0):
    """Rows on a line with standard normal noise."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 2))
    return X, 3 * X[:, 0] + random.normal(size=n)


def coverage(quantiles, y):
    low, high = central_interval(0.9, np.array(LEVELS), quantiles)
    return ((low <= y) & (y <= high)).mean()


@pytest.mark.parametrize("known", [LOSS_LEVELS, (0.1, 0.5, 0.9)])
def test_quantiles_between_those_of_a_normal_are_exact_and_so_are_its_tails(known):
    mean, std = np.array([[2.0], [-1.0]]), np.array([[3.0], [0.5]])
    found = between(mean + std * norm.ppf(known), known, LEVELS)
    np.testing.assert_allclose(found, mean + std * norm.ppf(LEVELS))


def test_quantiles_between_any_others_do_not_cross():
    random = np.random.default_rng(0)
    known = np.sort(random.exponential(size=(50, len(LOSS_LEVELS))) ** 3, axis=1)
    assert (np.diff(between(known, LOSS_LEVELS, LEVELS), axis=1) >= -1e-12).all()


def test_residuals_out_of_fold_know_the_noise():
    X, y = line(400)
    estimator = LinearRegression().fit(X, y)
    residuals = GaussianResiduals()
    residuals.fit(estimator, X, y, None, {})
    assert residuals.std == pytest.approx(1, abs=0.1)
    X_query, y_query = line(2000, 1)
    prediction, quantiles = residuals.answer(estimator, X_query, LEVELS)
    np.testing.assert_allclose(prediction, estimator.predict(X_query))
    assert coverage(quantiles, y_query) == pytest.approx(0.9, abs=0.03)


def test_a_method_that_learns_its_rows_by_heart_is_not_believed_to_know_others():
    X, y = line(200)
    nearest = KNeighborsRegressor(1).fit(X, y)  # no error on its own rows
    residuals = GaussianResiduals()
    residuals.fit(nearest, X, y, None, {})
    assert residuals.std > 1


def test_rows_of_one_group_do_not_tell_how_far_off_others_of_it_are():
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 5)
    X, y = random.normal(size=30)[group][:, None], random.normal(size=30)[group]
    nearest = KNeighborsRegressor(1).fit(X, y)
    stds = []
    for groups in (None, group):
        residuals = GaussianResiduals()
        residuals.fit(nearest, X, y, groups, {})
        stds.append(residuals.std)
    assert stds[0] < 0.2
    assert stds[1] > 0.8


def test_leaves_give_the_quantiles_of_the_rows_in_them():
    X, y = np.repeat([0.0, 1.0], 50)[:, None], np.arange(100.0)
    forest = RandomForestRegressor(5, max_leaf_nodes=2, random_state=0).fit(X, y)
    leaves = LeafQuantiles()
    leaves.fit(forest, X, y, None, {})
    _, quantiles = leaves.answer(forest, np.array([[0.0], [1.0]]), [0.02, 0.5, 0.99])
    assert quantiles.tolist() == [[0, 24, 49], [50, 74, 99]]


def test_the_floor_tells_the_quantiles_of_the_context():
    y = np.arange(101.0)
    floor = ContextQuantiles()
    floor.fit(None, None, y, None, {})
    estimator = LinearRegression().fit(np.zeros((101, 1)), y)
    _, quantiles = floor.answer(estimator, np.zeros((2, 1)), [0.05, 0.5])
    np.testing.assert_allclose(quantiles, [[5, 50]] * 2)


class Pinball(RegressorMixin, BaseEstimator):
    """The quantile of all targets at `alpha`; the mean where there is none."""

    def __init__(self, alpha=None, scale=1.0):
        self.alpha, self.scale = alpha, scale

    def fit(self, X, y):
        found = np.mean(y) if self.alpha is None else np.quantile(y, self.alpha, axis=0)
        self.answer_ = self.scale * found
        self.largest_ = np.abs(y).max()
        return self

    def predict(self, X):
        return np.tile(self.answer_, (len(X), 1))


@pytest.mark.parametrize("is_joint", [True, False])
def test_quantile_losses_come_back_in_units_of_the_target(is_joint):
    X, y = line(500)
    y = 1e6 + 1e3 * y
    estimator = Pinball().fit(X, y)

    def options(levels, given) -> dict[str, Any]:
        assert given["scale"] == 1.0
        return {"alpha": list(levels) if is_joint else levels[0]}

    loss = QuantileLoss(options, is_joint)
    loss.fit(estimator, X, y, None, {})
    assert all(one.largest_ < 10 for one in loss.fitted)  # they see standardised targets
    prediction, quantiles = loss.answer(estimator, X[:3], list(LOSS_LEVELS))
    np.testing.assert_allclose(quantiles, [np.quantile(y, LOSS_LEVELS)] * 3)
    np.testing.assert_allclose(prediction, y.mean())


def test_a_gaussian_process_is_calibrated_and_takes_so_many_rows_only():
    X, y = line(120)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scale at its bound: a line needs no smooth function
        process = GaussianProcess(most_rows=100).fit(X, y)
    assert len(process.process_.X_train_) == 100
    X_query, y_query = line(500, 1)
    mean, quantiles = ask_process(process, X_query, LEVELS)
    assert np.sqrt(((mean - y_query) ** 2).mean()) < 1.2
    assert coverage(quantiles, y_query) == pytest.approx(0.9, abs=0.06)
