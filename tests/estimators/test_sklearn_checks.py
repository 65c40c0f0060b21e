"""scikit-learn's own checks, all of them, on networks that predict well by construction and on
shipped ones."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import Tensor

from openpfn import (
    DistilledClassifier,
    DistilledRegressor,
    FineTuneOptions,
    PFNClassifier,
    PFNRegressor,
)
from openpfn.estimators.network import find_network
from tests.estimators.conftest import KernelNetwork, KernelRegression

FEW_STEPS = FineTuneOptions(n_steps=2, evaluate_every=2, n_folds=2, learning_rate=1e-3)


class Unrecorded(KernelRegression):
    """A network that no reading changes, as scikit-learn asks of parameters."""

    def read(self, x: Tensor, state: Any) -> Tensor:
        answer = super().read(x, state)
        self.n_read.clear()
        return answer


def regressors_of_shipped_networks() -> list[PFNRegressor]:
    """Regressors of the default checkpoint, where that predicts numbers."""
    default = find_network("auto", None, "cpu")
    if not default.predicts("numbers"):
        return []
    return [PFNRegressor(n_estimators=1, fine_tune=told) for told in (False, FEW_STEPS)]


@pytest.mark.slow
@parametrize_with_checks(
    [
        PFNClassifier(model=KernelNetwork()),
        PFNClassifier("tiny", n_estimators=1),
        PFNRegressor(model=KernelRegression()),
        *regressors_of_shipped_networks(),
        PFNClassifier("tiny", n_estimators=1, fine_tune=FEW_STEPS),
        *(
            DistilledClassifier(PFNClassifier("tiny", n_estimators=1), kind=kind, n_rows=500)
            for kind in ("trees", "mlp")
        ),
        DistilledRegressor(PFNRegressor(model=Unrecorded(), n_estimators=1), n_rows=1000),
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SCIPY_ARRAY_API", "1"
    )  # without it scikit-learn leaves its array API check out
    check(estimator)
