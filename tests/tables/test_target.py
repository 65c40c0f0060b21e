"""Which columns hold classes and which hold numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from openpfn.tables.target import read_target


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["a", "b", "a", "c"], "classification", "words"),
        ([True, False, True, None], "classification", "truth values"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"] * 9), "classification", "dates"),
        ([0, 1] * 5, "classification", "2 different whole numbers"),
        ([3.0, 7.0, None] * 5, "classification", "2 different whole numbers"),
        (["1", "2"] * 5, "classification", "2 different whole numbers"),
        (pd.Series([0, 1] * 5, dtype="category"), "classification", "words"),
        (list(range(10)) * 2, "classification", "10 different whole numbers"),
        (list(range(10)), "regression", "10 different whole numbers"),
        (list(range(11)) * 9, "regression", "11 different whole numbers"),
        ([0.5, 1.0] * 9, "regression", "2 different numbers"),
        (["1,5", "2,5", "3"] * 9, "regression", "3 different numbers"),
        ([1e300, -1e300] * 9, "classification", "2 different whole numbers"),
    ],
)
def test_the_values_decide(values, task, reason):
    found = read_target(pd.Series(values))
    assert (found.task, found.reason) == (task, reason)


def test_numbers_are_read_as_they_are_written():
    found = read_target(pd.Series(["1.234,5", "2.000,25", None]))
    assert found.task == "regression"
    assert_array_equal(found.numbers(pd.Series(["1.000,5", "no", None])), [1000.5, np.nan, np.nan])
