"""Laws of rows that come in parts."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNRegressor
from tests.estimators.conftest import NUMBERS, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(100, 3)) * [1, 100, 0.01]
y = np.where(X[:, 0] > 0, "high", "low")
PARTS = np.split(np.arange(100), 10)
QUERY = RANDOM.normal(size=(7, 3))


def in_parts(estimator, X, y, parts=PARTS):
    for part in parts:
        estimator.partial_fit(X.iloc[part] if isinstance(X, pd.DataFrame) else X[part], y[part])
    return estimator


@pytest.mark.parametrize("mechanism", ["linear", "ridge", "softmax"])
def test_ten_parts_are_one_fit(mechanism):
    model = random_network(replace(NUMBERS, attention_type=mechanism))
    whole = PFNClassifier(model=model, n_estimators=2).fit(X, y)
    parts = in_parts(PFNClassifier(model=model, n_estimators=2), X, y)
    assert np.array_equal(parts.predict_proba(QUERY), whole.predict_proba(QUERY))
    numbers = PFNRegressor(model=model, n_estimators=2).fit(X, X[:, 1])
    parts = in_parts(PFNRegressor(model=model, n_estimators=2), X, X[:, 1])
    assert np.array_equal(parts.predict(QUERY), numbers.predict(QUERY))


def test_what_encoders_learn_is_that_of_all_rows():
    table = pd.DataFrame(
        {
            "word": [f"level {i // 12}" for i in range(100)],  # later parts bring new words
            "declared": pd.Categorical([f"{i % 7}" for i in range(100)]),
            "date": pd.date_range("2020-01-01", periods=100).astype(str),
            "gap": np.where(np.arange(100) < 60, np.nan, X[:, 0]),
        }
    )
    model = random_network()
    whole = PFNClassifier(model=model, n_estimators=1).fit(table, y)
    thirds = np.array_split(np.arange(100), 3)
    parts = in_parts(PFNClassifier(model=model, n_estimators=1), table, y, thirds)
    assert parts.encoder_.describe() == whole.encoder_.describe()
    assert np.array_equal(parts.predict_proba(table[:5]), whole.predict_proba(table[:5]))


def test_the_network_reads_at_the_prediction_and_a_part_may_bring_a_class():
    parts = PFNClassifier(model=random_network(), n_estimators=1)
    parts.partial_fit(X[:10], np.zeros(10))
    assert parts.predict(QUERY).tolist() == [0] * 7
    parts.partial_fit(X[10:30], np.arange(20) % 3)
    assert parts.context_.groups is None
    assert parts.predict_proba(QUERY).shape == (7, 3)
    assert pickle.loads(pickle.dumps(parts)).partial_fit(X[:3], [3, 4, 5]).classes_.tolist() == [
        *range(6)
    ]


def test_rows_of_fit_stay_even_if_the_array_is_changed_after():
    model = random_network()
    mine, labels = X[:40].copy(), y[:40].copy()
    fitted = PFNClassifier(model=model, n_estimators=1).fit(mine, labels)
    mine[:], labels[:] = 0, "low"
    fitted.partial_fit(X[40:], y[40:])
    whole = PFNClassifier(model=model, n_estimators=1).fit(X, y)
    assert np.array_equal(fitted.predict_proba(QUERY), whole.predict_proba(QUERY))


def test_what_was_loaded_takes_no_further_rows(tmp_path):
    fitted = PFNClassifier(model=random_network(), n_estimators=1).fit(X, y)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors"))
    with pytest.raises(ValueError, match="holds no table to which rows could be added"):
        loaded.partial_fit(X, y)


def test_parts_must_fit_together():
    parts = PFNClassifier(model=random_network(), n_estimators=1).partial_fit(X, y)
    with pytest.raises(ValueError, match="features"):
        parts.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        parts.partial_fit(X, y[:3])


def test_memory_for_cells_is_not_needed():
    model = random_network(replace(NUMBERS, attention_type="ridge"))
    plenty = PFNRegressor(model=model, n_estimators=1).fit(X, X[:, 1]).predict(QUERY)
    little = PFNRegressor(model=model, n_estimators=1, memory_limit=20_000).fit(X, X[:, 1])
    assert_allclose(little.predict(QUERY), plenty, atol=1e-4)


def test_labels_beside_the_announced_classes_are_refused():
    parts = PFNClassifier(model=random_network(), n_estimators=1)
    parts.partial_fit(X[:10], y[:10], classes=["high", "low", "middle"])
    with pytest.raises(ValueError, match="y holds 'low', which is none of classes"):
        parts.partial_fit(X[:10], y[:10], classes=["high"])
    assert parts.classes_.tolist() == ["high", "low"]
