"""Labels and names come back from JSON as they were."""

from __future__ import annotations

import datetime
import decimal
import json

import numpy as np
import pandas as pd
import pytest

from openpfn.tables.json_values import (
    array_from_json,
    array_to_json,
    from_json,
    name_to_json,
    to_json,
)

VALUES = [
    "word",
    3,
    2.5,
    True,
    None,
    b"bytes",
    decimal.Decimal("1.50"),
    datetime.date(2020, 1, 2),
    datetime.datetime(2020, 1, 2, 3, 4, 5),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=-1, seconds=5),
    pd.Timestamp("2020-01-02", tz="Europe/Berlin"),
    pd.Timedelta("1 day 2 hours"),
    pd.Period("2020-03", freq="M"),
    pd.Interval(0.5, 2, closed="left"),
    ("a", 1, pd.Timestamp("2020-01-02")),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back(value):
    again = from_json(json.loads(json.dumps(to_json(value))))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "bc"]),
        np.array([1, 2], dtype=">i4"),
        np.array([False, True]),
        np.array(["2020", "2021"], dtype="M8[Y]"),
        np.array([1, 2], dtype="m8[s]"),
        np.array([decimal.Decimal(1), decimal.Decimal(2)], dtype=object),
        np.array([pd.Period("2020", "Y"), pd.Period("2021", "Y")], dtype=object),
    ],
    ids=lambda values: str(values.dtype),
)
def test_arrays_come_back(values):
    again = array_from_json(json.loads(json.dumps(array_to_json(values))))
    assert again.dtype == values.dtype
    assert again.tolist() == values.tolist()


def test_what_has_no_form_is_refused_as_a_label_and_a_word_as_a_name():
    with pytest.raises(TypeError, match="a complex has no form"):
        to_json(1j)
    assert name_to_json(1j) == "1j"
