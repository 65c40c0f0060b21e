"""One run of a sweep: what is asked of it, and the figures that its folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpfn.configs.sweep import SweepRun
from openpfn.files import write_whole
from openpfn.jobs.base import called
from openpfn.training.tracking.history import read_rows

RESULT = "result.json"
FIGURES = ("step", "tasks", "seconds", "loss", "eval_loss", "eval_accuracy", "eval_auc", "eval_mse")
"""Columns of a history that are figures of a run."""


@dataclass(frozen=True)
class RunOrder:
    """One run to do, or to go on with."""

    function: str
    run: SweepRun
    folder: Path
    n_threads: int


def do_run(
    order: RunOrder,
    tell: Callable[[float], None],
    tell_row: Callable[[Mapping[str, float]], None] = lambda row: None,
) -> dict[str, float]:
    """Do one run, and return its last figures, which its folder then holds."""
    order.folder.mkdir(parents=True, exist_ok=True)
    options = dict(order.run.options)
    options.setdefault("n-threads", order.n_threads)
    figures = called(order.function)(options, order.folder, tell_row)
    known = {name: value for name, value in dict(figures).items() if _is_number(value)}
    write_whole(order.folder / RESULT, json.dumps(known) + "\n")
    return known


def stopped_early(order: RunOrder) -> None:
    """Note that a run has ended before its last step, for good."""
    figures = last_row(order.folder)
    write_whole(order.folder / RESULT, json.dumps(figures | {"stopped_early": 1}) + "\n")


def figures_of(folder: Path) -> dict[str, float]:
    """Return the figures of a run that has ended in `folder`."""
    return json.loads((folder / RESULT).read_text(encoding="utf-8"))


def last_row(folder: Path) -> dict[str, float]:
    """Return the last figures in the history of a run; none before it has one."""
    history = folder / "history.csv"
    rows = read_rows(history) if history.is_file() else []
    return last_figures(rows)


def last_figures(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the last value of each of `FIGURES` that the rows of a history know."""
    found: dict[str, float] = {}
    for row in rows:
        found |= {name: row[name] for name in FIGURES if _is_number(row.get(name))}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
