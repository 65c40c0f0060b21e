"""Page of a benchmark of text: each of our networks against each peer, per metric and half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from openpfn.benchmark.metrics import SMALLER_IS_BETTER
from openpfn.benchmark.page import markdown
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.peers import PEERS
from openpfn.benchmark.tables.report.statistics import TIE, label, scores
from openpfn.benchmark.tables.report.summary import TITLES
from openpfn.files import write_whole

METRICS = {"classification": ("roc_auc", "log_loss"), "regression": ("r2",)}
"""Metrics of each task, each told on its own."""
HALVES = ("A", "B")
"""Halves of the suite: choices are made on A, figures are those of B."""


def comparisons(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per metric, half, method of ours and peer.

    Columns: `metric`, `half`, `ours`, `peer`, `n_tables`, `at_least` (share of the tables on which
    our mean over splits is at least as good) and `difference` (mean of how much better ours is).
    """
    found = []
    for task, metrics in METRICS.items():
        of_task = rows[(rows["task"] == task) & (rows["status"].notna())]
        for metric in metrics if len(of_task) else ():
            for half in HALVES:
                of_half = of_task[of_task["half"] == half]
                found += _pairs(of_half, metric, half)
    columns = ["metric", "half", "ours", "peer", "n_tables", "at_least", "difference"]
    return pd.DataFrame(found, columns=columns)


def _pairs(rows: pd.DataFrame, metric: str, half: str) -> list[tuple]:
    if not len(rows):
        return []
    values = scores(rows, metric)
    sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
    peers = [name for name in values if _is_peer(str(name)) and name != FLOOR]
    out = []
    for ours in (name for name in values if not _is_peer(str(name))):
        for peer in peers:
            ahead = sign * (values[ours] - values[peer])
            share, mean = float((ahead >= -TIE).mean()), float(ahead.mean())
            out.append((metric, half, ours, peer, len(values), share, mean))
    return out


def _is_peer(name: str) -> bool:
    return name.partition(" ")[0] in PEERS


def report_lines(rows: pd.DataFrame) -> list[str]:
    """Return the page in Markdown: comparisons, every table's scores, and seconds per table."""
    lines = ["# Tables with text", ""]
    splits = sorted(rows["split"].unique())
    lines += [
        f"{rows['table'].nunique()} tables, {len(splits)} splits each. Half A is for choices, half"
        " B for figures. A method that failed counts as the constant prediction.",
        "",
        "| metric | half | ours | peer | tables | at least as good | mean difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in comparisons(rows).itertuples(index=False):
        lines.append(
            f"| {TITLES[str(row.metric)]} | {row.half} | {row.ours} | {row.peer} | {row.n_tables} |"
            f" {row.at_least:.0%} | {row.difference:+.4f} |"
        )
    for task, metrics in METRICS.items():
        for metric in metrics:
            of_task = rows[rows["task"] == task]
            if len(of_task):
                lines += ["", f"## {TITLES[metric]}", "", *_table(of_task, metric)]
    return [*lines, "", "## Seconds to fit and predict", "", *_seconds(rows), ""]


def _table(rows: pd.DataFrame, metric: str) -> list[str]:
    values = scores(rows, metric)
    halves = rows.drop_duplicates("table").set_index("table")["half"]
    names = [f"{table} ({halves[table]})" for table in values.index]
    return _markdown(values.set_axis(names), "{:.4f}")


def _seconds(rows: pd.DataFrame) -> list[str]:
    rows = rows.assign(label=label(rows), seconds=rows["fit_seconds"] + rows["predict_seconds"])
    rows = rows[rows["status"] == "ok"]
    return _markdown(rows.pivot_table(index="table", columns="label", values="seconds"), "{:.1f}")


def _markdown(values: pd.DataFrame, form: str) -> list[str]:
    lines = [["table", *map(str, values.columns)]]
    for name, row in values.iterrows():
        cells = ["" if np.isnan(value) else form.format(value) for value in row.to_numpy(float)]
        lines.append([str(name), *cells])
    return markdown(lines).splitlines()


def write_report(rows: pd.DataFrame, path: Path) -> Path:
    """Write the page to `path` and return it."""
    write_whole(path, "\n".join(report_lines(rows)))
    return path
