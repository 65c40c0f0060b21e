"""The encoder gives every row the numbers that its context would give it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from openpfn.tables.columns.texts import MOST_TEXT_COMPONENTS
from openpfn.tables.encode import TableEncoder

RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "size": [1.5, np.nan, 3.0, 4.0] * 15,
        "colour": ["red", "blue", None, "green"] * 15,
        "grade": pd.Categorical(
            ["low", "high", "low", "mid"] * 15, ["low", "mid", "high"], ordered=True
        ),
        "ok": pd.array([True, None, False, True] * 15, dtype="boolean"),
        "day": ["2020-01-31", "2020-02-01", None, "2021-02-03"] * 15,
        "note": [
            f"{word} {i}"
            for i, word in enumerate(RANDOM.choice(["broken screen", "lost key", "all fine"], 60))
        ],
        "nothing": [None] * 60,
    }
)


def encoded(column: str, values: list) -> np.ndarray:
    return TableEncoder().fit(TABLE[[column]]).transform(pd.DataFrame({column: values}))


def test_numbers_stay_and_words_are_read():
    assert_array_equal(encoded("size", [7.25, None, "8", "?"]), [[7.25], [np.nan], [8.0], [np.nan]])


def test_plain_numbers_read_at_once_equal_those_read_one_by_one():
    table = pd.DataFrame(
        {
            "a": RANDOM.normal(size=9),
            "b": np.arange(9, dtype=np.int8),
            "c": np.float32([0.1, np.nan, 3] * 3),
        }
    )
    encoder = TableEncoder().fit(table, {"b": "numeric", "c": "numeric"})
    encoded = encoder.transform(table)
    assert_array_equal(encoded, encoder.transform(table.astype(object)))
    encoded[:] = 0
    assert table["a"].abs().min() > 0, "the caller's table was written to"


def test_categories_become_codes_and_unseen_ones_are_missing():
    with pytest.warns(UserWarning, match="'colour': 1 of 6 values .* such as 'pink'"):
        codes = encoded("colour", ["blue", "green", "red", "pink", None, " red "])
    assert_array_equal(codes.ravel(), [0, 1, 2, np.nan, np.nan, 2])
    assert_array_equal(encoded("grade", ["low", "mid", "high"]).ravel(), [0, 1, 2])


def test_categories_that_are_numbers_keep_their_order():
    table = pd.DataFrame({"floor": ["10", "9", "2", "x"]})
    assert_array_equal(
        TableEncoder().fit(table, {"floor": "categorical"}).transform(table).ravel(), [2, 1, 0, 3]
    )


def test_truth_is_one():
    assert_array_equal(encoded("ok", [True, False, None, "true"]).ravel(), [1, 0, np.nan, 1])


def test_dates_become_days_and_the_parts_that_vary():
    columns = encoded("day", ["1970-01-03", None, "2024-02-29"])
    assert columns.shape == (3, 3)
    assert_allclose(columns[0], [2, 1, 5])
    assert np.isnan(columns[1]).all()
    assert_allclose(columns[2], [19782, 2, 3])


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_typed_dates_and_their_hours(zone):
    table = pd.DataFrame(
        {"when": pd.to_datetime(["2020-03-01 06:00", "2020-03-01 18:00", None]).tz_localize(zone)}
    )
    columns = TableEncoder().fit(table).transform(table)
    assert columns.shape == (3, 2)
    assert_allclose(columns[1] - columns[0], [0.5, 12])


def test_similar_texts_are_near_each_other():
    near = encoded("note", ["broken screen 3", "Broken screens 99", "lost key 4"])
    assert near.shape == (3, MOST_TEXT_COMPONENTS)
    assert np.linalg.norm(near[0] - near[1]) < 0.5 * np.linalg.norm(near[0] - near[2])
    assert np.isnan(encoded("note", [None])).all()


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_row_order_of_the_context_does_not_matter(seed):
    shuffled = TABLE.iloc[np.random.default_rng(seed).permutation(len(TABLE))]
    assert_array_equal(
        TableEncoder().fit(shuffled).transform(TABLE), TableEncoder().fit(TABLE).transform(TABLE)
    )


def test_a_row_alone_is_encoded_as_in_the_table():
    encoder = TableEncoder().fit(TABLE)
    alone = np.concatenate([encoder.transform(TABLE.iloc[i : i + 1]) for i in range(9)])
    assert_allclose(alone, encoder.transform(TABLE.iloc[:9]), atol=1e-12)


def test_codes_are_marked_and_empty_columns_left_out():
    encoder = TableEncoder().fit(TABLE)
    expected = [False, True, True, True] + [False] * (3 + MOST_TEXT_COMPONENTS)
    assert encoder.categorical.tolist() == expected
    assert encoder.transform(TABLE).shape == (60, len(expected))


def test_the_state_survives_json_and_arrays():
    encoder = TableEncoder().fit(TABLE)
    plain, arrays = encoder.state()
    again = TableEncoder.from_state(json.loads(json.dumps(plain)), arrays)
    assert_array_equal(again.transform(TABLE), encoder.transform(TABLE))
    assert again.describe() == encoder.describe()


def test_infinite_and_foreign_tables_are_refused():
    encoder = TableEncoder().fit(TABLE[["size"]])
    with pytest.raises(ValueError, match="column 'size' contains infinity"):
        encoder.transform(pd.DataFrame({"size": [np.inf]}))
    with pytest.raises(ValueError, match="has 2 columns, but 1 were fitted"):
        encoder.transform(TABLE[["size", "ok"]])


ASKED = {
    "size": (["1,5", "2.5", "?", None], "numbers", 1, "'1,5'"),
    "colour": (["red", "pink", "mauve", None], "known categories", 2, "'mauve'"),
    "ok": (["yes", True, "1.0", None], "true or false", 1, "'yes'"),
    "day": (["2020-01-02T00:00:00", "2.1.2020", "na", None], "dates", 1, "'2.1.2020'"),
}


@pytest.mark.parametrize("column", ASKED)
def test_what_cannot_be_read_is_counted_named_and_described(column):
    values, what, n, example = ASKED[column]
    encoder = TableEncoder().fit(TABLE[[column]])
    before = encoder.describe()
    asked = pd.DataFrame({column: np.array(values, dtype=object)})
    message = f"column '{column}': {n} of 4 values could not be read as {what}.*as {example}"
    with pytest.warns(UserWarning, match=message):
        encoder.transform(asked)
    with pytest.warns(UserWarning, match=message):
        encoder.transform(asked)
    assert encoder.describe() == [
        f"{before[0]}; since then {2 * n} values not readable, as {example}"
    ]


def test_what_can_be_read_is_not_told(recwarn):
    encoder = TableEncoder().fit(TABLE)
    encoder.transform(TABLE)
    encoder.fit_transform(TABLE)
    assert [str(w.message) for w in recwarn] == []


@pytest.mark.parametrize("known", [["1", "2", "A"], ["1.0", "2.0", "A"], [1, 2, "A"]], ids=str)
@pytest.mark.parametrize("asked", [["1", "2"], ["1.0", "2.00"], [1, 2], [1.0, 2.0]], ids=str)
def test_categories_compare_by_what_they_say(known, asked, recwarn):
    encoder = TableEncoder().fit(pd.DataFrame({"grade": np.array(known * 9, dtype=object)}))
    assert encoder.transform(pd.DataFrame({"grade": asked})).ravel().tolist() == [0, 1]
    assert len(recwarn) == 0


def test_versions_are_no_numbers():
    encoder = TableEncoder().fit(pd.DataFrame({"version": ["1", "1.0", "1.10", "x"]}))
    asked = pd.DataFrame({"version": ["1", "1.0", "1.10"]})
    assert len(set(encoder.transform(asked).ravel())) == 3


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), "9" * 400, np.inf], ids=["int", "negative", "word", "float"]
)
def test_numbers_that_no_float_holds_are_refused_by_name(value):
    table = pd.DataFrame({"size": np.array([value, 1, 2.5], dtype=object)})
    with pytest.raises(ValueError, match="column 'size' contains infinity, or a number too large"):
        TableEncoder().fit_transform(table)
