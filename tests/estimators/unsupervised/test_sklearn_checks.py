"""scikit-learn's own checks of imputer and outlier detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from openpfn import PFNClassifier, PFNImputer, PFNOutlierDetector
from tests.estimators.conftest import KernelBoth


@pytest.mark.slow
@parametrize_with_checks(
    [
        PFNImputer(model=KernelBoth(), n_estimators=1),
        PFNOutlierDetector(model=KernelBoth(), n_orders=1),
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SCIPY_ARRAY_API", "1"
    )  # without it scikit-learn leaves its array API check out
    check(estimator)


def test_an_imputer_works_in_a_pipeline():
    X = np.random.default_rng(0).normal(size=(30, 2))
    X[::5, 0] = np.nan
    model = KernelBoth()
    pipeline = make_pipeline(PFNImputer(model=model), PFNClassifier(model=model))
    assert pipeline.fit(X, X[:, 1] > 0).score(X, X[:, 1] > 0) > 0.8
