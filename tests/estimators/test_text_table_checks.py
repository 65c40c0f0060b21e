"""scikit-learn's own checks on the estimators that read the words of a table."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from openpfn.configs.text import TextConfig
from openpfn.estimators.text_tables import TextTableClassifier, TextTableRegressor

TINY = TextConfig(
    d_model=32,
    n_layers=1,
    n_heads=2,
    d_mlp=32,
    version="v1.1",
    matching=True,
    n_buckets=20,
    dropout=0.0,
)
OPTIONS: dict[str, Any] = {
    "encoder": "hashing",
    "max_epochs": 20,
    "patience": 20,
    "learning_rate": 0.01,
    "batch_size": 16,
}


def failing(_estimator: Any) -> dict[str, str]:
    """Checks that are not for these estimators, and why."""
    return {
        "check_dataframe_column_names_consistency": "columns are found by name, in any order",
    }


@pytest.mark.slow
@parametrize_with_checks(
    [TextTableClassifier(TINY, **OPTIONS), TextTableRegressor(TINY, **OPTIONS)],
    expected_failed_checks=failing,
)
def test_scikit_learn_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)
