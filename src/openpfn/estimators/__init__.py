"""scikit-learn estimators: prior-fitted networks that predict on real tables."""

from openpfn.estimators.classifier import PFNClassifier

__all__ = ["PFNClassifier"]
