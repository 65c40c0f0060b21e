"""The picture of training runs: how loss and accuracy went, against steps, time or tasks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#c8452f", "#2f6f8f", "#4c6b1f", "#8e2f6b", "#e08a2e", "#55606a")
FAINT, GRID = "#6d747c", "#e3e6e9"

AREAS = ("eval_auc", "eval_r2")
"""Columns of what decides in the pretraining of networks that read text."""

Run = Mapping[str, Float[np.ndarray, " rows"]]
"""A run's history: column name → values, NaN where a row has none."""


def history_figure(
    runs: Mapping[str, Run], against: str = "step", label: str = "step", log: bool = False
) -> Figure:
    """Loss of each run (name → history) and, where it was evaluated, accuracy, against the column
    `against`; of networks that read text AUC and R², from which their `eval_loss` is made."""
    scored = {name for name, run in runs.items() if is_scored_by_areas(run)}
    quantities = [
        name
        for name in ("loss", "eval_accuracy", "eval_auc", "eval_r2")
        if any(
            _has(run, name) and (run_name in scored or name not in AREAS)
            for run_name, run in runs.items()
        )
    ]
    figure = Figure(
        figsize=(6.2 * max(1, len(quantities)), 4.2),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    titles = {
        "loss": "training loss: of classes in nats, of numbers mixed with squared errors"
        if len(scored) == len(runs)
        else "loss in nats (faint: training, dots: evaluation)",
        "eval_accuracy": "accuracy of the evaluations",
        "eval_auc": "AUC of the evaluations, mean over the tables of classes",
        "eval_r2": "R² of the evaluations, mean over the tables of numbers",
    }
    for axes, quantity in zip(
        figure.subplots(1, max(1, len(quantities)), squeeze=False)[0], quantities, strict=False
    ):
        for color, (name, run) in zip(COLORS * len(runs), runs.items(), strict=False):
            if quantity == "loss":
                evaluated = (
                    np.full(len(run["loss"]), np.nan) if name in scored else run["eval_loss"]
                )
                loss_curves(axes, run[against], run["loss"], evaluated, name, color)
            elif _has(run, quantity) and (name in scored or quantity not in AREAS):
                evaluation_curve(axes, run[against], run[quantity], name, color)
        axes.set_title(titles[quantity], loc="left", fontsize=10)
        axes.set_xlabel(label, color=FAINT, fontsize=9)
        if log:
            axes.set_xscale("log")
    figure.axes[0].legend(frameon=False, fontsize=9)
    return figure


def is_scored_by_areas(run: Run) -> bool:
    """Return whether a history is that of a network that reads text: its evaluations are AUC and
    R², and its `eval_loss` is 1 minus their mean."""
    return any(_has(run, name) for name in AREAS) and not any(
        _has(run, name) for name in ("eval_accuracy", "eval_mse")
    )


def _has(run: Run, column: str) -> bool:
    return column in run and bool(np.isfinite(run[column]).any())


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
