"""scikit-learn's own checks, all of them, on a network that predicts well by construction and on
the shipped tiny."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from openpfn import PFNClassifier
from tests.estimators.conftest import KernelNetwork


@parametrize_with_checks(
    [PFNClassifier(model=KernelNetwork()), PFNClassifier("tiny", n_estimators=1)]
)
def test_scikit_learn_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SCIPY_ARRAY_API", "1"
    )  # without it scikit-learn leaves its array API check out
    check(estimator)
