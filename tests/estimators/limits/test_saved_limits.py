"""Estimators of tables beyond a network's limits in files."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier
from openpfn.estimators.limits.classes import STRATEGIES
from tests.estimators.conftest import random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 8))
y = np.arange(60) % 14
QUERY = RANDOM.normal(size=(5, 8))


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"states": "float32"}, marks=pytest.mark.slow),
        pytest.param({"keep_rows": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_members_see_is_saved(strategy, options, tmp_path):
    with pytest.warns(UserWarning, match="X has"):
        fitted = PFNClassifier(
            model=random_network(),
            n_estimators=1,
            many_classes=strategy,
            rows_per_member=50,
            columns_per_member=6,
            balance_probabilities=True,
        ).fit(X, y)
    again = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors", **options))
    assert_allclose(again.predict_proba(QUERY), fitted.predict_proba(QUERY), atol=1e-6)
    assert again.beyond_ == fitted.beyond_
    assert again.get_params()["many_classes"] == strategy
    assert again.context_.members == fitted.context_.members


def test_balanced_samples_are_saved(tmp_path):
    y = (np.arange(60) < 15) * 1
    with pytest.warns(UserWarning, match="balanced sample"):
        fitted = PFNClassifier(
            model=random_network(), n_estimators=2, subsample="balanced", rows_per_member=20
        ).fit(X, y)
    again = PFNClassifier.load(fitted.save(tmp_path / "f.safetensors", keep_rows=False))
    assert_allclose(again.predict_proba(QUERY), fitted.predict_proba(QUERY), atol=1e-6)
