"""What a table holds decides, not the dtype that holds it: those of pandas 2 and pandas 3, of
Python, NumPy and Arrow give the same numbers, sentences and predictions."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from openpfn.estimators import PFNClassifier
from openpfn.tables.encode import TableEncoder
from openpfn.text.verbalize import TabSTARPreprocessor

N = 36
WORDS = ["red", "blue", None, "green", "red", "blue", "dark red", "green", "blue"] * 4
NUMBERS = [1.5, -2.25, None, 0.0, 3.125, 10.75, 7.5, 1.5, -0.5] * 4
COUNTS = [3, 1, None, 4, 1, 5, 9, 2, 6] * 4
TRUTHS = [True, False, None, True, True, False, False, True, None] * 4
MOMENTS = [
    None if i % 9 == 2 else datetime.datetime(2019, 1 + i % 12, 1 + i % 28, i % 24, 30)
    for i in range(N)
]
DAYS = [None if moment is None else moment.date() for moment in MOMENTS]
LABELS = ["yes", "no", "no", "yes", "yes", "no", "no", "yes", "no"] * 4


def arrow(kind: Any) -> Callable[[list[Any]], pd.Series]:
    return lambda values: pd.Series(values, dtype=pd.ArrowDtype(kind))


def typed(dtype: Any) -> Callable[[list[Any]], pd.Series]:
    return lambda values: pd.Series(values, dtype=dtype)


def times(unit: str) -> Callable[[list[Any]], pd.Series]:
    """Return what holds dates in this unit: pandas 2 takes nanoseconds, pandas 3 microseconds."""
    return lambda values: pd.Series(np.array(values, dtype=f"datetime64[{unit}]"))


def decimals(values: list[Any]) -> list[Any]:
    return [None if v is None else decimal.Decimal(str(v)) for v in values]


def stamps(values: list[Any]) -> pd.Series:
    return pd.Series([None if v is None else pd.Timestamp(v) for v in values], dtype=object)


CONTENTS: dict[str, tuple[list[Any], dict[str, Callable[[list[Any]], pd.Series]]]] = {
    "words": (
        WORDS,
        {
            "object": typed(object),
            "default": pd.Series,
            "string": typed("string"),
            "string of Arrow": typed("string[pyarrow]"),
            "arrow": arrow(pa.string()),
            "category": typed("category"),
        },
    ),
    "numbers": (
        NUMBERS,
        {
            "float": typed(float),
            "object": typed(object),
            "Float64": typed("Float64"),
            "arrow": arrow(pa.float64()),
            "decimal": lambda values: typed(object)(decimals(values)),
            "decimal of Arrow": lambda values: arrow(pa.decimal128(12, 3))(decimals(values)),
            "sparse": typed(pd.SparseDtype(float)),
        },
    ),
    "counts": (
        COUNTS,
        {
            "float": typed(float),
            "object": typed(object),
            "Int64": typed("Int64"),
            "arrow": arrow(pa.int32()),
            "words": lambda v: pd.Series([None if x is None else f"{x}.0" for x in v]),
        },
    ),
    "truths": (
        TRUTHS,
        {
            "object": typed(object),
            "boolean": typed("boolean"),
            "arrow": arrow(pa.bool_()),
            "words": lambda v: pd.Series([None if x is None else str(x) for x in v]),
        },
    ),
    "times": (
        MOMENTS,
        {
            "ns": times("ns"),
            "us": times("us"),
            "s": times("s"),
            "Python": typed(object),
            "stamps": stamps,
            "arrow": arrow(pa.timestamp("us")),
            "UTC": lambda values: times("ns")(values).dt.tz_localize("UTC"),
        },
    ),
    "days": (
        DAYS,
        {
            "ns": times("ns"),
            "s": times("s"),
            "Python": typed(object),
            "arrow": arrow(pa.date32()),
        },
    ),
    "mixed": (
        ["a", 1, None, "b", 1.0, "a", "b", "c", "1"] * 4,
        {"object": typed(object), "words": lambda v: pd.Series([_written(x) for x in v])},
    ),
}
CASES = [
    pytest.param(content, name, id=f"{content}-{name}")
    for content, (_, held) in CONTENTS.items()
    for name in list(held)[1:]
]


def _written(value: Any) -> str | None:
    return None if value is None else str(value).removesuffix(".0")


def tables(content: str, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one content as its first dtype holds it, and as another does."""
    values, held = CONTENTS[content]
    first = next(iter(held.values()))
    plain = np.arange(N) % 5.0
    return (
        pd.DataFrame({"held": first(values), "plain": plain}),
        pd.DataFrame({"held": held[name](values), "plain": plain}),
    )


@pytest.mark.parametrize(("content", "name"), CASES)
def test_another_dtype_gives_the_same_numbers(content, name):
    first, other = tables(content, name)
    encoder = TableEncoder().fit(first)
    expected = encoder.transform(first)
    np.testing.assert_array_equal(encoder.transform(other), expected)
    np.testing.assert_array_equal(TableEncoder().fit_transform(other), expected)


@pytest.mark.parametrize(("content", "name"), CASES)
def test_another_dtype_gives_the_same_sentences(content, name):
    first, other = tables(content, name)
    preprocessor = TabSTARPreprocessor().fit(first, LABELS)
    expected = preprocessor.transform(first)
    for made in (
        preprocessor.transform(other),
        TabSTARPreprocessor().fit(other, LABELS).transform(other),
    ):
        assert made.texts().tolist() == expected.texts().tolist()
        np.testing.assert_array_equal(made.numbers, expected.numbers)


@pytest.mark.filterwarnings("ignore:X has")
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_table_of_other_dtypes_gets_the_same_predictions(turn):
    first, other = {}, {}
    for content, (values, held) in CONTENTS.items():
        made = list(held.values())
        first[content], other[content] = made[0](values), made[turn % len(made)](values)
    X, Z = pd.DataFrame(first), pd.DataFrame(other)
    told = PFNClassifier("micro", n_estimators=1).fit(X[:24], LABELS[:24])
    expected = told.predict_proba(X[24:])
    np.testing.assert_array_equal(told.predict_proba(Z[24:]), expected)
    again = PFNClassifier("micro", n_estimators=1).fit(Z[:24], LABELS[:24])
    np.testing.assert_array_equal(again.predict_proba(Z[24:]), expected)
