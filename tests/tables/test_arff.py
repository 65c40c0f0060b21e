"""ARFF files: every form that Weka writes, and clear errors for others."""

from __future__ import annotations

import pytest

from openpfn.tables.load import load, read_table

TEXT = """% A comment
@RELATION 'small things'
@attribute 'its colour' {red, 'dark blue', "it's"}
@Attribute size REAL
@ATTRIBUTE note string
@attribute count integer
@data

red, 1.5, 'a, b \\'c\\'', 3
'dark blue',?,"line\\nbreak",?
% another
"it's" , -2e3, ?, 4
"""


def written(tmp_path, text):
    path = tmp_path / "small.arff"
    path.write_text(text, encoding="utf-8")
    return path


def test_quotes_gaps_and_types_are_read(tmp_path):
    table = read_table(written(tmp_path, TEXT))
    assert table["its colour"].tolist() == ["red", "dark blue", "it's"]
    assert list(table["its colour"].cat.categories) == ["red", "dark blue", "it's"]
    assert table["size"].fillna(0).tolist() == [1.5, 0, -2000]
    assert table["note"].tolist() == ["a, b 'c'", "line\nbreak", None]
    assert table["count"].isna().tolist() == [False, True, False]


def test_a_sparse_file_fills_in_zeros_and_first_categories(tmp_path):
    text = (
        "@relation s\n@attribute a numeric\n@attribute b {x,y}\n@attribute c numeric\n@data\n"
        "{0 1, 1 y}\n{}\n{2 ?}\n"
    )
    table = read_table(written(tmp_path, text))
    assert table["a"].tolist() == [1, 0, 0]
    assert table["b"].tolist() == ["y", "x", "x"]
    assert table["c"].isna().tolist() == [False, False, True]


def test_a_target_is_chosen_as_in_any_file(tmp_path):
    table = load(written(tmp_path, TEXT), "its colour")
    assert (list(table.X), list(table.y)) == (
        ["size", "note", "count"],
        ["red", "dark blue", "it's"],
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("red, 1.5, ", "red, 1.5, 7, ", "line 9 has 5 values, but there are 4 attributes"),
        ("'dark blue',?", "'pale',?", "has the value 'pale', which it does not declare"),
        ("-2e3", "big", "'size' holds no number"),
        ("size REAL", "size relational", "'size' has the type 'relational'"),
        ("note string", "size string", "more than one attribute is called 'size'"),
        ("@data", "", "no line @data"),
        ('"line', "'line", "a quote is not closed"),
    ],
)
def test_what_is_no_arff_is_told_with_the_file_and_place(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=rf"small\.arff is not an ARFF file: .*{message}"):
        read_table(written(tmp_path, TEXT.replace(old, new)))
