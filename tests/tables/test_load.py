"""Tables come in whole, and what is wrong with a source is said with the choices."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from openpfn.tables.load import BUNDLED, load, names_in, read_table


@pytest.mark.parametrize(
    ("name", "shape", "n_classes"),
    [
        ("iris", (150, 4), 3),
        ("wine", (178, 13), 3),
        ("breast_cancer", (569, 30), 2),
        ("digits", (1797, 64), 10),
        ("digits_3_8_9", (537, 64), 3),
    ],
)
def test_bundled_tables(name, shape, n_classes):
    table = load(name)
    assert (table.name, table.X.shape, table.y.nunique(), len(table.y)) == (
        name,
        shape,
        n_classes,
        shape[0],
    )
    assert name in BUNDLED


def test_a_bundled_table_keeps_to_its_target():
    assert load("wine", "target").y.nunique() == 3
    with pytest.raises(ValueError, match="wine is 'target', not 'colour'"):
        load("wine", "colour")


def test_digits_keep_their_labels():
    assert set(load("digits_3_8_9").y) == {3, 8, 9}


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
def test_a_text_file_is_split_into_columns_and_target(tmp_path, suffix, separator):
    path = tmp_path / f"some{suffix}"
    path.write_text("a|b|y\n1|NA|yes\n2.5|none|\n|x|no\n".replace("|", separator), encoding="utf-8")
    table = load(path, target="y")
    assert_frame_equal(
        table.X, pd.DataFrame({"a": [1, np.nan], "b": ["NA", "x"]}), check_dtype=False
    )
    assert table.y.tolist() == ["yes", "no"]


def test_parquet_keeps_its_types(tmp_path):
    frame = pd.DataFrame(
        {"a": [1, 2], "when": pd.to_datetime(["2020-01-01", "2021-01-01"]), "y": [True, False]}
    )
    frame.to_parquet(tmp_path / "some.parquet")
    table = load(tmp_path / "some.parquet", "y")
    assert table.X["when"].dtype.kind == "M"
    assert table.y.tolist() == [True, False]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "first.csv").write_text(
        "size,kind,target\n1,7,3.5\n2,8,\n3,,1.5\n", encoding="utf-8"
    )
    (tmp_path / "second.csv").write_text("size,target\n1,3\n2,4\n", encoding="utf-8")
    types = {"size": "numeric", "kind": "categorical"}
    index = [
        {
            "name": "first",
            "file": "first.csv",
            "target": "target",
            "task": "regression",
            "types": types,
        },
        {"name": "second", "file": "second.csv", "target": "target"},
    ]
    (tmp_path / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("source", ["first", "first.csv"])
def test_a_table_of_a_folder_knows_its_target_task_and_kinds(suite, source):
    table = load(suite / source)
    assert (table.name, table.task, dict(table.kinds)) == (
        "first",
        "regression",
        {"size": "numeric", "kind": "categorical"},
    )
    assert table.y.tolist() == [3.5, 1.5]
    assert table.X["size"].tolist() == [1.0, 3.0]
    assert table.X["kind"][0] == "7"


def test_a_kind_that_there_is_not_is_told(suite):
    index = suite / "index.json"
    index.write_text(
        index.read_text(encoding="utf-8").replace("numeric", "number"), encoding="utf-8"
    )
    with pytest.raises(
        ValueError, match=r"says 'number' for column 'size'\. Choose one of numeric, categorical"
    ):
        load(suite / "first")


def test_a_folder_lists_its_tables(suite):
    assert names_in(suite) == ["first", "second"]
    assert load(f"{suite}/second").y.tolist() == ["3", "4"]


def test_wrong_sources_are_told_with_close_matches(suite):
    for source, error, message in [
        ("wyne.csv", FileNotFoundError, "Did you mean the bundled table wine"),
        ("wyne", ValueError, "is none of .csv, .tsv, .parquet.*iris, wine"),
        (suite / "frist", ValueError, "holds no table 'frist'. Did you mean 'first'"),
        (suite / "zzz", ValueError, "Choose one of first, second"),
        (suite, ValueError, "is a folder.*: first, second"),
    ]:
        with pytest.raises(error, match=message):
            load(source)
    (suite / "index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*second.csv"):
        load(suite / "secnd.csv")
    with pytest.raises(FileNotFoundError, match=r"no index.json"):
        names_in(suite)


def test_wrong_targets_are_told_with_close_matches(suite):
    with pytest.raises(ValueError, match=r"has no column 'tagret'\. Did you mean 'target'"):
        load(suite / "second.csv", "tagret")
    (suite / "index.json").unlink()
    with pytest.raises(ValueError, match="The columns are size, target"):
        load(suite / "second.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n", "holds no rows"),
        (b"a\n\xff\xfe\n", "not a table of UTF-8 text"),
        (b"a,b\n1\n1,2,3\n", "not a table"),
    ],
)
def test_broken_files_are_told(tmp_path, content, message):
    path = tmp_path / "some.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_a_target_without_values_is_told(tmp_path):
    (tmp_path / "some.csv").write_text("a,y\n1,\n2,\n", encoding="utf-8")
    with pytest.raises(ValueError, match="column 'y' of some holds no values"):
        load(tmp_path / "some.csv", "y")
