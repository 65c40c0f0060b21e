"""Write a table to one file, in the format that its name says, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.files import replacing
from openpfn.tables.file_format import COMPRESSIONS, format_of, require_excel

OTHER_FORMATS = frozenset(
    ".feather .arrow .arff .json .jsonl .xls .xlsm .ods .h5 .hdf5 .pkl .npy .npz .zst .lz4 .7z .rar"
    " .tar .tgz".split()
)
"""Ends of names that promise what is not written."""
MOST_EXCEL_ROWS = 2**20 - 1
"""Rows of a sheet below its header."""


def check_format(path: Path) -> None:
    """Raise ValueError where the name of `path` promises a format that is not written."""
    kind, compression = format_of(path)
    if path.suffix.lower() in OTHER_FORMATS or (
        compression is not None and kind not in (".csv", ".tsv")
    ):
        raise ValueError(
            f"{path} names a format that is not written. Choose a name that ends in .csv, .tsv,"
            f" .parquet, .xlsx, or .csv with one of {', '.join(COMPRESSIONS)}."
        )
    if kind == ".xlsx":
        require_excel(path)


def write_table(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Write `table` to `path`, atomically: no half-written file is ever there.

    The name decides: parquet, Excel (.xlsx), TSV, else CSV, these two compressed where it ends in
    .gz, .bz2, .xz or .zip. Numbers are written with all their digits, or in words as `float_format`
    says.

    Raises OSError, naming `path`, where there is no room.
    """
    kind, _ = format_of(path)
    if kind == ".xlsx" and len(table) > MOST_EXCEL_ROWS:
        raise ValueError(
            f"{path} would have {len(table):,} rows, but an Excel sheet holds {MOST_EXCEL_ROWS:,}."
            " Write CSV or parquet."
        )
    try:
        with replacing(path) as unfinished:
            if kind == ".parquet":
                named = table.set_axis(table.columns.map(str), axis=1)
                named.to_parquet(unfinished, index=False)
            elif kind == ".xlsx":
                with unfinished.open("wb") as file:
                    _without_zones(table).to_excel(file, index=False, engine="openpyxl")
            else:
                _write_words(unfinished, table, path, float_format)
    except IsADirectoryError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Make room, or choose another name."
        ) from error


def _write_words(
    unfinished: Path, table: pd.DataFrame, path: Path, float_format: str | None
) -> None:
    kind, method = format_of(path)
    compression: Any = method and {"method": method}
    if method == "zip":
        compression["archive_name"] = path.stem if "." in path.stem else f"{path.stem}.csv"
    if method == "gzip":
        compression["mtime"] = 0  # the same table is the same bytes
    table.to_csv(
        unfinished,
        index=False,
        float_format=float_format,
        sep="\t" if kind == ".tsv" else ",",
        compression=compression,
    )


def _without_zones(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with times in UTC: Excel knows no zones."""
    zoned = [name for name in table.columns if isinstance(table[name].dtype, pd.DatetimeTZDtype)]
    table = table.copy()
    for name in zoned:
        table[name] = table[name].dt.tz_convert(None)
    return table
