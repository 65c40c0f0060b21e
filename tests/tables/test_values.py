"""What a column holds does not depend on the dtype that holds it."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from openpfn.tables.encode import TableEncoder
from openpfn.tables.schema import read_column
from openpfn.tables.values import plain_values

DAYS = [datetime.date(2020, 1, 31), datetime.date(1600, 2, 29), None, datetime.date(9999, 12, 31)]
CLOCK = [datetime.time(0, 0, 1), datetime.time(12), None, datetime.time(23, 59, 59)]
LENGTHS = [datetime.timedelta(hours=1), datetime.timedelta(0), None, datetime.timedelta(days=-2)]
PLAIN = {
    "numeric": [1.0, 2.5, np.nan, -3.0],
    "categorical": ["red", "blue", None, "red"],
    "boolean": np.array([True, False, None, True], dtype=object),
    "date": pd.Series(np.array(["2020-01-31", "1600-02-29", "NaT", "9999-12-31"], dtype="M8[s]")),
    "seconds": [1.0, 43200.0, np.nan, 86399.0],
    "duration": [3600.0, 0.0, np.nan, -172800.0],
}


def arrow(values: list, kind: pa.DataType) -> pd.Series:
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


HOLDERS = {
    "big-endian": ("numeric", np.array([1, 2.5, np.nan, -3], dtype=">f8")),
    "half": ("numeric", np.array([1, 2.5, np.nan, -3], dtype=np.float16)),
    "nullable": ("numeric", pd.array([1, 2.5, None, -3], dtype="Float32")),
    "sparse": ("numeric", pd.arrays.SparseArray([1, 2.5, np.nan, -3])),
    "objects": ("numeric", np.array([1, 2.5, None, -3], dtype=object)),
    "decimals": (
        "numeric",
        [decimal.Decimal(1), decimal.Decimal("2.5"), None, decimal.Decimal(-3)],
    ),
    "arrow float": ("numeric", arrow([1, 2.5, None, -3], pa.float32())),
    "arrow decimal": (
        "numeric",
        arrow(
            [decimal.Decimal("1.00"), decimal.Decimal("2.50"), None, decimal.Decimal("-3.00")],
            pa.decimal128(5, 2),
        ),
    ),
    "str": ("categorical", pd.Series(["red", "blue", None, "red"], dtype="str")),
    "string": ("categorical", pd.Series(["red", "blue", None, "red"], dtype="string")),
    "bytes": ("categorical", [b"red", b"blue", None, b"red"]),
    "arrow string": ("categorical", arrow(["red", "blue", None, "red"], pa.large_string())),
    "arrow dictionary": (
        "categorical",
        arrow(["red", "blue", None, "red"], pa.dictionary(pa.int8(), pa.string())),
    ),
    "nullable truth": ("boolean", pd.array([True, False, None, True], dtype="boolean")),
    "arrow truth": ("boolean", arrow([True, False, None, True], pa.bool_())),
    "dates": ("date", DAYS),
    "arrow date": ("date", arrow(DAYS, pa.date32())),
    "arrow timestamp": ("date", arrow(DAYS, pa.timestamp("s"))),
    "words": ("date", ["2020-01-31", "1600-02-29", None, "9999-12-31"]),
    "dates in UTC": ("date", PLAIN["date"].dt.tz_localize("UTC")),
    "times of day": ("seconds", CLOCK),
    "arrow time": ("seconds", arrow(CLOCK, pa.time64("us"))),
    "durations": ("duration", LENGTHS),
    "arrow duration": ("duration", arrow(LENGTHS, pa.duration("s"))),
    "timedelta": ("duration", pd.to_timedelta(LENGTHS)),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_column_is_read_alike_whatever_holds_it(holder):
    plain, values = HOLDERS[holder]
    table, expected = pd.DataFrame({"c": values}), pd.DataFrame({"c": PLAIN[plain]})
    encoder = TableEncoder().fit(expected)
    wanted = encoder.transform(expected)
    assert_array_equal(TableEncoder().fit_transform(table), wanted)
    assert_array_equal(encoder.transform(table), wanted)
    assert read_column(table["c"]).kind == read_column(expected["c"]).kind


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.array([1j, 2]), "complex numbers"),
        ([1j, None], "complex numbers"),
        ([np.zeros(2), np.ones(2)], "arrays"),
        (arrow([[1], None], pa.list_(pa.int64())), "nested values"),
        (arrow([{"a": 1}, None], pa.struct([("a", pa.int64())])), "nested values"),
        (arrow([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), "maps"),
        (arrow([None, None], pa.month_day_nano_interval()), "cannot be read"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_by_name(values, what):
    with pytest.raises(ValueError, match=rf"column 'signal' .*{what}.*leave it out"):
        plain_values(pd.Series(values, name="signal"))


@pytest.mark.parametrize(
    "categories",
    [[1, 2], [1.5, 2.5], [True, False], ["b", "a"], pd.to_datetime(["2020-01-01", "2021-01-01"])],
    ids=str,
)
def test_declared_categories_keep_the_order_of_their_dtype(categories):
    values = pd.Categorical([categories[0], categories[1], None], categories=categories)
    table = pd.DataFrame({"c": values})
    encoder = TableEncoder().fit(table)
    assert encoder.columns[0].kind == "categorical"
    assert encoder.transform(table).ravel().tolist()[:2] == [0, 1]
    as_words = pd.DataFrame({"c": [str(c) for c in categories]})
    assert encoder.transform(as_words).ravel().tolist() == [0, 1]


def test_intervals_become_their_middle_or_their_finite_end():
    bins = pd.arrays.IntervalArray.from_breaks([-np.inf, 0, 2, np.inf])
    for values in (bins, bins.astype(object)):
        table = pd.DataFrame({"c": values})
        assert TableEncoder().fit_transform(table).ravel().tolist() == [0, 1, 2]


def test_whole_numbers_beyond_floats_stay_apart_as_categories():
    table = pd.DataFrame({"id": [2**60, 2**60 + 1, 2**60]})
    encoded = TableEncoder().fit(table, {"id": "categorical"}).transform(table)
    assert encoded.ravel().tolist() == [0, 1, 0]
