"""The results file: one tidy CSV to which rows are appended as they are measured, readable after a
crash."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

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
    "r2",
    "mae",
    "crps",
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
    """Appends rows to the file at `path`; each row is one line, written whole and flushed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        repair(path)
        if not path.exists() or path.stat().st_size == 0:
            self._write(_line(COLUMNS))

    def append(self, row: Mapping[str, Any]) -> None:
        """Add `row`; columns that it lacks stay empty."""
        unknown = row.keys() - set(COLUMNS)
        assert not unknown, f"results have no column {unknown}"
        self._write(_line([_word(row.get(name, "")) for name in COLUMNS]))

    def _write(self, line: str) -> None:
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def repair(path: Path) -> bool:
    """Cut off a last line that was not written to its end. True if there was one."""
    if not path.exists():
        return False
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole == len(content):
            return False
        file.truncate(whole)
    return True


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
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            rows = pd.read_csv(
                io.BytesIO(whole), dtype=_WORDS, keep_default_na=False, na_values=[""]
            )  # type: ignore[arg-type]
        except pd.errors.EmptyDataError:
            rows = pd.DataFrame(columns=list(COLUMNS))
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: it is no results file of this version. Give one"
            " by openpfn benchmark."
        )
    rows["counted"] = rows["counted"].astype(str) == "True"
    return rows.drop_duplicates(list(KEY), keep="last").reset_index(drop=True)


def require_protocol(rows: pd.DataFrame, wanted: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError if `rows` were measured under another protocol."""
    for name in PROTOCOL:
        others = set(rows[name].dropna().astype(str)) - {str(wanted[name])}
        if others:
            raise ValueError(
                f"{path} holds results with {name} {others.pop()}, now {name} is {wanted[name]}."
                " Choose another --out."
            )


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, default=str)
    if isinstance(value, float):
        return "" if value != value else f"{value:.8g}"
    return " ".join(str(value).split())  # an error's line breaks would break the file's lines


def _line(words: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(words)
    return text.getvalue()
