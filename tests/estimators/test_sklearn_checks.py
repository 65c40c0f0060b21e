"""scikit-learn's own checks, all of them, on a network that predicts well and on one of the real architecture."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from openpfn import PFNClassifier
from tests.estimators.conftest import KernelNetwork


@parametrize_with_checks([PFNClassifier(model=KernelNetwork())])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)
