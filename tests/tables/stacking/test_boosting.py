"""Boosted trees: left-out rows, exactness whatever the order of rows' sums, and structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn.tables.stacking import boosting
from openpfn.tables.stacking.boosting import RATE, RIDGE, BoostedTrees
from openpfn.tables.stacking.partings import partings

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 5))
Y = np.stack([X[:, 0] * X[:, 1], np.where(X[:, 2] > 0, X[:, 3], 0)], axis=1)
EVEN = np.ones(5)


def folds(targets):
    return [rows for parting in partings(targets) for rows in parting]


def test_targets_of_a_fold_do_not_reach_what_is_said_of_it(monkeypatch):
    rows = folds(Y)[3]
    parted = partings(Y)
    monkeypatch.setattr(boosting, "partings", lambda _: parted)
    other = Y.copy()
    other[rows] += 0.5  # of one fold, whose model must not notice
    models = [BoostedTrees.fit(X, EVEN, targets)[0] for targets in (Y, other)]
    n = min(len(one.column) for one in models)
    assert n > 5
    first, second = (
        replace(one, base=one.base[3:4], **{k: v[:n, 3:4] for k, v in parts(one)}) for one in models
    )
    assert np.array_equal(first(X), second(X))


def parts(one):
    return {"column": one.column, "threshold": one.threshold, "step": one.step}.items()


def test_left_out_rows_are_told_what_their_models_say():
    fitted, own = BoostedTrees.fit(X, EVEN, Y)
    wanted = np.zeros_like(Y)
    for model, rows in enumerate(folds(Y)):
        alone = replace(
            fitted,
            base=fitted.base[[model]],
            **{k: v[:, [model]] for k, v in parts(fitted)},
        )
        wanted[rows] += alone(X[rows]) / 2
    assert_allclose(own, wanted, atol=1e-5)


def test_a_step_is_the_shrunken_mean_of_the_residuals_of_its_leaf(monkeypatch):
    monkeypatch.setattr(boosting, "ROWS_SHARE", 1.0)
    fitted, _ = BoostedTrees.fit(X, EVEN, Y)
    for model, rows in enumerate(folds(Y)):
        seen = np.setdiff1d(np.arange(len(X)), rows)
        assert_allclose(fitted.base[model], Y[seen].mean(axis=0))
        is_yes = X[seen][:, fitted.column[0, model]] > fitted.threshold[0, model]
        leaf = is_yes @ (1 << np.arange(is_yes.shape[1]))
        for one in np.unique(leaf):
            residual = Y[seen][leaf == one] - fitted.base[model]
            wanted = RATE * residual.sum(axis=0) / (len(residual) + RIDGE)
            assert_allclose(fitted.step[0, model, one], wanted, atol=1e-6)


def test_the_first_question_is_the_best_of_the_candidates(monkeypatch):
    monkeypatch.setattr(boosting, "ROWS_SHARE", 1.0)
    steps = np.where(X[:, 4] > 0.2, 1.0, 0.0)[:, None]
    fitted, _ = BoostedTrees.fit(X, EVEN, steps)
    assert (fitted.column[0, :, 0] == 4).all()
    assert np.abs(fitted.threshold[0, :, 0] - 0.2).max() < 0.5


def test_sums_in_another_order_grow_the_same_trees(monkeypatch):
    fitted, own = BoostedTrees.fit(X, EVEN, Y)
    product = np.matmul

    class Backwards(np.ndarray):
        def __matmul__(self, other):
            return product(np.asarray(self)[:, ::-1], np.asarray(other)[::-1])

    answered = boosting._Growing.add_tree

    def add_tree(self, answers, depth, sampled):
        return answered(self, answers.view(Backwards), depth, sampled)

    monkeypatch.setattr(boosting._Growing, "add_tree", add_tree)
    again, own_again = BoostedTrees.fit(X, EVEN, Y)
    assert np.array_equal(fitted.threshold, again.threshold)
    assert np.array_equal(own, own_again)


def test_products_and_branches_are_learnt():
    n = 600
    x = RANDOM.normal(size=(n, 5))
    y = np.stack([np.sign(x[:, 0] * x[:, 1]), np.where(x[:, 2] > 0, x[:, 3], 0)], axis=1)
    fitted, own = BoostedTrees.fit(x[:400], EVEN, y[:400])
    for said, wanted in ((own, y[:400]), (fitted(x[400:]), y[400:])):
        error = ((said - wanted) ** 2).mean(axis=0) / wanted.var(axis=0)
        assert (error < [0.5, 0.3]).all()


@pytest.mark.parametrize("n", [25, 200])
def test_noise_tells_nothing_of_its_own_targets(n):
    found = []
    for _ in range(1000 // n):
        x, y = RANDOM.normal(size=(n, 3)), RANDOM.normal(size=(n, 1))
        _, own = BoostedTrees.fit(x, EVEN[:3], y)
        found.append(np.mean((own - y.mean()) * (y - y.mean())) / y.var())
    assert abs(np.mean(found)) < 0.1


@pytest.mark.parametrize("y", [np.full((12, 1), 3.0), np.arange(12.0)[:, None] * 1e9])
def test_constant_columns_and_odd_targets(y):
    fitted, own = BoostedTrees.fit(np.zeros((12, 2)), np.ones(2), y)
    assert len(fitted.column) == 0
    assert_allclose(own.mean(), y.mean(), rtol=0.02)
    assert_allclose(fitted(np.ones((3, 2))), y.mean(), rtol=0.01)
    fitted, own = BoostedTrees.fit(np.arange(24.0).reshape(12, 2), np.ones(2), y)
    assert np.isfinite(own).all()
    assert np.isfinite(fitted(np.full((3, 2), 1e9))).all()
