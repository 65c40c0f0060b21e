"""Long texts are counted piece by piece, with the same counts."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from openpfn.tables.encode import TableEncoder
from openpfn.tables.spelling import letters

TEXTS = ["Ab cd\n\n efg  ab " * 50, "", "x" * 37 + " yes Straße ÉCLAIR", "y" * 130 + " z", "short"]


@pytest.mark.parametrize("n_letters", [1, 7, 20, 100])
def test_pieces_have_the_counts_of_the_whole(monkeypatch, n_letters):
    whole = letters.letter_groups(TEXTS).toarray()
    monkeypatch.setattr(letters, "LETTERS_AT_ONCE", n_letters)
    assert_array_equal(letters.letter_groups(TEXTS).toarray(), whole)


@pytest.mark.slow
def test_one_long_text_takes_memory_for_its_own_letters_alone():
    texts = [f"alpha {i} gamma" for i in range(500)]
    texts[7] = "lorem " * 50_000
    tracemalloc.start()
    TableEncoder().fit(pd.DataFrame({"note": texts}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # an array of 500 rows as wide as the longest would take 600 MB


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_row_order_does_not_matter_where_a_text_is_missing(missing):
    texts = [f"word {i * 7919 % 101} of {i}" for i in range(40)]
    table = pd.DataFrame({"note": [missing, *texts]})
    shuffled = table.iloc[np.random.default_rng(0).permutation(41)]
    asked = pd.DataFrame({"note": texts})
    assert_array_equal(
        TableEncoder().fit(shuffled).transform(asked), TableEncoder().fit(table).transform(asked)
    )
