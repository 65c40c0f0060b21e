"""Tables of a corpus as sentences and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn.text.verbalize import TabSTARPreprocessor


@pytest.mark.parametrize("template", ["v1", "v1.1"])
def test_a_table_is_verbalized_by_its_training_rows_alone(built, template):
    rows = np.arange(2, 20)
    table, raw = built.verbalized("homes", template, rows), built.table("homes")
    expected = TabSTARPreprocessor(template, task="regression").fit(
        raw.X.iloc[rows], raw.y.iloc[rows], target_name="price"
    )
    np.testing.assert_array_equal(table.numbers, expected.transform(raw.X).numbers)
    assert table.texts().tolist() == expected.transform(raw.X).texts().tolist()
    assert (table.y[rows].mean(), table.y[rows].std()) == pytest.approx((0, 1), abs=1e-6)
    assert table.y.std() > 1.1


def test_all_classes_are_there_also_where_training_rows_lack_some(built):
    table = built.verbalized("weather", training_rows=np.array([0, 3]))
    assert table.target_texts() == [
        "Target Feature: play\nFeature Value: no",
        "Target Feature: play\nFeature Value: yes",
    ]
    assert table.y.tolist() == [0, 1, 1, 0, 1, 0] * 4


def test_some_rows_are_a_table(built):
    table = built.verbalized("weather")
    chosen = np.array([5, 0])
    assert table.rows(chosen).texts().tolist() == table.texts()[chosen].tolist()
    assert table.rows(chosen).y.tolist() == [0, 0]


def test_an_unknown_table_is_told_with_the_choices(built):
    with pytest.raises(ValueError, match=r"holds no table 'x'\. It holds homes, weather"):
        built.table("x")
