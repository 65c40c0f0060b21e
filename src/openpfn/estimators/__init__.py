"""scikit-learn estimators: prior-fitted networks that predict on real tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openpfn.estimators.classifier import PFNClassifier
    from openpfn.estimators.regressor import PFNRegressor

__all__ = ["PFNClassifier", "PFNRegressor"]


def __getattr__(name: str) -> Any:
    """Load an estimator when it is first asked for: distilled ones must load no torch."""
    if name == "PFNClassifier":
        from openpfn.estimators.classifier import PFNClassifier

        return PFNClassifier
    if name == "PFNRegressor":
        from openpfn.estimators.regressor import PFNRegressor

        return PFNRegressor
    raise AttributeError(f"module 'openpfn.estimators' has no attribute {name!r}")
