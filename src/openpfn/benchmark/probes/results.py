"""The results file of a run of probes: a CSV to which whole rows are appended; and their means."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.methods import BASELINES, OPTIMAL
from openpfn.benchmark.probes.table import VERSION
from openpfn.benchmark.tables.results import append_line, csv_line, cut_unfinished_line

NAME = "results.csv"
CELL = ("structure", "kind", "width", "rows")
PROTOCOL = ("task", "query", "version")
"""Columns that are one value throughout a file: rows of different protocols cannot be compared."""
KEY = (*CELL, "seed", "method", "checkpoint_sha256")
"""Columns that tell rows apart: of two equal rows the later one counts."""
COLUMNS = (
    *CELL,
    "seed",
    "method",
    "status",
    "roc_auc",
    "log_loss",
    "r2",
    "cpu_seconds",
    "error",
    *PROTOCOL,
    "method_version",
    "checkpoint_sha256",
)
METRIC = {"classification": "roc_auc", "regression": "r2"}
"""The score by which methods are compared; larger is better."""
NUMBERS = ("width", "rows", "seed", "query", "version")
SCORES = ("roc_auc", "log_loss", "r2", "cpu_seconds")


class ResultsFile:
    """Appends rows to the results in `folder`, which are whole whenever the process ends.

    Raises ValueError where they were measured under another protocol.
    """

    def __init__(self, folder: Path, config: ProbesConfig) -> None:
        self.path = folder / NAME
        folder.mkdir(parents=True, exist_ok=True)
        if not self.path.is_file():
            append_line(self.path, csv_line(COLUMNS))
        cut_unfinished_line(self.path)
        wanted = {"task": config.task, "query": config.query, "version": VERSION}
        rows = read(folder)
        for name in PROTOCOL:
            others = set(rows[name].astype(str)) - {str(wanted[name])}
            if others:
                raise ValueError(
                    f"{self.path} holds results with {name} {others.pop()}, now {name} is"
                    f" {wanted[name]}. Choose another --out."
                )

    def append(self, row: Mapping[str, Any]) -> None:
        """Add `row`; columns that it lacks stay empty."""
        filled = {**row, "version": VERSION}
        append_line(self.path, csv_line([filled.get(name, "") for name in COLUMNS]))


def read(folder: Path) -> pd.DataFrame:
    """The rows of the results in `folder`, the later of equal ones. Raises ValueError for a file
    that is none of ours."""
    path = folder / NAME
    content = path.read_bytes()
    text = io.BytesIO(content[: content.rfind(b"\n") + 1])
    try:
        rows = pd.read_csv(
            text,
            keep_default_na=False,
            na_values={name: [""] for name in SCORES},
            dtype={name: str for name in COLUMNS if name not in (*NUMBERS, *SCORES)},
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no table of results ({error}). Choose another --out."
        ) from error
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}: openpfn benchmark probes did not write it."
            " Choose another --out."
        )
    return rows.drop_duplicates(list(KEY), keep="last").reset_index(drop=True)


def summary(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """One row per cell and method: `mean` and `error` (standard error over seeds) of the task's
    score, `log_loss`, `n_seeds`, and `baseline`, the better mean of the two baselines, with
    `difference` to it and its `difference_error`, taken seed by seed.

    A method's seeds are those on which it did not fail; a cell that lacks a baseline has no
    difference.
    """
    metric = METRIC[task]
    rows = rows[rows["status"] == "ok"].drop_duplicates([*CELL, "seed", "method"], keep="last")
    found = []
    for key, cell in rows.groupby(list(CELL), sort=False):
        wide = cell.pivot_table(index="seed", columns="method", values=metric)
        known = [name for name in BASELINES[task] if name in wide]
        better = wide[known].mean().idxmax() if len(known) == len(BASELINES[task]) else None
        losses = cell.groupby("method")["log_loss"].mean()
        for name in wide.columns:
            scores = wide[name].dropna()
            line = dict(zip(CELL, key, strict=True)) | {
                "method": name,
                "mean": scores.mean(),
                "error": scores.sem(),
                "log_loss": losses[name],
                "n_seeds": len(scores),
            }
            if better is not None:
                paired = (wide[name] - wide[better]).dropna()
                line |= {
                    "baseline": wide[better].mean(),
                    "better": better,
                    "difference": paired.mean(),
                    "difference_error": paired.sem(),
                }
            found.append(line)
    columns = [*CELL, "method", "mean", "error", "log_loss", "n_seeds"]
    columns += ["better", "baseline", "difference", "difference_error"]
    return pd.DataFrame(found, columns=columns)


def verdicts(found: pd.DataFrame, task: str, margin: float) -> pd.DataFrame:
    """One row per method that is no baseline: in how many of its `n_cells` it is `behind` the
    better baseline by more than `margin`, and its mean `difference`."""
    rivals = found[~found["method"].isin([*BASELINES[task], OPTIMAL])].dropna(subset=["difference"])
    lines = [
        {
            "method": name,
            "behind": int((cells["difference"] < -margin).sum()),
            "n_cells": len(cells),
            "difference": cells["difference"].mean(),
        }
        for name, cells in rivals.groupby("method", sort=False)
    ]
    return pd.DataFrame(lines, columns=["method", "behind", "n_cells", "difference"])
