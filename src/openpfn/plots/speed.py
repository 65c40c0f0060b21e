"""Speed as horizontal bars: a panel per shape, a bar per subject, whiskers over the quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

OURS, PEER = "#4477AA", "#BBBBBB"
MOST_LINEAR = 12
"""Panels whose values differ by more than this factor get a logarithmic axis."""


def save_bars(path: Path, shapes: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw `bars` for each of `shapes` (rows by shape) below each other and write them to
    `path`."""
    heights = [0.9 + 0.32 * len(rows) for rows in shapes.values()]
    figure = Figure(figsize=(8.5, sum(heights)), layout="constrained", facecolor="white")
    panels = figure.subplots(len(shapes), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (shape, rows) in zip(panels, shapes.items(), strict=True):
        bars(ax, rows, title=shape)
    # no date: the same results give the same file
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def bars(ax: Axes, rows: Sequence[Mapping[str, Any]], title: str = "") -> Axes:
    """A bar per row (`subject`, `median`, `low`, `high`, `unit`), the first on top; ours are
    blue."""
    medians = [row["median"] for row in rows]
    whiskers = [
        [max(0.0, row["median"] - row["low"]) for row in rows],
        [max(0.0, row["high"] - row["median"]) for row in rows],
    ]
    colors = [OURS if row["subject"].startswith("openpfn") else PEER for row in rows]
    places = range(len(rows))[::-1]
    ax.barh(
        places,
        medians,
        xerr=whiskers,
        color=colors,
        height=0.7,
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#444444"},
    )
    ax.set_yticks(list(places), [row["subject"] for row in rows])
    if min(medians) > 0 and max(medians) > MOST_LINEAR * min(medians):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlim(left=min(medians) / 2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    better = "higher" if rows[0]["higher_is_better"] else "lower"
    ax.set_xlabel(f"{rows[0]['unit']} ({better} is better)")
    ax.set_title(title, loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
