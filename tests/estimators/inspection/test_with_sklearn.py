"""scikit-learn's own tools of inspection work on both estimators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from sklearn.inspection import PartialDependenceDisplay, permutation_importance

from openpfn import PFNClassifier, PFNRegressor
from tests.estimators.conftest import KernelNetwork, KernelRegression

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(RANDOM.normal(size=(40, 3)), columns=["a", "b", "c"])
CLASSIFIER = PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(X, X["b"] > 0)
REGRESSOR = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(X, 3 * X["b"])


@pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR], ids=["classes", "numbers"])
def test_partial_dependence_is_drawn(estimator):
    display = PartialDependenceDisplay.from_estimator(
        estimator, X[:10], ["b", "a", ("a", "b")], grid_resolution=5
    )
    along = display.pd_results[0]["average"][0]
    assert along[-1] > along[0] + 0.2  # the target grows with b
    pyplot.close("all")


def test_words_have_a_partial_dependence():
    table = X.assign(kind=np.where(X["b"] > 0, "high", "low"))
    regressor = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(table, X["b"])
    display = PartialDependenceDisplay.from_estimator(
        regressor, table[:10], ["kind"], categorical_features=["kind"]
    )
    assert len(display.pd_results[0]["average"][0]) == 2
    pyplot.close("all")


def test_the_column_that_counts_is_found_by_shuffling():
    for estimator, y in ((CLASSIFIER, X["b"] > 0), (REGRESSOR, 3 * X["b"])):
        found = permutation_importance(estimator, X, y, n_repeats=3, random_state=0)
        assert found.importances_mean.argmax() == 1
