"""A value that is read as a number is written as its column writes values."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from openpfn.estimators.unsupervised.variables import Variable

DAYS = pd.to_datetime(["2020-01-31", "2021-02-28", "2022-07-01"] * 8)
NUMBERS = np.linspace(-3, 3, 24) + 0.123456789
COLUMNS = {
    "floats": pd.Series(NUMBERS),
    "single": pd.Series(np.linspace(0, 1, 24, dtype=np.float32)),
    "nullable": pd.Series(NUMBERS, dtype="Float64"),
    "whole": pd.Series(np.arange(24)),
    "nullable whole": pd.Series(np.arange(24), dtype="Int64"),
    "few": pd.Series(np.arange(24) % 3),
    "objects": pd.Series(NUMBERS.tolist(), dtype=object),
    "words": pd.Series([f"{v:.3f}" for v in NUMBERS]),
    "commas": pd.Series([f"{v:.2f}".replace(".", ",") for v in NUMBERS]),
    "whole words": pd.Series([f"{v}" for v in range(24)]),
    "truths": pd.Series([True, False] * 12),
    "categories": pd.Series(["b", "a", "c"] * 8, dtype="category"),
    "numbers as categories": pd.Series([3, 1, 2] * 8, dtype="category"),
    "text": pd.Series([f"text {i} of many" for i in range(24)]),
    "days": pd.Series(DAYS),
    "times": pd.Series(DAYS + pd.to_timedelta(np.arange(24), unit="h")),
    "zoned": pd.Series(DAYS).dt.tz_localize("America/New_York"),
    "periods": pd.Series(DAYS).dt.to_period("D"),
    "dates as words": pd.Series(DAYS.strftime("%d.%m.%Y")),
    "durations": pd.Series(pd.to_timedelta(np.arange(24), unit="min")),
    "intervals": pd.Series(pd.interval_range(0, 24)),
    "times of day": pd.Series([datetime.time(i % 24, 30) for i in range(24)]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_is_read_is_written_as_it_was(name):
    cells = COLUMNS[name].rename(name)
    variable = Variable.of(cells)
    numbers = variable.read(cells)
    assert not np.isnan(numbers).any()
    back = variable.write(variable.value(numbers), cells)
    assert back.dtype == cells.dtype
    assert back.tolist() == cells.tolist()


def test_missing_cells_and_words_for_them_are_found():
    cells = pd.Series(["1.5", "", None, "NA", "2.5", "  "] + [f"{i}.25" for i in range(20)])
    variable = Variable.of(cells)
    assert variable.missing(cells).tolist()[:6] == [False, True, True, True, False, True]
    assert Variable.of(pd.Series([None, None], dtype=object)).kind == "empty"
    assert Variable.of(pd.Series([np.nan, np.nan])).kind == "empty"
    words = pd.Series(["none", "some", None])  # here it is a word like others
    assert Variable.of(words).missing(words).tolist() == [False, False, True]
