"""The picture of training runs: how loss and accuracy went, against steps, time or tasks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#c8452f", "#2f6f8f", "#4c6b1f", "#8e2f6b", "#e08a2e", "#55606a")
FAINT, GRID = "#6d747c", "#e3e6e9"

Run = Mapping[str, Float[np.ndarray, " rows"]]
"""A run's history: column name → values, NaN where a row has none."""


def history_figure(
    runs: Mapping[str, Run], against: str = "step", label: str = "step", log: bool = False
) -> Figure:
    """Loss of each run (name → history) and, where it was evaluated, accuracy, against the column
    `against`."""
    quantities = [
        name
        for name in ("loss", "eval_accuracy")
        if any(np.isfinite(run[name]).any() for run in runs.values())
    ]
    figure = Figure(
        figsize=(6.2 * max(1, len(quantities)), 4.2),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    titles = {
        "loss": "loss in nats (faint: training, dots: evaluation)",
        "eval_accuracy": "accuracy of the evaluations",
    }
    for axes, quantity in zip(
        figure.subplots(1, max(1, len(quantities)), squeeze=False)[0], quantities, strict=False
    ):
        for color, (name, run) in zip(COLORS * len(runs), runs.items(), strict=False):
            if quantity == "loss":
                loss_curves(axes, run[against], run["loss"], run["eval_loss"], name, color)
            else:
                evaluation_curve(axes, run[against], run[quantity], name, color)
        axes.set_title(titles[quantity], loc="left", fontsize=10)
        axes.set_xlabel(label, color=FAINT, fontsize=9)
        if log:
            axes.set_xscale("log")
    figure.axes[0].legend(frameon=False, fontsize=9)
    return figure


def loss_curves(
    axes: Axes,
    x: Float[np.ndarray, " rows"],
    loss: Float[np.ndarray, " rows"],
    eval_loss: Float[np.ndarray, " rows"],
    name: str,
    color: str,
) -> Axes:
    """The training loss as a faint line, the evaluations as dots; the line stands out where there
    are no evaluations."""
    evaluated = bool(np.isfinite(eval_loss).any())
    axes.plot(
        x,
        loss,
        color=color,
        alpha=0.35 if evaluated else 1.0,
        linewidth=1.2,
        label=None if evaluated else name,
    )
    return evaluation_curve(axes, x, eval_loss, name, color) if evaluated else tidied(axes)


def evaluation_curve(
    axes: Axes,
    x: Float[np.ndarray, " rows"],
    values: Float[np.ndarray, " rows"],
    name: str,
    color: str,
) -> Axes:
    """The rows that have a value, joined by a line."""
    known = np.isfinite(values)
    axes.plot(
        x[known], values[known], color=color, linewidth=1.6, marker="o", markersize=3.5, label=name
    )
    return tidied(axes)


def tidied(axes: Axes) -> Axes:
    axes.grid(color=GRID, linewidth=0.7)
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes
