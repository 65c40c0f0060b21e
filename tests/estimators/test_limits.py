"""What a table holds and no network can read is told by name."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openpfn import PFNClassifier
from openpfn.tables.encode import TableEncoder
from tests.estimators.conftest import random_network


def fit(X: Any, y: Any = (0, 1) * 3) -> PFNClassifier:
    return PFNClassifier(model=random_network(), n_estimators=1).fit(X, y)


@pytest.mark.parametrize(
    "X", [np.full((6, 2), np.nan), pd.DataFrame({"a": [None] * 6, "b": [""] * 6})], ids=type
)
def test_a_table_without_values_is_refused(X):
    with pytest.raises(ValueError, match="X holds no values: all of its 2 columns are missing"):
        fit(X)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.inf, float), (-np.inf, np.float32), (np.inf, object), (10**400, object)],
    ids=["inf", "minus", "object", "huge"],
)
def test_infinity_in_an_array_is_refused_by_column(value, dtype):
    X = np.ones((6, 3), dtype=dtype)
    fitted = fit(np.arange(18).reshape(6, 3).astype(dtype))
    X[4, 2] = value
    for use in (fit, fitted.predict):
        with pytest.raises(ValueError, match="column 2 contains infinity"):
            use(X)


@pytest.mark.parametrize("wrap", [np.asarray, pd.DataFrame], ids=["array", "frame"])
def test_complex_numbers_are_refused(wrap):
    with pytest.raises(ValueError, match=r"[Cc]omplex"):
        fit(wrap(np.arange(6)[:, None] * 1j))


def test_labels_that_cannot_be_ordered_are_refused():
    with pytest.raises(ValueError, match="labels that cannot be put in order, of type int and str"):
        fit(np.arange(6)[:, None], np.array(["a", 1] * 3, dtype=object))


def test_lists_of_words_take_no_array_as_wide_as_the_longest():
    rows = [["a" * 100_000, 1.5], *[["b", 2.5]] * 999]
    tracemalloc.start()
    table = PFNClassifier()._table(rows, reset=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # an array as wide as the longest word would take 800 MB
    assert TableEncoder().fit(table).columns[1].kind == "numeric"


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "category", "string"])
def test_labels_of_pandas_types_are_taken(dtype):
    y = pd.Series([1, 0] * 3).astype("str" if dtype == "string" else "int").astype(dtype)
    fitted = fit(np.arange(6)[:, None], y)
    assert len(fitted.classes_) == 2
