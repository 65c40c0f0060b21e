"""`History`: the table of a run's figures, in memory and in a CSV that survives a crash."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pandas as pd

from openpfn.files import flush_to_disk, replacing

COLUMNS = (
    "step",
    "seconds",
    "tasks",
    "loss",
    "grad_norm",
    "learning_rate",
    "tasks_per_second",
    "wait_share",
    "nan_losses",
    "peak_megabytes",
    "eval_loss",
    "eval_accuracy",
    "eval_auc",
    "eval_mse",
    "eval_r2",
)
"""Steps done; training seconds without evaluations and checkpoints; tasks seen; means since the
last row of the loss (nats) and the gradient norm; the last rate; the last rows' speed; share of the
time spent waiting for tasks; non-finite losses so far; the most memory used so far, of the CUDA
device or else of the process, in MB; and the evaluation's figures where this row has one.
`eval_loss` is in nats, but of networks that read text it is 1 − the mean of AUC and R²."""


class History:
    """Rows of `COLUMNS`, appended one by one to `path` (None keeps them in memory only)."""

    def __init__(self, path: Path | None, rows: list[dict[str, float]] | None = None) -> None:
        self.rows = rows or []
        self._file: IO[str] | None = None
        if path is not None:
            self._start_file(path)

    def append(self, row: Mapping[str, float]) -> None:
        full = {name: float(row.get(name, math.nan)) for name in COLUMNS}
        self.rows.append(full)
        if self._file is not None:
            self._file.write(_line(full))
            self._file.flush()

    def flush_to_disk(self) -> None:
        """Make sure that the rows so far survive a power cut, before a checkpoint that counts on
        them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table; counts are integers."""
        table = pd.DataFrame(self.rows, columns=list(COLUMNS))
        return table.astype(dict.fromkeys(_COUNTS, int))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start_file(self, path: Path) -> None:
        """Write the rows kept so far to a new file, put it in place at once, and go on appending to
        it."""
        with replacing(path) as unfinished:
            unfinished.write_text(
                ",".join(COLUMNS) + "\n" + "".join(map(_line, self.rows)),
                encoding="utf-8",
                newline="",
            )
            flush_to_disk(unfinished)
        self._file = path.open("a", encoding="utf-8", newline="")


def read_rows(path: Path, last_step: float = math.inf) -> list[dict[str, float]]:
    """Return the whole rows of a history file up to `last_step`; a line cut short by a crash is
    left out."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(line for line in file if line.endswith("\n"))
        header = next(lines, [])
        if "step" not in header:
            raise ValueError(
                f"{path} is no training history: it begins with {','.join(header)[:80]!r}, wanted"
                f" {','.join(COLUMNS)}."
            )
        rows = [
            dict(zip(header, map(_number, line), strict=True))
            for line in lines
            if len(line) == len(header)
        ]
    return [row for row in rows if row["step"] <= last_step]


_COUNTS = ("step", "tasks", "nan_losses")


def _line(row: Mapping[str, float]) -> str:
    known = (
        (name, row.get(name, math.nan)) for name in COLUMNS
    )  # a row of an older version lacks newer columns
    return (
        ",".join(
            "" if math.isnan(value) else repr(int(value) if name in _COUNTS else value)
            for name, value in known
        )
        + "\n"
    )


def _number(text: str) -> float:
    return float(text) if text else math.nan
