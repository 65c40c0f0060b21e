"""The results file: one tidy CSV to which rows are appended as they are measured, readable after a
crash."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.files import replacing

NAME = "results.csv"
PROTOCOL = ("suite", "seed", "max_query", "max_half")
"""Columns that are one value throughout a file: rows of different protocols cannot be compared."""
KEY = ("table", "method", "tuned", "context", "split")
"""Columns that tell the rows of a report apart: of two equal rows the later one counts."""
COLUMNS = (
    "suite",
    "table",
    "family",
    "half",
    "counted",
    "task",
    "method",
    "tuned",
    "context",
    "split",
    "status",
    "n_context",
    "n_query",
    "n_features",
    "n_classes",
    "roc_auc",
    "accuracy",
    "balanced_accuracy",
    "log_loss",
    "brier",
    "calibration_error",
    "rmse",
    "crps",
    "mae",
    "r2",
    "coverage",
    "width",
    "target_std",
    "fit_seconds",
    "predict_seconds",
    "cpu_seconds",
    "tune_seconds",
    "n_candidates",
    "peak_mib",
    "calibration",
    "options",
    "error",
    "seed",
    "max_query",
    "max_half",
    "device",
    "data_sha256",
    "checkpoint_sha256",
    "method_version",
    "openpfn",
    "python",
    "scikit_learn",
    "numpy",
    "torch",
    "started",
)
"""Columns of the file, in order."""
ADDED = ("rmse", "coverage", "width")
"""Columns that older files lack; they are empty there."""
_WORDS = dict.fromkeys(
    [
        *(
            "suite",
            "table",
            "family",
            "half",
            "task",
            "method",
            "tuned",
            "context",
            "status",
            "error",
            "options",
            "calibration",
        ),
        *(
            "device",
            "data_sha256",
            "checkpoint_sha256",
            "method_version",
            "openpfn",
            "python",
            "scikit_learn",
            "numpy",
            "torch",
            "started",
        ),
    ],
    "string",
)


class ResultsFile:
    """Appends rows to the file at `path`: each row is one line, whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        repair(path)
        _give_columns(path)
        if not path.exists() or path.stat().st_size == 0:
            append_line(path, csv_line(COLUMNS))

    def append(self, row: Mapping[str, Any]) -> None:
        """Add `row`; columns that it lacks stay empty."""
        unknown = row.keys() - set(COLUMNS)
        assert not unknown, f"results have no column {unknown}"
        append_line(self.path, csv_line([row.get(name, "") for name in COLUMNS]))


def append_line(path: Path, line: str) -> None:
    """Put `line` at the end of the file at `path`: it is there whole, or not at all."""
    with path.open("ab", buffering=0) as file:
        size, left = file.tell(), memoryview(line.encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException:  # a full disk takes a part of a line, and Ctrl-C comes any time
            file.truncate(size)
            raise


def csv_line(values: Iterable[Any]) -> str:
    """Return the line of a CSV file that holds `values`; NaN is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_word(value) for value in values])
    return text.getvalue()


def repair(path: Path) -> bool:
    """Take out of a results file the lines that are not whole, and all but the last of those that
    measure one cell with the same weights. True if there were any."""
    if not path.exists():
        return False
    content = path.read_bytes()
    whole = cut_unfinished_line(path)
    kept = _newest(_whole_lines(content))
    if len(kept) < whole:
        with replacing(path) as unfinished:
            unfinished.write_bytes(kept)
    return len(kept) < len(content)


def cut_unfinished_line(path: Path) -> int:
    """Take the line that a crash cut off out of the file at `path`; return the bytes left. This
    needs no room on the disk."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    return whole


def read(source: Path) -> pd.DataFrame:
    """The rows of a results file (or of the one in a folder), the later of equal ones. Raises
    FileNotFoundError or ValueError."""
    path = source / NAME if source.is_dir() else source
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no results at {path}. Run openpfn benchmark tables --out {source} first."
        )
    if path.suffix == ".parquet":
        rows = pd.read_parquet(path)
    else:
        whole = b"".join(line for line, _ in _whole_lines(path.read_bytes()))
        try:
            rows = pd.read_csv(
                io.BytesIO(whole), dtype=_WORDS, keep_default_na=False, na_values=[""]
            )  # type: ignore[arg-type]
        except pd.errors.EmptyDataError:
            rows = pd.DataFrame(columns=list(COLUMNS))
    rows = rows.assign(**{name: float("nan") for name in ADDED if name not in rows.columns})
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: it is no results file of this version. Give one"
            " by openpfn benchmark."
        )
    rows["counted"] = rows["counted"].astype(str) == "True"
    return rows.drop_duplicates(list(KEY), keep="last").reset_index(drop=True)


def unfinished(rows: pd.DataFrame) -> pd.Series:
    """True for rows of numbers that an older version measured without what it did not know."""
    is_of_numbers = (rows["task"] == "regression") & (rows["status"] == "ok")
    return is_of_numbers & rows["rmse"].isna()


def require_protocol(rows: pd.DataFrame, wanted: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError if `rows` were measured under another protocol."""
    for name in PROTOCOL:
        others = set(rows[name].dropna().astype(str)) - {str(wanted[name])}
        if others:
            raise ValueError(
                f"{path} holds results with {name} {others.pop()}, now {name} is {wanted[name]}."
                " Choose another --out."
            )


def _give_columns(path: Path) -> None:
    """Write an older file once more, with the columns `ADDED` since."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    columns = next(csv.reader(lines[:1]), [])
    if not set(COLUMNS) - set(ADDED) <= set(columns) or tuple(columns) == COLUMNS:
        return
    rows = csv.DictReader(lines)
    text = csv_line(COLUMNS) + "".join(
        csv_line([row.get(name, "") for name in COLUMNS]) for row in rows
    )
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def _whole_lines(content: bytes) -> list[tuple[bytes, tuple[str, ...]]]:
    """The header and each line that holds a whole row, with the cell that it measures.

    Every line of a file that is none of ours is given: its columns are not known.
    """
    head, *lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True) or [b""]
    columns = _words(head)
    if not {*KEY, "status"} <= set(columns):
        return [(line, ()) for line in (head, *lines)]
    kept: list[tuple[bytes, tuple[str, ...]]] = [(head, ())]
    for line in lines:
        row = dict(zip(columns, words := _words(line), strict=False))
        is_whole = len(words) == len(columns) and row["split"].isdigit()
        if is_whole and row["status"] in ("ok", "failed") and all(row[name] for name in KEY):
            cell = (*(row[name] for name in KEY), row.get("checkpoint_sha256", ""))
            kept.append((line, cell))
    return kept


def _newest(lines: list[tuple[bytes, tuple[str, ...]]]) -> bytes:
    """The lines without those whose cell a later one measures too."""
    last = {cell: number for number, (_, cell) in enumerate(lines)}
    return b"".join(
        line for number, (line, cell) in enumerate(lines) if not cell or last[cell] == number
    )


def _words(line: bytes) -> list[str]:
    """The fields of one line; none if it is not text, or holds a byte that no line of ours has."""
    try:
        return next(csv.reader([line.decode()]), []) if b"\0" not in line else []
    except (UnicodeDecodeError, csv.Error):
        return []


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, default=str)
    if isinstance(value, float):
        return "" if value != value else f"{value:.8g}"
    return " ".join(str(value).split())  # an error's line breaks would break the file's lines
