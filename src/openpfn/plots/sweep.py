"""The picture of a sweep: how a figure went in each run, and where it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from openpfn.plots.history import COLORS, FAINT, GRID

MOST_NAMED = 40
"""Runs whose names are written; of more, the bars stand close."""


def sweep_figure(
    courses: Mapping[str, Sequence[tuple[float, float]]],
    finals: Mapping[str, float],
    metric: str,
) -> Figure:
    """The course of `metric` in each run (name → points of step and value), and its last value, in
    the order of `finals`; runs without one have no bar."""
    shown = {name: value for name, value in finals.items() if math.isfinite(value)}
    height = 1.6 + 0.26 * min(MOST_NAMED, max(6, len(shown)))
    figure = Figure(figsize=(12.5, height), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    color_of = dict(zip(courses, COLORS * (1 + len(courses) // len(COLORS)), strict=False))
    for name, points in courses.items():
        if points:
            steps, values = zip(*points, strict=True)
            left.plot(steps, values, color=color_of[name], linewidth=1.1, label=name)
    left.set_xlabel("step", color=FAINT)
    left.set_title(metric, loc="left", fontsize=10)
    places = range(len(shown))
    right.barh(
        list(places), list(shown.values()), color=[color_of.get(name, FAINT) for name in shown]
    )
    right.set_yticks(list(places), list(shown), fontsize=7)
    if len(shown) > MOST_NAMED:
        right.set_yticks([])
    right.invert_yaxis()
    right.set_title(f"last {metric}, the best first", loc="left", fontsize=10)
    for axes in (left, right):
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
