"""How dates are written is decided once for a column."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from openpfn.tables.encode import TableEncoder
from openpfn.tables.spelling.dates import DateReading, find_date_reading


def read(words: list[str]) -> list[str]:
    found = find_date_reading(Counter(words))
    assert found is not None
    return [str(found.reading(word))[:16] for word in words]


@pytest.mark.parametrize(
    ("words", "days"),
    [
        (["2020-12-31", "1600-02-29", "9999-12-31"], ["2020-12-31", "1600-02-29", "9999-12-31"]),
        (["2020/1/2", "2020/12/31"], ["2020-01-02", "2020-12-31"]),
        (["01.02.2020", "01.12.2020"], ["2020-02-01", "2020-12-01"]),
        (["01.31.2020", "01.02.2020"], ["2020-01-31", "2020-01-02"]),
        (["31/12/2020", "01/02/2020"], ["2020-12-31", "2020-02-01"]),
        (["12/31/2020", "01/02/2020"], ["2020-12-31", "2020-01-02"]),
        (["31-12-20", "01-02-70"], ["2020-12-31", "1970-02-01"]),
        (["Jan 3, 2020", "Sept 4, 2021"], ["2020-01-03", "2021-09-04"]),
        (["3 January 2020", "14 May 2021"], ["2020-01-03", "2021-05-14"]),
        (["03-Jan-2020", "04-Feb-2021"], ["2020-01-03", "2021-02-04"]),
    ],
    ids=str,
)
def test_days(words, days):
    assert [time[:10] for time in read(words)] == days


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (["2020-01-01T06:30:00Z", "2020-01-01 23:00"], ["2020-01-01T06:30", "2020-01-01T23:00"]),
        (["2020-01-01T00:00:00+05:30", "2020-01-02"], ["2019-12-31T18:30", "2020-01-02T00:00"]),
        (["1/13/20 3:04 PM", "1/2/20 12:04 AM"], ["2020-01-13T15:04", "2020-01-02T00:04"]),
        (["Fri, 03 Jan 2020 10:00:00 GMT"], ["2020-01-03T10:00"]),
        (["2020-01-01 06:30:00.123456789"], ["2020-01-01T06:30"]),
    ],
    ids=str,
)
def test_times_of_day_and_zones(words, times):
    assert read(words) == times


@pytest.mark.parametrize(
    ("words", "is_guess"),
    [
        (["01/02/2020"], True),
        (["01/13/2020"], False),
        (["1.2.2020"], True),
        (["2020-01-02"], False),
    ],
)
def test_a_guessed_order_is_told(words, is_guess):
    table = pd.DataFrame({"day": words})
    line = TableEncoder().fit(table).describe()[0]
    assert ("a guess" in line) == is_guess
    assert "%" in line


def test_no_words_but_dates_are_dates():
    for words in (["1.2.3", "12.5.3"], ["a b 12", "c d 34"], ["2020-13-01"], ["30.02.2020"], ["5"]):
        assert find_date_reading(Counter(words)) is None


def test_the_order_of_a_column_holds_for_every_row():
    encoder = TableEncoder().fit(
        pd.DataFrame({"month": [f"01.{month:02d}.2020" for month in range(1, 13)]})
    )
    asked = pd.DataFrame({"month": ["01.03.2020", "15.03.2020", "1/3/2020", "2020-03-01"]})
    days = encoder.transform(asked)[:, 0]
    first = (pd.Timestamp("2020-03-01") - pd.Timestamp(0)).days
    assert days.tolist() == [first, first + 14, first, first]


def test_formats_of_older_files_are_read():
    assert str(DateReading("%Y%m%d")("20200102"))[:10] == "2020-01-02"
    assert str(DateReading("%m.%d.%Y")("01.02.2020"))[:10] == "2020-01-02"
    assert np.isnat(DateReading("ISO8601")("soon"))
