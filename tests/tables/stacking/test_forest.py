"""The forest: scikit-learn's answers from plain arrays, and rows out of bag."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import ExtraTreesRegressor

from openpfn.tables.stacking.forest import FEATURES_SHARE, FEWEST_IN_LEAF, N_TREES, Forest

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(150, 4))
Y = np.stack([X[:, 0] * X[:, 1], (X[:, 2] > 0).astype(float)], axis=1)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("kind", ["numbers", "levels"])
def test_answers_are_those_of_scikit_learn(n_targets, kind):
    x = X if kind == "numbers" else np.round(X)
    y = Y[:, :n_targets]
    fitted, own = Forest.fit(x, y)
    wanted = ExtraTreesRegressor(
        N_TREES,
        min_samples_leaf=FEWEST_IN_LEAF,
        max_features=FEATURES_SHARE,
        bootstrap=True,
        oob_score=True,
        random_state=0,
    ).fit(x, y if n_targets > 1 else y[:, 0])
    rows = np.concatenate([x, np.round(RANDOM.normal(size=(200, 4)), 1)])
    assert_allclose(fitted(rows), wanted.predict(rows).reshape(-1, n_targets), atol=1e-6)
    assert_allclose(own, wanted.oob_prediction_.reshape(-1, n_targets))
    assert np.array_equal(Forest.from_arrays(fitted.arrays())(rows), fitted(rows))


def test_rows_out_of_bag_are_told_no_target_of_their_own():
    y = RANDOM.normal(size=(150, 1))
    fitted, own = Forest.fit(X, y)
    assert np.corrcoef(fitted(X)[:, 0], y[:, 0])[0, 1] > 0.5
    assert abs(np.corrcoef(own[:, 0], y[:, 0])[0, 1]) < 0.25


def test_no_leaf_holds_one_target():
    y = RANDOM.normal(size=(150, 1))
    fitted, _ = Forest.fit(X, y)
    assert not np.isin(np.round(fitted.means, 6), np.round(y, 6).astype(np.float32)).any()


def test_no_features_and_no_rows():
    fitted, own = Forest.fit(np.empty((12, 0)), np.arange(12.0)[:, None])
    assert own.shape == (12, 1)
    assert fitted(np.empty((3, 0))).shape == (3, 1)
    assert Forest.fit(X, Y)[0](X[:0]).shape == (0, 2)
