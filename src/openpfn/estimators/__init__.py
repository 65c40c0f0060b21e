"""scikit-learn estimators: prior-fitted networks that predict on real tables."""

from openpfn.estimators.classifier import PFNClassifier
from openpfn.estimators.regressor import PFNRegressor

__all__ = ["PFNClassifier", "PFNRegressor"]
