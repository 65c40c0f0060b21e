"""MAPIE wraps our estimators as fitted ones, for sets and intervals that hold what they promise."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from openpfn import PFNClassifier, PFNRegressor
from tests.estimators.conftest import KernelNetwork, KernelRegression

pytestmark = pytest.mark.extras
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 2))
FIT, CALIBRATION, TEST = slice(0, 80), slice(80, 190), slice(190, 300)


def test_sets_hold_the_true_class_as_often_as_promised():
    mapie: Any = importlib.import_module("mapie.classification")
    y = (X[:, 0] + RANDOM.normal(size=300) / 2 > 0).astype(int)
    classifier = PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(X[FIT], y[FIT])
    conformal = mapie.SplitConformalClassifier(classifier, confidence_level=0.9, prefit=True)
    conformal.conformalize(X[CALIBRATION], y[CALIBRATION])
    _, sets = conformal.predict_set(X[TEST])
    held = sets[np.arange(110), y[TEST], 0].mean()
    assert 0.8 < held < 1.0


def test_intervals_hold_the_true_number_as_often_as_promised():
    mapie: Any = importlib.import_module("mapie.regression")
    y = X[:, 0] + RANDOM.normal(size=300) * (1 + X[:, 1] ** 2) / 4
    regressor = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(X[FIT], y[FIT])
    conformal = mapie.SplitConformalRegressor(regressor, confidence_level=0.9, prefit=True)
    conformal.conformalize(X[CALIBRATION], y[CALIBRATION])
    _, ends = conformal.predict_interval(X[TEST])
    inside = (ends[:, 0, 0] <= y[TEST]) & (y[TEST] <= ends[:, 1, 0])
    assert 0.8 < inside.mean() < 1.0
