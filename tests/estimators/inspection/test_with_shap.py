"""shap's own explainers and ours agree, and shap's plots take what ours return."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNExplainer, PFNRegressor
from openpfn.estimators.inspection.explainer import MissingCells
from tests.estimators.conftest import KernelNetwork, KernelRegression

pytestmark = pytest.mark.extras
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("as_frame", [False, True])
def test_exact_values_are_those_of_shap(as_frame):
    shap: Any = importlib.import_module("shap")
    X = RANDOM.normal(size=(40, 5))
    y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
    rows: Any = pd.DataFrame(X, columns=list("abcde")) if as_frame else X
    classifier = PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(rows, y)
    columns = rows.columns if as_frame else 5
    theirs = shap.explainers.Exact(classifier.predict_proba, MissingCells(columns))(rows[:3])
    ours = PFNExplainer(classifier)(rows[:3])
    assert isinstance(ours, shap.Explanation)
    assert_allclose(ours.values, theirs.values, atol=1e-6)
    assert_allclose(ours.base_values, theirs.base_values, atol=1e-6)
    assert list(ours.feature_names) == (list("abcde") if as_frame else list("01234"))


def test_values_of_drawn_sets_are_close_to_those_of_all():
    X = RANDOM.normal(size=(60, 10))
    y = X[:, 0] + X[:, 1] * X[:, 2] + X[:, 3:].sum(axis=1) / 5
    regressor = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(X, y)
    drawn = PFNExplainer(regressor, n_coalitions=512).shap_values(X[:1])
    exact = PFNExplainer(regressor, n_coalitions=2**10).shap_values(X[:1])
    assert np.abs(drawn - exact).max() < 0.05 * np.abs(y).max()


def test_the_plots_of_shap_take_our_explanation():
    shap: Any = importlib.import_module("shap")
    X = pd.DataFrame(RANDOM.normal(size=(30, 3)), columns=["a", "b", "c"])
    regressor = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(X, X["a"])
    explanation = PFNExplainer(regressor)(X[:6])
    shap.plots.bar(explanation, show=False)
    shap.plots.waterfall(explanation[0], show=False)
    pyplot.close("all")
