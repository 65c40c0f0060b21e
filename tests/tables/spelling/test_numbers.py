"""How numbers are written is decided once for a column."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from openpfn.tables.encode import TableEncoder
from openpfn.tables.spelling.numbers import NumberReading, find_number_reading


@pytest.mark.parametrize(
    ("words", "numbers", "is_guess"),
    [
        (["1.5", "-2", "1e3"], [1.5, -2, 1000], False),
        (["1,5", "-2", "1e3"], [1.5, -2, 1000], False),
        (["1.234,56", "7", "1.234.567"], [1234.56, 7, 1234567], False),
        (["1,234.56", "7", "1,234,567"], [1234.56, 7, 1234567], False),
        (["1 234,56", "7", "12\u202f345"], [1234.56, 7, 12345], False),
        (["1'234.56", "7", "1\u2019234"], [1234.56, 7, 1234], False),
        (["1,234", "567", "12,000"], [1234, 567, 12000], True),
        (["1,234", "5678"], [1.234, 5678], True),
        (["0,123", "1,234"], [0.123, 1.234], False),
        (["1,5", "?", "n/a"], [1.5, np.nan, np.nan], False),
    ],
    ids=str,
)
def test_the_spelling_that_reads_all_is_taken(words, numbers, is_guess):
    found = find_number_reading(Counter(words))
    read = [found.reading(word) for word in words]
    np.testing.assert_array_equal(read, numbers)
    assert (found.is_guess, found.odd_words) == (is_guess, frozenset())


@pytest.mark.parametrize("word", ["1,23,4", "12,34.5", "1,5,", "", ",", "x", "0,000", "1,2345"])
def test_a_spelling_reads_no_other(word):
    assert np.isnan(NumberReading(".", ",")(word))
    assert np.isnan(NumberReading(",", ".")(word.translate(str.maketrans(",.", ".,"))))


def test_no_reading_depends_on_the_other_rows():
    encoder = TableEncoder().fit(pd.DataFrame({"price": ["1.234,5", "2,5"]}))
    words = ["1.000", "2,5", "1.5", "1,234", "12.345.678"]
    with pytest.warns(UserWarning, match="'price': 1 of 5 values could not be read.*'1.5'"):
        together = encoder.transform(pd.DataFrame({"price": words}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = [encoder.transform(pd.DataFrame({"price": [word]})) for word in words]
    np.testing.assert_array_equal(np.concatenate(alone), together)
    assert together.ravel().tolist()[:2] == [1000, 2.5]
