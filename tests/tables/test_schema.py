"""Columns are read as a person would read them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.tables.schema import as_word, read_column, read_schema, warn_of_odd_words

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


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([str(i) for i in range(100)], "numeric"),
        ([f"{i},5" for i in range(100)], "numeric"),
        ([f"2020-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 9)], "date"),
    ],
    ids=["numbers", "decimal commas", "dates"],
)
def test_one_odd_word_among_many_is_told_and_changes_no_kind(values, kind):
    column = read_column(pd.Series([*values, "soon"], name="size"))
    assert (column.kind, column.n_distinct, column.n_odd) == (kind, len(values), 1)
    assert str(column).endswith("1 not readable, as 'soon'")
    with pytest.warns(UserWarning, match="'size': 1 value cannot be read as a .*'soon'"):
        warn_of_odd_words([column])


def test_many_odd_words_among_numbers_are_told():
    column = read_column(pd.Series([*map(str, range(30)), *["soon"] * 10], name="size"))
    assert str(column) == "size: text (31 distinct, 30 numbers)"
    with pytest.warns(UserWarning, match="'size' is read as text, although 30 of its 31"):
        warn_of_odd_words([column])


def test_columns_that_hold_no_dates_cannot_be_told_to():
    assert read_column(pd.Series(["20200102", "20200103"]), "date").date_format == "%Y%m%d"
    with pytest.raises(ValueError, match="column 'when' holds dates, but it holds 'later, soon'"):
        read_column(pd.Series(["soon", "later, soon"], name="when"), "date")
