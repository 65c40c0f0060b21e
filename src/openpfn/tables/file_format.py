"""What the name of a table's file says: its format, and how it is compressed."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
"""How a CSV or TSV file is compressed, by the end of its name."""
SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx", ".arff")
"""Formats of files that are read."""
WORDS = (".csv", ".tsv")
"""Formats that may be compressed."""


def format_of(path: Path) -> tuple[str, str | None]:
    """Return the format, as a suffix in small letters, and the compression or None.

    A compressed file without another suffix is taken for CSV.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression is None:
        return (suffixes[-1] if suffixes else ""), None
    inner = suffixes[-2] if len(suffixes) > 1 else ""
    return (inner if inner in (*SUFFIXES, ".json", ".xls", ".feather") else ".csv"), compression


def is_table_file(path: Path) -> bool:
    """Return whether a file of that name can be read as a table."""
    kind, compression = format_of(path)
    return kind in (SUFFIXES if compression is None else WORDS)


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a CSV or TSV file, compressed or not. Raises ValueError where it is not compressed as
    its name says, or is cut off."""
    method = format_of(path)[1]
    try:
        if method is None:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
            return
        with _decompressed(path, method) as content:
            yield io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole {method} file: {error}.") from error
    except OSError as error:
        if method == "bz2" and error.errno is None:
            raise ValueError(f"{path} is not a whole bz2 file: {error}.") from error
        raise


@contextmanager
def _decompressed(path: Path, method: str) -> Iterator[Any]:
    if method != "zip":
        opener: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[method]
        with opener(path, "rb") as content:
            yield content
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise ValueError(
                f"{path} holds {len(names)} files, must hold one table. Unpack it, and name the one"
                " that is meant."
            )
        with archive.open(names[0]) as content:
            yield content


def require_excel(path: Path) -> None:
    """Raise ValueError where the package for Excel files is missing."""
    if importlib.util.find_spec("openpyxl") is None:
        raise ValueError(
            f"{path} is an Excel file, which needs the package openpyxl. Install it with"
            " pip install 'openpfn[excel]', or save the table as CSV."
        )
