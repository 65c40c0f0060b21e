"""Read one file of a table as it stands: CSV, TSV, parquet, Excel or ARFF."""

from __future__ import annotations

import csv
import difflib
import zipfile
from collections.abc import Hashable, Iterable
from pathlib import Path

import pandas as pd

from openpfn.tables.arff import read_arff
from openpfn.tables.bundled import BUNDLED
from openpfn.tables.file_format import (
    COMPRESSIONS,
    SUFFIXES,
    format_of,
    is_table_file,
    opened,
    require_excel,
)

__all__ = ["SUFFIXES", "read_table", "require_columns", "shortened"]


def read_table(path: str | Path) -> pd.DataFrame:
    """Return the file as it is: every value of a CSV or TSV is a word, empty fields are missing.

    CSV and TSV files may be compressed (.gz, .bz2, .xz, .zip); of an Excel file the first sheet
    is read. Columns without name and values are left out. Raises FileNotFoundError (with close
    matches) if there is no such file and ValueError if it cannot be read, holds no rows or repeats
    a name.
    """
    path = Path(path)
    if not is_table_file(path):
        raise ValueError(
            f"{path} is none of {', '.join(SUFFIXES)}, nor .csv or .tsv with one of"
            f" {', '.join(COMPRESSIONS)}. Convert it, or name one of the bundled"
            f" tables: {', '.join(BUNDLED)}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.{_close_files(path)}")
    readers = {".parquet": _read_parquet, ".xlsx": _read_excel, ".arff": read_arff}
    table = readers.get(format_of(path)[0], _read_words)(path)
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"{path} has more than one column {repeated[0]!r}. Rename one of them.")
    if table.empty:
        raise ValueError(f"{path} holds no rows.")
    return table


def require_columns(table: pd.DataFrame, wanted: Iterable[Hashable], where: str | Path) -> None:
    """Raise ValueError, with close matches, unless `table` has all `wanted` columns."""
    missing = [name for name in wanted if name not in table.columns]
    if not missing:
        return
    known = [str(name) for name in table.columns]
    close = difflib.get_close_matches(str(missing[0]), known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Its columns are {shortened(known)}."
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    raise ValueError(f"{where} has no column {missing[0]!r}{more}. {hint}")


def shortened(names: list[str], most: int = 30) -> str:
    """Return the names with commas, and the number of those beyond `most`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        table = pd.read_parquet(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a parquet file: {error}") from error
    return table.set_axis(table.columns.map(str), axis=1)


def _read_excel(path: Path) -> pd.DataFrame:
    """Return the first sheet: numbers, dates, truth values and words as they are typed."""
    require_excel(path)
    try:
        table = pd.read_excel(path, engine="openpyxl", keep_default_na=False, na_values=[""])
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an Excel file: {error}") from error
    table = table.set_axis(table.columns.map(str), axis=1)
    named = ~table.columns.str.match(r"Unnamed: \d+$")
    return table.loc[:, named | table.notna().any().to_numpy()]


def _read_words(path: Path) -> pd.DataFrame:
    try:
        separator, header = _header(path)
        table = _whole_rows(path, separator, len(header))
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty.") from None
    except (UnicodeDecodeError, csv.Error, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is not a table of UTF-8 text: {error}".strip()) from None
    named = [name if name.strip() else f"Unnamed: {i}" for i, name in enumerate(header)]
    kept = [i for i, name in enumerate(header) if name.strip() or bool(table[i].notna().any())]
    return table[kept].set_axis(pd.Index([named[i] for i in kept]), axis=1)


def _whole_rows(path: Path, separator: str, n_columns: int) -> pd.DataFrame:
    """Return the words below the header, with the columns numbered."""
    try:
        with opened(path) as file:
            table = pd.read_csv(
                file if format_of(path)[1] else path,
                sep=separator,
                header=0,
                names=range(n_columns),
                dtype=str,
                # "NA" or "none" may be a category: only the empty field is missing here, the
                # column's kind decides about the rest
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig",
            )
    except pd.errors.ParserError:  # a row is longer than those above
        return _longer_rows(path, separator, n_columns)
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first fields for row names
        return _longer_rows(path, separator, n_columns)
    return table


def _longer_rows(path: Path, separator: str, n_columns: int) -> pd.DataFrame:
    """Return the words of a file whose rows are longer than its header, by empty fields alone."""
    words: list[list[str | None]] = []
    limit = csv.field_size_limit(2**31 - 1)
    try:
        with opened(path) as file:
            rows = (row for row in csv.reader(file, delimiter=separator) if row)
            next(rows)
            for row in rows:
                if any(row[n_columns:]):
                    raise ValueError(
                        f"{path} is not a table: its header names {n_columns} columns, but row"
                        f" {len(words) + 1} has {len(row)} values. Correct the file, or quote"
                        f" values that contain {separator!r}."
                    )
                padded = [word or None for word in row[:n_columns]]
                words.append(padded + [None] * (n_columns - len(padded)))
    finally:
        csv.field_size_limit(limit)
    return pd.DataFrame(words, columns=range(n_columns), dtype="str")


def _header(path: Path) -> tuple[str, list[str]]:
    """Return the separator and the names of the columns."""
    with opened(path) as file:
        line = next((line for line in file if line.strip()), "")
    if not line:
        raise pd.errors.EmptyDataError
    separator = "\t" if format_of(path)[0] == ".tsv" else _separator(line)
    with opened(path) as file:
        rows = csv.reader(file, delimiter=separator)
        return separator, next(row for row in rows if "".join(row).strip() or len(row) > 1)


def _separator(header: str) -> str:
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t|").delimiter
    except csv.Error:  # a single column
        return ","


def _close_files(path: Path) -> str:
    folder = path.parent
    known = sorted(p.name for p in folder.iterdir() if is_table_file(p)) if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, known, n=1)
    if close:
        return f" Did you mean {folder / close[0]}?"
    bundled = difflib.get_close_matches(path.stem, BUNDLED, n=1)
    return f" Did you mean the bundled table {bundled[0]}?" if bundled else ""
