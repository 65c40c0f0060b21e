"""Summary of a run: one line per method, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from openpfn.benchmark.metrics import CLASSIFICATION, REGRESSION, SMALLER_IS_BETTER
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.report import statistics

METRICS = {"classification": CLASSIFICATION, "regression": REGRESSION}
"""Metrics of each task, the one that methods are ranked by first."""
TITLES = {
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "log_loss": "log-loss",
    "brier": "Brier",
    "calibration_error": "calib. error",
    "r2": "R²",
    "mae": "MAE / σ",
    "crps": "CRPS / σ",
}


def parts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The (task, context size) pairs in `rows`, small contexts first."""
    found = rows[["task", "context"]].drop_duplicates().itertuples(index=False)
    return sorted(
        ((str(task), str(context)) for task, context in found),
        key=lambda pair: (pair[0], *_size(pair[1])),
    )


def _size(context: str) -> tuple[bool, int]:
    return (not context.isdigit(), int(context) if context.isdigit() else 0)


def part(rows: pd.DataFrame, task: str, context: str) -> pd.DataFrame:
    """The rows of one task and context size whose tables count in means."""
    return rows.loc[(rows["task"] == task) & (rows["context"] == context) & rows["counted"]]


def summary(rows: pd.DataFrame, task: str, context: str) -> pd.DataFrame:
    """One row per method, best mean rank first; the floor, which does not compete, is last and has
    no rank.

    Columns: `rank`, `wins`, `low` and `high` (of the first metric's mean), METRIC and METRIC_error
    for each metric, `fit_seconds`, `predict_seconds` (medians), `peak_mib` (maximum), `n_failed`,
    `n_tables`.
    """
    rows = part(rows, task, context)
    main = METRICS[task][0]
    values = statistics.scores(rows, main)
    families: Any = rows.drop_duplicates("table").set_index("table")["family"]
    out = statistics.bootstrap_interval(values, families)
    rivals = values.drop(columns=FLOOR, errors="ignore")
    out["rank"], out["wins"] = (
        statistics.ranks(rivals, main).mean(),
        statistics.win_rates(rivals, main),
    )
    for metric in METRICS[task]:
        out[[metric, f"{metric}_error"]] = statistics.mean_and_error(
            statistics.scores(rows, metric)
        )
    by_method = rows.assign(label=statistics.label(rows)).groupby("label")
    out["fit_seconds"], out["predict_seconds"] = (
        by_method["fit_seconds"].median(),
        by_method["predict_seconds"].median(),
    )
    out["peak_mib"] = by_method["peak_mib"].max()
    out["n_failed"] = by_method["status"].agg(lambda status: int((status != "ok").sum()))
    out["n_tables"] = len(values)
    return out.sort_values("rank")


def n_tables_of(found: pd.DataFrame) -> int:
    """Return the number of tables that a summary is over."""
    return int(found["n_tables"].to_numpy().max()) if len(found) else 0


def best_scores(found: pd.DataFrame, metrics: Sequence[str]) -> dict[str, float]:
    """The best mean of each metric among the methods that compete."""
    rivals = found.drop(index=FLOOR, errors="ignore")
    return {m: rivals[m].min() if m in SMALLER_IS_BETTER else rivals[m].max() for m in metrics}


def summary_tables(rows: pd.DataFrame) -> list[Table]:
    """`summary` of each task and context size, for the terminal."""
    return [
        _table(summary(rows, task, context), task, context)
        for task, context in parts(rows)
        if len(part(rows, task, context))
    ]


def _table(found: pd.DataFrame, task: str, context: str) -> Table:
    n_tables = n_tables_of(found)
    size = "half the rows" if context == "half" else f"{context} rows"
    caption = (
        f"{task}, {n_tables} tables, context {size}: means (± standard error over tables), best"
        " mean rank first"
    )
    out = Table(title=caption, title_justify="left", box=box.SIMPLE_HEAD)
    out.add_column("method", no_wrap=True)
    metrics = [
        m for m in METRICS[task] if m not in ("balanced_accuracy", "brier")
    ]  # the report has them all
    for name in (*(TITLES[m] for m in metrics), "rank", "wins", "fit s", "predict s", "failed"):
        out.add_column(name, justify="right", no_wrap=True)
    best = best_scores(found, metrics)
    facts: dict[Any, dict[Any, Any]] = found.to_dict("index")
    for name, row in facts.items():
        cells = [
            _bold(
                f"{row[m]:.3f}" + (_error(row[m + "_error"]) if m == metrics[0] else ""),
                bool(row[m] == best[m]),
            )
            for m in metrics
        ]
        times = [_seconds(row["fit_seconds"]), _seconds(row["predict_seconds"])]
        place = ["", ""] if np.isnan(row["rank"]) else [f"{row['rank']:.2f}", f"{row['wins']:.0%}"]
        out.add_row(
            str(name), *cells, *place, *times, str(int(row["n_failed"])) if row["n_failed"] else ""
        )
    return out


def _error(value: float) -> str:
    return "" if np.isnan(value) else f" ± {value:.3f}"


def _bold(text: str, best: bool) -> str:
    return f"[bold]{text}[/bold]" if best else text


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}" if value < 1 else f"{value:.1f}"
