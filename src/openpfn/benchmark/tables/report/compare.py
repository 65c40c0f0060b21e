"""Changes between two results files, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark import page
from openpfn.benchmark.metrics import SMALLER_IS_BETTER
from openpfn.benchmark.page import Field, Line
from openpfn.benchmark.tables.report import statistics
from openpfn.benchmark.tables.report.summary import METRICS, TITLES

N_LISTED = 10
"""Tables that changed most, listed."""
COMPARED = ("roc_auc", "log_loss", "rmse", "crps")
"""Metrics whose change is shown."""


def changes(now: pd.DataFrame, before: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`before`, `now` and `change` of each table and method in both: means over the splits and
    context sizes that both have."""
    key = ["table", "label", "context", "split"]
    columns = [*key, "score", "data_sha256", "method_version", "checkpoint_sha256"]
    both = statistics.filled(now, metric)[columns].merge(
        statistics.filled(before, metric)[columns], on=key, suffixes=("_now", "_before")
    )
    both = both[(both["data_sha256_now"] == both["data_sha256_before"])].dropna(
        subset=["score_now", "score_before"]
    )
    found = both.groupby(["table", "label"], as_index=False)[["score_before", "score_now"]].mean()
    found = found.rename(columns={"score_before": "before", "score_now": "now"})
    return found.assign(change=found["now"] - found["before"])


def section(now: pd.DataFrame, before: pd.DataFrame) -> str:
    """HTML: change of each method's means with a test, tables that changed most, and methods that
    came, went or have new versions."""
    pieces = [page.prose(_news(now, before))]
    for metric in COMPARED:
        found = changes(now, before, metric)
        if not found.empty:
            better = "smaller" if metric in SMALLER_IS_BETTER else "larger"
            pieces.append(page.subheading(f"{TITLES[metric]} ({better} is better)"))
            pieces.append(_by_method(found, metric))
            if metric in {metrics[0] for metrics in METRICS.values()}:
                pieces.append(_most_changed(found, metric))
    if len(pieces) == 1:
        pieces.append(page.prose("No cell was measured in both."))
    return "".join(pieces)


def _by_method(found: pd.DataFrame, metric: str) -> str:
    from scipy.stats import wilcoxon

    lines = []
    for name, group in found.groupby("label"):
        change = group["change"].to_numpy(dtype=float)
        moved = np.abs(change) > statistics.TIE
        better = change < 0 if metric in SMALLER_IS_BETTER else change > 0
        p: Any = wilcoxon(change.round(9)).pvalue if moved.any() else 1.0
        error = f"± {change.std(ddof=1) / np.sqrt(len(change)):.4f}" if len(change) > 1 else ""
        counts = (
            f"{int((moved & better).sum())} / {int((moved & ~better).sum())} /"
            f" {int((~moved).sum())}"
        )
        fields = [
            Field(str(name)),
            Field(f"{group['before'].mean():.4f}"),
            Field(f"{group['now'].mean():.4f}"),
        ]
        worse = (change.mean() > 0) == (metric in SMALLER_IS_BETTER)
        fields += [
            Field(f"{change.mean():+.4f}", error, "bad" if moved.any() and worse else ""),
            Field(counts),
            Field(f"{p:.2g}"),
        ]
        lines.append(Line(fields))
    return page.table(
        ["method", "before", "now", "change", "tables better / worse / same", "Wilcoxon p"], lines
    )


def _most_changed(found: pd.DataFrame, metric: str) -> str:
    moved = found[found["change"].abs() > statistics.TIE]
    if moved.empty:
        return ""
    moved = moved.reindex(moved["change"].abs().sort_values(ascending=False).index).head(N_LISTED)
    lines = []
    for row in moved.to_dict("records"):
        worse = (row["change"] > 0) == (metric in SMALLER_IS_BETTER)
        change = Field(f"{row['change']:+.4f}", style="bad" if worse else "")
        lines.append(
            Line(
                [
                    Field(row["table"]),
                    Field(row["label"], style="words"),
                    Field(f"{row['before']:.4f}"),
                    Field(f"{row['now']:.4f}"),
                    change,
                ]
            )
        )
    return page.folded(
        "Tables that changed most",
        page.table(["table", "method", "before", "now", "change"], lines),
    )


def _news(now: pd.DataFrame, before: pd.DataFrame) -> str:
    then, today = _versions(before), _versions(now)
    words = [f"{len(set(then) & set(today))} methods are in both files."]
    for title, names in (
        ("New", set(today) - set(then)),
        ("No longer there", set(then) - set(today)),
    ):
        if names:
            words.append(f"{title}: {', '.join(sorted(names))}.")
    for name in sorted(set(then) & set(today)):
        if then[name] != today[name]:
            words.append(f"{name}: {then[name]} → {today[name]}.")
    key = ["table"]
    data = (
        now[[*key, "data_sha256"]]
        .dropna()
        .drop_duplicates()
        .merge(before[[*key, "data_sha256"]].dropna().drop_duplicates(), on=key)
    )
    changed = sorted(set(data.loc[data["data_sha256_x"] != data["data_sha256_y"], "table"]))
    if changed:
        words.append(
            "The data of these tables changed, so that their figures cannot be compared:"
            f" {', '.join(changed)}."
        )
    return " ".join(words)


def _versions(rows: pd.DataFrame) -> dict[str, str]:
    """Return the package and weights of each method."""
    newest = rows.assign(label=statistics.label(rows)).drop_duplicates("label", keep="last")
    return {row["label"]: _version(row) for row in newest.to_dict("records")}


def _version(row: dict[str, Any]) -> str:
    sha256 = row["checkpoint_sha256"]
    weights = f" {sha256[:12]}" if isinstance(sha256, str) else ""
    return f"{row['method_version']}{weights}"
