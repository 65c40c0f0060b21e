"""Verbalized tables: the sentences of TabSTAR, and what they never depend on."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from openpfn.text.verbalize import TabSTARPreprocessor

DAYS = ["2020-01-31", "2021-02-28", "2020-01-31", "2022-12-24"] * 5
X = pd.DataFrame(
    {
        "colour": ["red", "blue", None, "green"] * 5,
        "size": [1.5, np.nan, -3.0, 7.0] * 5,
        "sold": [True, False, True, True] * 5,
        "day": pd.to_datetime(DAYS),
        "note": [f"a note about item {i} 😀 שלום" for i in range(20)],
        "same": ["x"] * 20,
        "nothing": [None] * 20,
    }
)
Y = pd.Series(["no", "yes", "no", "yes"] * 5, name="bought")
PRICES = pd.Series(np.arange(20.0), name="price")


def contents(table):
    """Sentences, numbers and target tokens of a table, whatever the order of its strings."""
    return table.texts().tolist(), table.numbers.tolist(), table.target_texts()


def same(one, other):
    assert contents(one) == contents(other)


@pytest.fixture(params=["v1", "v1.1"])
def fitted(request):
    return TabSTARPreprocessor(request.param).fit(X, Y)


def test_the_first_template_says_words_and_bins():
    table = TabSTARPreprocessor("v1").fit_transform(X, Y)
    assert table.columns == ("colour", "size", "sold", "day_year", "day_month", "day_day",
                             "day_weekday", "day_total_seconds", "note")  # fmt: skip
    texts = table.texts()
    assert texts[0, 0] == "Predictive Feature: colour\nFeature Value: red"
    assert texts[2, 0] == "Predictive Feature: colour\nFeature Value: Unknown Value"
    assert texts[1, 1] == "Predictive Feature: size\nFeature Value: Unknown Value"
    assert texts[2, 1] == "Predictive Feature: size\nFeature Value: -3 (Quantile 0 - 20%)"
    assert texts[0, 2] == "Predictive Feature: sold\nFeature Value: true"
    assert texts[3, 3].endswith("2022 (Quantile 80 - 100%)")
    assert table.target_texts() == [
        "Target Feature: bought\nFeature Value: no",
        "Target Feature: bought\nFeature Value: yes",
    ]
    assert table.y.tolist() == [0, 1, 0, 1] * 5
    assert table.numbers.shape == (20, 9, 1)
    sizes = X["size"].to_numpy()
    expected = np.nan_to_num((sizes - np.nanmean(sizes)) / np.nanstd(sizes))
    np.testing.assert_allclose(table.numbers[:, 1, 0], expected, rtol=1e-6)
    assert not table.numbers[:, [0, 2, 8]].any()


def test_the_compact_template_says_numbers_by_six():
    table = TabSTARPreprocessor("v1.1").fit_transform(X, Y)
    assert set(table.texts()[:, 1]) == {"Numerical Feature: size"}
    assert table.numbers.shape == (20, 9, 6)
    assert table.numbers[1, 1].tolist() == [0, 0, 0, 0, 1, 1]
    assert table.numbers[3, 1, 1:].tolist() == pytest.approx([1, 0.875, 0, 0, 1], abs=0.13)
    assert not table.numbers[:, 0].any()


def test_a_number_to_predict_is_standardised_and_has_one_token():
    preprocessor = TabSTARPreprocessor().fit(X, PRICES)
    table = preprocessor.transform(X, PRICES)
    assert (table.task, table.target_texts()) == (
        "regression",
        ["Numerical Target Feature: price"],
    )
    assert (table.y.mean(), table.y.std()) == pytest.approx((0, 1), abs=1e-6)
    np.testing.assert_allclose(preprocessor.target_.decode(table.y), PRICES, rtol=1e-5, atol=1e-5)


def test_each_distinct_sentence_is_there_once(fitted):
    table = fitted.transform(X, Y)
    assert len(set(table.strings)) == len(table.strings)
    assert set(table.cells.ravel()) | set(table.targets) == set(range(len(table.strings)))


def test_a_row_says_the_same_in_any_company(fitted):
    together = fitted.transform(X)
    for i in (0, 1, 2, 7):
        alone = fitted.transform(X.iloc[[i]])
        assert alone.texts().tolist() == together.texts()[[i]].tolist()
        np.testing.assert_array_equal(alone.numbers, together.numbers[[i]])
    strange = X.assign(size=1e9, colour="new", note="")
    same(fitted.transform(pd.concat([strange, X])).rows(np.arange(20, 40)), together)


def test_columns_are_found_by_name(fitted):
    table = fitted.transform(X)
    same(fitted.transform(X[X.columns[::-1]].assign(other=1)), table)
    same(fitted.transform(X.drop(columns=["same", "nothing"])), table)
    with pytest.raises(ValueError, match="no column 'colour'"):
        fitted.transform(X.drop(columns="colour"))
    with pytest.raises(ValueError, match="Did you mean 'sizes'"):
        fitted.transform(X.rename(columns={"size": "sizes"}))


SPELLINGS = {
    "categories": {
        "colour": lambda v: v.astype("category"),
        "sold": lambda v: v.astype("category"),
    },
    "pandas strings": {
        "colour": lambda v: v.astype("string"),
        "note": lambda v: v.astype("string"),
    },
    "objects": {name: (lambda v: v.astype(object)) for name in X},
    "arrow": {
        "colour": lambda v: v.astype(pd.ArrowDtype(__import__("pyarrow").string())),
        "size": lambda v: v.astype(pd.ArrowDtype(__import__("pyarrow").float64())),
    },
    "words": {
        "size": lambda v: v.map(lambda n: None if np.isnan(n) else f"{n:.1f}").astype(object),
        "sold": lambda v: v.map({True: "true", False: "false"}),
        "day": lambda v: v.dt.strftime("%Y-%m-%d"),
    },
    "decimals and dates": {
        "size": lambda v: v.map(lambda n: None if np.isnan(n) else Decimal(f"{n:.1f}")).astype(
            object
        ),
        "day": lambda v: v.map(lambda t: t.date()).astype(object),
        "sold": lambda v: v.astype("boolean"),
    },
    "nullable numbers": {"size": lambda v: v.astype("Float64")},
}


@pytest.mark.slow
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_same_content_says_the_same_whatever_holds_it(fitted, spelling):
    other = X.assign(**{name: change(X[name]) for name, change in SPELLINGS[spelling].items()})
    again = TabSTARPreprocessor(fitted.template).fit(other, Y)
    same(again.transform(other, Y), fitted.transform(X, Y))
    same(fitted.transform(other, Y), fitted.transform(X, Y))
    same(again.transform(X, Y), fitted.transform(X, Y))


def test_one_category_has_one_name():
    training = pd.DataFrame({"code": ["1", "2", "x", "1"] * 3})
    fitted = TabSTARPreprocessor().fit(training, Y[:12])
    for value in ("1", 1, 1.0, "1.0"):
        table = fitted.transform(pd.DataFrame({"code": pd.Series([value], dtype=object)}))
        assert table.texts()[0, 0].endswith("Feature Value: 1")


def test_unseen_categories_and_texts_speak_for_themselves(fitted):
    new = X.iloc[:2].assign(colour=["violet", " "], note=["", "\u202eabc\u202c"])
    texts = fitted.transform(new).texts()
    assert texts[0, 0].endswith("violet")
    assert texts[1, 0].endswith("Unknown Value")
    assert [text.rpartition(": ")[2] for text in texts[:, -1]] == [
        "Unknown Value",
        "\u202eabc\u202c",
    ]


def test_long_texts_are_cells_like_others(fitted):
    table = fitted.transform(X.iloc[:2].assign(note=["x" * 1_000_000, "y"]))
    assert len(table.texts()[0, -1]) > 1_000_000


def test_missing_values_may_stand_anywhere(fitted):
    table = fitted.transform(pd.DataFrame(None, index=range(2), columns=list(X), dtype=object))
    assert np.isfinite(table.numbers).all()
    assert set(table.cells[0]) == set(table.cells[1])


def test_a_word_in_a_column_of_numbers_is_told_and_missing(fitted):
    odd = X.assign(size=X["size"].astype(object).where(X.index != 3, "big"))
    with pytest.warns(UserWarning, match=r"'size': 1 of 20 values.*'big'"):
        table = fitted.transform(odd)
    expected = fitted.transform(X.assign(size=X["size"].where(X.index != 3)))
    same(table, expected)


@pytest.mark.parametrize("column", ["size", "day"])
def test_a_column_of_words_where_there_were_none_is_refused_by_name(fitted, column):
    with pytest.raises(ValueError, match=rf"column '{column}' held (numbers|dates).*'big'"):
        fitted.transform(X.assign(**{column: "big"}))


def test_numbers_with_commas_are_read_as_at_fit():
    training = pd.DataFrame({"price": ["1,5", "2,25", "3,125", "10,75"] * 3})
    fitted = TabSTARPreprocessor().fit(training, Y[:12])
    alone = fitted.transform(pd.DataFrame({"price": ["3,125"]}))
    assert alone.numbers[0, 0, 0] == pytest.approx(
        (3.125 - 4.40625) / np.std([1.5, 2.25, 3.125, 10.75]), rel=1e-5
    )


def test_constant_columns_are_left_out_but_gaps_are_not():
    table = pd.DataFrame(
        {"a": [1.0] * 4, "b": ["x"] * 4, "c": [1.0, np.nan] * 2, "d": ["x", None] * 2}
    )
    assert TabSTARPreprocessor().fit_transform(table, Y[:4]).columns == ("c", "d")
    assert TabSTARPreprocessor().fit_transform(table[["a"]], Y[:4]).cells.shape == (4, 0)


def test_kinds_may_be_settled():
    table = pd.DataFrame({"code": [1, 2, 3, 4] * 3})
    told = TabSTARPreprocessor(kinds={"code": "categorical"}).fit_transform(table, Y[:12])
    assert told.texts()[0, 0].endswith("Feature Value: 1")
    with pytest.raises(ValueError, match="no column 'codes'"):
        TabSTARPreprocessor(kinds={"codes": "text"}).fit(table, Y[:12])


@pytest.mark.slow
@pytest.mark.parametrize(
    "y", [Y, PRICES, pd.Series([True, False] * 10), pd.Series([2, 0, 1, 0] * 5)]
)
def test_a_saved_preprocessor_says_the_same(fitted, tmp_path, y):
    fitted.fit(X, y)
    fitted.save(tmp_path / "p.json")
    loaded = TabSTARPreprocessor.load(tmp_path / "p.json")
    same(loaded.transform(X, y), fitted.transform(X, y))
    np.testing.assert_array_equal(loaded.transform(X, y).y, fitted.transform(X, y).y)
    assert loaded.target_.task == fitted.target_.task


@pytest.mark.parametrize(
    "change", [lambda t: t[:-40], lambda t: "[]", lambda t: t.replace('"mean"', '"m"')]
)
def test_a_damaged_file_is_told(fitted, tmp_path, change):
    path = tmp_path / "p.json"
    fitted.save(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"p\.json holds no preprocessor"):
        TabSTARPreprocessor.load(path)


def test_bad_input_is_told(fitted):
    cases = [
        (lambda: fitted.transform(X, Y.replace("no", "perhaps")), "class 'perhaps'"),
        (lambda: fitted.fit(X, Y.where(Y == "no")), "10 of 20 targets are missing"),
        (lambda: fitted.fit(X, Y[:3]), "20 rows, but 3 targets"),
        (lambda: fitted.fit(X[:0], Y[:0]), "no rows"),
        (lambda: fitted.fit(X.assign(size=np.inf), Y), "'size' contains infinity"),
        (lambda: fitted.transform(X.assign(size=np.inf)), "'size' contains infinity"),
        (lambda: fitted.fit(pd.concat([X, X], axis=1), Y), "more than one column 'colour'"),
        (lambda: fitted.set_params(template="v2").fit(X, Y), "Choose one of v1, v1.1"),
        (lambda: TabSTARPreprocessor(task="regression").fit(X, Y), "no finite numbers"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_dates_tell_their_parts():
    times = [datetime.datetime(2024, 2, 29, 13, 30), datetime.datetime(1969, 12, 31, 0, 0)]
    table = TabSTARPreprocessor("v1.1").fit_transform(pd.DataFrame({"t": times}), [0, 1])
    assert table.columns == tuple(
        f"t_{part}" for part in ("year", "month", "day", "weekday", "hour", "total_seconds")
    )
    later = TabSTARPreprocessor().fit_transform(pd.DataFrame({"t": times}), [0, 1])
    said = [text.rpartition(": ")[2] for text in later.texts()[1]]
    assert said[0].startswith("1969 to ")
    assert said[3].startswith("3 to ")  # a Wednesday
