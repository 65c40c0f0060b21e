"""Summary of a run: one line per method, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from openpfn.benchmark.metrics import CLASSIFICATION, COVERAGE, REGRESSION, SMALLER_IS_BETTER
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.report import statistics
from openpfn.benchmark.tables.results import ADDED

METRICS = {"classification": CLASSIFICATION, "regression": REGRESSION}
"""Metrics of each task, the one that methods are ranked by first."""
RANKED = {"classification": ("roc_auc",), "regression": ("rmse", "crps")}
"""Metrics of each task whose ranks are told, the one that orders the methods first."""
IN_THE_PAGE_ALONE = ("balanced_accuracy", "brier", "mae")
"""Metrics that the terminal has no room for."""
TITLES = {
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "log_loss": "log-loss",
    "brier": "Brier",
    "calibration_error": "calib. error",
    "rmse": "RMSE / σ",
    "r2": "R²",
    "mae": "MAE / σ",
    "crps": "CRPS / σ",
    "coverage": f"{COVERAGE:.0%} coverage",
    "width": f"{COVERAGE:.0%} width / σ",
}


def metrics_of(rows: pd.DataFrame, task: str) -> list[str]:
    """The metrics of `task`, without those that `rows` of an older version lack."""
    rows = rows[rows["task"] == task]
    return [m for m in METRICS[task] if m not in ADDED or rows[m].notna().any()]


def ranked(rows: pd.DataFrame, task: str) -> list[str]:
    """The metrics of `task` that methods are ranked by; the first orders them."""
    return [m for m in RANKED[task] if m in metrics_of(rows, task)]


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

    Columns: `rank` and `wins` by the first metric, METRIC_rank for each other that methods are
    ranked by, `low` and `high` (of the first metric's mean), METRIC and METRIC_error for each
    metric, `fit_seconds`, `predict_seconds` (medians), `peak_mib` (maximum), `n_failed`,
    `n_tables`.
    """
    metrics, (main, *others) = metrics_of(rows, task), ranked(rows, task)
    rows = part(rows, task, context)
    values = statistics.scores(rows, main)
    families: Any = rows.drop_duplicates("table").set_index("table")["family"]
    out = statistics.bootstrap_interval(values, families)
    rivals = values.drop(columns=FLOOR, errors="ignore")
    out["rank"], out["wins"] = (
        statistics.ranks(rivals, main).mean(),
        statistics.win_rates(rivals, main),
    )
    for metric in others:
        rivals = statistics.scores(rows, metric).drop(columns=FLOOR, errors="ignore")
        out[f"{metric}_rank"] = statistics.ranks(rivals, metric).mean()
    for metric in metrics:
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
    """The best mean of each metric among the methods that compete.

    The best coverage is the nearest to what was asked for. No width is best: a narrow interval is
    good only where it covers.
    """
    rivals = found.drop(index=FLOOR, errors="ignore")
    return {m: best_of(rivals[m], m) for m in metrics}


def best_of(values: pd.Series, metric: str) -> float:
    """The best of one metric's values, NaN where none is."""
    if metric == "width" or values.isna().all():
        return float("nan")
    if metric == "coverage":
        return float(values[(values - COVERAGE).abs().idxmin()])
    return float(values.min() if metric in SMALLER_IS_BETTER else values.max())


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
    metrics = [m for m in METRICS[task] if m in found and m not in IN_THE_PAGE_ALONE]
    also_ranked = [m for m in RANKED[task] if f"{m}_rank" in found]
    ranks = ["rank", *(f"rank in {m.upper()}" for m in also_ranked)]
    for name in (*(TITLES[m] for m in metrics), *ranks, "wins", "fit s", "predict s", "failed"):
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
        place = [f"{row[r]:.2f}" for r in ("rank", *(f"{m}_rank" for m in also_ranked))]
        place.append(f"{row['wins']:.0%}")
        out.add_row(
            str(name),
            *cells,
            *([""] * len(place) if np.isnan(row["rank"]) else place),
            *times,
            str(int(row["n_failed"])) if row["n_failed"] else "",
        )
    return out


def _error(value: float) -> str:
    return "" if np.isnan(value) else f" ± {value:.3f}"


def _bold(text: str, best: bool) -> str:
    return f"[bold]{text}[/bold]" if best else text


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}" if value < 1 else f"{value:.1f}"
