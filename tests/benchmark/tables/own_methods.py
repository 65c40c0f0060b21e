"""Estimators of a user's own, named as `module:Class` in tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Nearest(ClassifierMixin, BaseEstimator):
    """The label of the nearest row."""

    def fit(self, X, y):
        self.X_, self.y_ = np.asarray(X), np.asarray(y)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        nearest = ((np.asarray(X)[:, None] - self.X_[None]) ** 2).sum(-1).argmin(1)
        return np.eye(len(self.classes_))[np.searchsorted(self.classes_, self.y_[nearest])]


class Broken(Nearest):
    """Fails in fit."""

    def fit(self, X, y):
        raise RuntimeError("out of luck,\nwith two lines")


class Unsure(Nearest):
    """Gives numbers that are no probabilities."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), np.nan)


class Deadly(Nearest):
    """Takes its process down."""

    def fit(self, X, y):
        os._exit(9)


class Endless(Nearest):
    """Says that it began, and is never done."""

    def fit(self, X, y):
        Path(os.environ["ENDLESS_BEGAN"]).touch()
        time.sleep(3600)


class Shapeless:
    """No estimator."""
