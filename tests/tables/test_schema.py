"""Columns are read as a person would read them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.tables.schema import as_word, read_column, read_schema

WORDS = ["alpha", "beta", "gamma"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, 2.0, np.nan], "numeric"),
        (["1", "2.5", "1e3"], "numeric"),
        (["1", "?", "n/a", ""], "numeric"),
        (pd.array([1, None], dtype="Int64"), "numeric"),
        (pd.to_timedelta(["1h", "2h"]), "numeric"),
        (WORDS, "categorical"),
        (["none", "some"], "categorical"),
        ([1, "two", None], "categorical"),
        (pd.Categorical([1, 2, 1]), "categorical"),
        ([True, False], "boolean"),
        (np.array([True, None], dtype=object), "boolean"),
        (["true", "False"], "boolean"),
        (["2020-01-02", "2021-12-31", None], "date"),
        (["31/12/2020", "01/02/2021"], "date"),
        (["Jan 3, 2020", "Feb 4, 2021"], "date"),
        (pd.to_datetime(["2020-01-01"]), "date"),
        (pd.period_range("2020-01", periods=2, freq="M"), "date"),
        ([f"comment number {i}" for i in range(50)], "text"),
        ([f"id{i % 30}" for i in range(40)], "text"),
        ([f"id{i % 30}" for i in range(400)], "categorical"),
        ([None, None], "empty"),
        (["", "  "], "empty"),
        ([{"a": 1}, [2]], "categorical"),
    ],
    ids=str,
)
def test_kinds(values, kind):
    assert read_column(pd.Series(values, name="some")).kind == kind


def test_the_line_of_a_column_tells_kind_distinct_and_missing():
    table = pd.DataFrame({"size": [1, 1, None], "colour": ["red", None, "blue"], "no": [None] * 3})
    assert [str(column) for column in read_schema(table)] == [
        "size: numbers (1 distinct), 1 missing",
        "colour: categories (2 distinct), 1 missing",
        "no: no values, left out, 3 missing",
    ]


def test_given_kinds_are_taken():
    table = pd.DataFrame({"zip": [10115, 20095], "when": ["2020-01-01", "2020-02-01"]})
    assert [
        column.kind for column in read_schema(table, {"zip": "categorical", "when": "date"})
    ] == ["categorical", "date"]
    assert read_schema(table, {"when": "date"})[1].date_format == "%Y-%m-%d"


def test_kinds_of_columns_that_are_not_there_are_told():
    with pytest.raises(ValueError, match="'zap', which is not a column"):
        read_schema(pd.DataFrame({"zip": [1]}), {"zap": "numeric"})


def test_one_category_has_one_name():
    assert {as_word(3), as_word(3.0), as_word(np.int64(3)), as_word(" 3 ")} == {"3"}
