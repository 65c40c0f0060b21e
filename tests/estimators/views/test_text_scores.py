"""Scores of texts: ridge regression whose penalty is right, and that never sees a row's target."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

from openpfn.estimators.views import text_scores
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.text_scores import PENALTIES, TextScores

RANDOM = np.random.default_rng(0)
N = 60
FEATURES = csr_matrix(RANDOM.normal(size=(N, 90)) * (RANDOM.random((N, 90)) < 0.2))
y = (FEATURES @ RANDOM.normal(size=(90, 2))) + 0.3 * RANDOM.normal(size=(N, 2))


def left_out_error(penalty: float) -> float:
    """Mean squared error of ridges that were each fitted without one row."""
    rows, centred, errors = FEATURES.toarray(), y - y.mean(axis=0), []
    for i in range(N):
        others = np.arange(N) != i
        ridge = Ridge(penalty, fit_intercept=False).fit(rows[others], centred[others])
        errors.append((ridge.predict(rows[i : i + 1]) - centred[i]) ** 2)
    return float(np.mean(errors))


@pytest.mark.slow
def test_the_penalty_is_the_one_with_the_least_error_for_left_out_rows():
    best = min(PENALTIES, key=left_out_error)
    ridge = Ridge(best, fit_intercept=False).fit(FEATURES.toarray(), y - y.mean(axis=0))
    assert_allclose(TextScores.fit(FEATURES, y).weights, ridge.coef_.T, atol=1e-5)


def test_many_rows_get_nearly_the_same_scores(monkeypatch):
    exact = TextScores.fit(FEATURES, y)(FEATURES)
    monkeypatch.setattr(text_scores, "MOST_EXACT_ROWS", 40)
    near = TextScores.fit(FEATURES, y)(FEATURES)
    assert np.corrcoef(exact[:, 0], near[:, 0])[0, 1] > 0.97


def test_no_row_is_shown_its_own_target():
    before = TextScores.out_of_fold(FEATURES, y)
    for _, outside in folds(N):
        changed = np.where(outside[:, None], 1e3, y)
        after = TextScores.out_of_fold(FEATURES, changed)
        assert np.array_equal(after[outside], before[outside])
        assert not np.array_equal(after[~outside], before[~outside])


@pytest.mark.parametrize("n", [2, 3])
def test_few_rows_and_empty_texts_give_finite_scores(n):
    nothing = csr_matrix((n, 4))
    assert not TextScores.fit(nothing, y[:n])(nothing).any()
    assert np.isfinite(TextScores.out_of_fold(FEATURES[:n], y[:n])).all()
