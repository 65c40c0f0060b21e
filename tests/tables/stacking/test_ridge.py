"""Ridge regression by inner products: answers from other folds, penalty, and weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from openpfn.tables.stacking import ridge
from openpfn.tables.stacking.partings import partings
from openpfn.tables.stacking.ridge import PENALTIES, Linear, Quadratic, solve

RANDOM = np.random.default_rng(0)
N = 60
X = RANDOM.normal(size=(N, 6))
TARGETS = X @ RANDOM.normal(size=(6, 2)) + 0.5 * RANDOM.normal(size=(N, 2))


@pytest.fixture
def one_penalty(monkeypatch):
    monkeypatch.setattr(ridge, "PENALTIES", np.array([0.5]))
    return 0.5


def test_answers_out_of_fold_are_those_of_ridges_that_never_saw_the_fold(one_penalty):
    gram = (1 + X @ X.T / 6) ** 2
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True) + gram.mean()
    centred /= np.trace(centred) / N
    centred += 1 / N
    mean = TARGETS.mean(axis=0)
    wanted = np.zeros((N, 2))
    parted = partings(TARGETS)
    for parting in parted:
        for rows in parting:
            others = np.setdiff1d(np.arange(N), rows)
            among = centred[np.ix_(others, others)] + one_penalty * np.eye(len(others))
            dual = np.linalg.solve(among, TARGETS[others] - mean)
            wanted[rows] += mean + centred[np.ix_(rows, others)] @ dual
    assert_allclose(solve(gram, TARGETS).out_of_fold, wanted / len(parted), atol=1e-9)


def test_the_penalty_is_the_one_with_the_least_error_for_left_out_rows():
    x = X - X.mean(axis=0)
    unit = (x**2).sum() / N
    with_one = np.concatenate([x, np.full((N, 1), np.sqrt(unit / N))], axis=1)

    def error(penalty: float) -> float:
        errors = []
        for i in range(N):
            others = np.arange(N) != i
            model = Ridge(penalty * unit, fit_intercept=False)
            model.fit(with_one[others], (TARGETS - TARGETS.mean(axis=0))[others])
            errors.append(model.predict(with_one[i : i + 1]) + TARGETS.mean(axis=0) - TARGETS[i])
        return float(np.mean(np.square(errors)))

    best = min(PENALTIES, key=error)
    wanted = Ridge(best * unit).fit(x, TARGETS)
    found = Linear.of(X, solve(X @ X.T, TARGETS))
    assert_allclose(found.weights, wanted.coef_.T, atol=1e-5)
    assert_allclose(found(X), wanted.predict(x), atol=1e-5)


def test_sparse_features_get_the_weights_of_dense_ones():
    dense = X * (X > 0.3)
    solved = solve(dense @ dense.T, TARGETS)
    assert_allclose(
        Linear.of(csr_array(dense), solved)(csr_array(dense)), Linear.of(dense, solved)(dense)
    )


def test_products_answer_as_the_kernel_does(one_penalty):
    width = Quadratic.width(X)
    gram = Quadratic.gram(X, width)
    solved = solve(gram, TARGETS)
    by_kernel = gram @ solved.dual
    by_kernel += TARGETS.mean(axis=0) - by_kernel.mean(axis=0)
    assert_allclose(Quadratic.of(X, width, solved)(X), by_kernel, atol=1e-4)


@pytest.mark.parametrize("n", [10, 25, 500])
def test_scores_of_noise_tell_nothing_of_their_own_targets(n):
    random = np.random.default_rng(n)
    found = []
    for _ in range(max(4, 400 // n)):
        x, y = random.normal(size=(n, 4)), random.normal(size=(n, 1))
        own = solve(x @ x.T, y).out_of_fold
        assert np.isfinite(own).all()
        found.append(np.mean((own - y.mean()) * (y - y.mean())) / y.var())
    assert abs(np.mean(found)) < 0.25


def test_folds_part_the_rows_and_have_equal_means():
    y = (RANDOM.random((103, 1)) < 0.2).astype(float)
    for parting in partings(y):
        assert sorted(np.concatenate(parting)) == list(range(103))
        sums = [y[rows].sum() for rows in parting]
        assert max(sums) - min(sums) <= 2
