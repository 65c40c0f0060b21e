"""A file is read with each value in its own column, or refused."""

from __future__ import annotations

import pytest

from openpfn.tables.read_file import read_table


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2,\n3,4,\n",
        "a,b\n1,2,,\n3,4\n",
        "a,b\n1,2\n3,4,\n",
        "a,b,\n1,2,\n3,4,\n",
        "a,b, \n1,2\n3,4\n",
        "\n\na,b\n1,2\n3,4\n",
        'a,b\n"1",2,\n\n3,"4",""\n',
    ],
)
def test_empty_fields_at_the_end_shift_no_column(tmp_path, content):
    path = tmp_path / "some.csv"
    for separator in ",;":
        path.write_text(content.replace(",", separator), encoding="utf-8")
        assert read_table(path).to_dict("list") == {"a": ["1", "3"], "b": ["2", "4"]}


def test_values_beyond_the_header_are_refused(tmp_path):
    path = tmp_path / "some.csv"
    for content in ("a,b\n1,2,9\n", "a,b\n1,2\n3,4,9\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"header names 2 columns, but row . has 3 values"):
            read_table(path)


def test_a_repeated_name_is_refused(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,b,a\n1,2,3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="more than one column 'a'"):
        read_table(path)


def test_unnamed_columns_stay_where_they_hold_values(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text(",a,\n0,1,\n1,3,\n", encoding="utf-8")
    assert read_table(path).columns.tolist() == ["Unnamed: 0", "a"]


def test_broken_parquet_is_told(tmp_path):
    (tmp_path / "some.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="is not a parquet file"):
        read_table(tmp_path / "some.parquet")
