"""Suites: which tables there are, which are chosen, and how they arrive."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.suites import Entry, choose, entries, load_table


def names(source, **options):
    return [e.name for e in choose(source, TablesConfig(**options))]


def test_the_bundled_suite_has_classes_and_numbers():
    found = {e.name: e for e in entries("bundled")}
    assert {"iris", "wine", "breast_cancer", "digits"} <= set(found)
    assert found["diabetes"].task == "regression"
    loaded = load_table("bundled", "diabetes")
    assert loaded.X.shape == (442, 10)
    assert loaded.n_classes == 0
    assert load_table("bundled", "wine").n_classes == 3


def test_tables_are_chosen_by_tag_task_and_name(folder):
    source = str(folder)
    assert names(source) == ["visits", "words", "numbers", "iris"]
    assert names(source, only=("small",)) == ["visits", "numbers", "iris"]
    assert names(source, only=("mixed",)) == ["words"]
    assert names(source, task="regression") == ["numbers"]
    assert names(source, tables=("iris", "visits")) == ["visits", "iris"]


def test_the_halves_part_the_tables_and_families_stay_together(folder):
    a, b = ({e.name for e in choose("bundled", TablesConfig(half=half))} for half in "AB")
    assert a | b == {e.name for e in entries("bundled")}
    assert not a & b
    assert {"digits", "digits_3_8_9"} <= a or {"digits", "digits_3_8_9"} <= b
    halves = [Entry("x", f"family {i}", "classification").half for i in range(400)]
    assert 150 < halves.count("A") < 250


def test_what_scikit_learn_bundles_does_not_count_in_a_folder(folder):
    assert {e.name: e.counted for e in entries(str(folder))} == {
        "visits": True,
        "words": True,
        "numbers": True,
        "iris": False,
    }
    assert all(e.counted for e in entries("bundled"))


def test_columns_arrive_in_the_dtype_of_their_kind(folder):
    X = load_table(str(folder), "words").X
    assert isinstance(X["colour"].dtype, pd.CategoricalDtype)
    assert pd.api.types.is_float_dtype(X["size"])
    assert pd.api.types.is_datetime64_any_dtype(X["seen"])
    assert X["size"].isna().sum() > 0


def test_the_column_of_groups_is_not_shown(folder):
    loaded = load_table(str(folder), "visits")
    assert list(loaded.X.columns) == ["a"]
    assert loaded.groups is not None
    assert len(np.unique(loaded.groups)) == 30


def test_the_hash_is_of_the_values(folder):
    before = load_table(str(folder), "numbers").sha256
    load_table.cache_clear()
    assert load_table(str(folder), "numbers").sha256 == before
    frame = pd.read_csv(folder / "numbers.csv")
    frame.loc[3, "u"] += 1e-6
    frame.to_csv(folder / "numbers.csv", index=False)
    load_table.cache_clear()
    assert load_table(str(folder), "numbers").sha256 != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": ("visit",)}, "Did you mean 'visits'"),
        ({"only": ("tiny",)}, "no table of .* has the tag 'tiny'.*mixed, small"),
        ({"only": ("mixed",), "task": "regression"}, "no table of .* is left"),
    ],
)
def test_what_cannot_be_chosen_is_told_with_the_choices(folder, options, message):
    with pytest.raises(ValueError, match=message):
        choose(str(folder), TablesConfig(**options))


def test_a_suite_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no suite"):
        entries("nowhere")
    with pytest.raises(FileNotFoundError, match=r"no index\.json"):
        entries(str(tmp_path))


def test_families_that_a_network_was_trained_on_are_left_out(folder, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"tables": [{"name": "x", "family": "words"}, {"family": "elsewhere"}]}')
    source = str(folder)
    assert set(names(source)) - set(names(source, without=manifest)) == {"words"}
    manifest.write_text('{"tables": []}')
    with pytest.raises(ValueError, match="names no family"):
        names(source, without=manifest)
