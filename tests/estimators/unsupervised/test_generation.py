"""New rows have the columns, the types and the dependences of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn import sample_rows
from tests.estimators.conftest import KernelBoth
from tests.estimators.unsupervised.test_imputer import table, with_holes


@pytest.fixture(scope="module")
def model():
    return KernelBoth()


def test_new_rows_look_like_those_of_the_table(model):
    whole = table()
    rows = sample_rows(whole, 100, model=model, n_estimators=1)
    assert rows.shape == (100, whole.shape[1])
    assert rows.dtypes.to_dict() == whole.dtypes.to_dict()
    assert not rows.isna().any(axis=None)
    assert set(rows["group"]) == {"x", "y", "z"}
    agreement = (rows["is_x"] == (rows["group"] == "x")).mean()
    assert agreement > 0.7  # what the table never breaks is seldom broken
    assert np.corrcoef(rows["a"], rows["b"])[0, 1] > 0.6
    assert abs(rows["a"].mean() - whole["a"].mean()) < 0.5
    assert 0.5 < rows["a"].std() / whole["a"].std() < 1.5


def test_an_integer_gives_the_same_rows_and_the_first_ones_whatever_follow(model):
    X = np.random.default_rng(0).normal(size=(40, 3))
    few, many = (sample_rows(X, n, model=model, random_state=5) for n in (3, 11))
    assert isinstance(few, np.ndarray)
    np.testing.assert_allclose(many[:3], few, rtol=1e-6)
    assert not np.allclose(few, sample_rows(X, 3, model=model, random_state=6))


def test_a_table_with_holes_gives_whole_rows(model):
    rows = sample_rows(with_holes(table()), 5, model=model, n_estimators=1)
    assert not rows.isna().any(axis=None)


def test_constant_and_empty_columns_stay_what_they_are(model):
    X = pd.DataFrame({"c": [2.5] * 9, "nothing": [None] * 9, "k": list("abc") * 3})
    rows = sample_rows(X, 4, model=model)
    assert rows["c"].tolist() == [2.5] * 4
    assert rows["nothing"].isna().all()
    assert set(rows["k"]) <= set("abc")


@pytest.mark.parametrize("n_rows", [0, -1])
def test_a_number_of_rows_is_needed(model, n_rows):
    with pytest.raises(ValueError, match=r"n_rows is .*, must be a whole number of at least 1"):
        sample_rows(np.ones((3, 2)), n_rows, model=model)
