"""A table is read from and written to the format that a file's name says."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from openpfn.tables import file_format
from openpfn.tables.read_file import read_table
from openpfn.tables.write_file import check_format, write_table

WORDS = ["t.csv", "t.tsv", "t.csv.gz", "t.CSV.GZ", "t.tsv.bz2", "t.csv.xz", "t.zip", "t.csv.zip"]


def table() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.5, np.nan, 3.0], "b": ["x", "ä,\n", None], "c": [1, 2, 3]})


@pytest.mark.parametrize("name", WORDS)
def test_words_come_back_from_any_compression(tmp_path, name):
    write_table(tmp_path / name, table())
    found = read_table(tmp_path / name)
    assert found["a"].tolist()[::2] == ["1.5", "3.0"]
    assert found["b"].tolist()[:2] == ["x", "ä,\n"]
    assert found["c"].tolist() == ["1", "2", "3"]
    assert found.isna().sum().tolist() == [1, 1, 0]


def test_parquet_keeps_types(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, table())
    pd.testing.assert_frame_equal(read_table(path), table())


@pytest.mark.extras
def test_excel_keeps_types(tmp_path):
    path = tmp_path / "t.xlsx"
    day = pd.Series(pd.to_datetime(["2020-01-01", "2021-02-03", None]))
    write_table(path, table().assign(day=day, zoned=day.dt.tz_localize("Europe/Paris")))
    found = read_table(path)
    assert found["c"].tolist() == [1, 2, 3]
    assert found["a"].dtype == float
    assert found["day"].iloc[1] == pd.Timestamp("2021-02-03")
    assert found["zoned"].iloc[1] == pd.Timestamp("2021-02-02 23:00")
    path.write_bytes(b"no sheet")
    with pytest.raises(ValueError, match="is not an Excel file"):
        read_table(path)


def test_without_openpyxl_excel_files_are_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(file_format.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"pip install 'openpfn\[excel\]'"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match="needs the package openpyxl"):
        check_format(tmp_path / "t.xlsx")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.csv.zip"])
def test_what_is_not_compressed_as_its_name_says_is_told(tmp_path, name):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not a whole"):
        read_table(tmp_path / name)


def test_a_cut_off_file_is_told(tmp_path):
    path = tmp_path / "t.csv.gz"
    rows = "\n".join(f"{i},{i * i}" for i in range(2000))
    path.write_bytes(gzip.compress(f"a,b\n{rows}\n".encode())[:-2000])
    with pytest.raises(ValueError, match="is not a whole gzip file"):
        read_table(path)


def test_an_archive_of_several_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "b\n1\n")
    with pytest.raises(ValueError, match="holds 2 files, must hold one table"):
        read_table(tmp_path / "t.zip")


@pytest.mark.parametrize("name", ["t.json", "t.parquet.gz", "t.xls", "t"])
def test_names_of_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is none of"):
        read_table(tmp_path / name)


def test_too_many_rows_for_a_sheet_are_refused(tmp_path):
    with pytest.raises(ValueError, match="an Excel sheet holds 1,048,575"):
        write_table(tmp_path / "t.xlsx", pd.DataFrame({"a": np.zeros(2**20)}))
