"""scikit-learn estimators: prior-fitted networks that predict on real tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openpfn.estimators.classifier import PFNClassifier
    from openpfn.estimators.regressor import PFNRegressor

__all__ = ["PFNClassifier", "PFNRegressor"]
_HOME = {"PFNClassifier": "classifier", "PFNRegressor": "regressor"}


def __getattr__(name: str) -> Any:
    """Load an estimator when it is first asked for: those that were distilled load no torch."""
    if name in _HOME:
        return getattr(importlib.import_module(f"openpfn.estimators.{_HOME[name]}"), name)
    raise AttributeError(f"module 'openpfn.estimators' has no attribute {name!r}")
