"""The pictures of task diversity: errors and distances against the number of tasks, and across the
context."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import get_cmap

from openpfn.plots.beliefs import LOOKS, legend_above, named, panels

COLORS = {"network": "#c8452f", "dmmse": "#e08a2e", "ridge": "#2f6f8f"}
CALLED = {"network": "network", "dmmse": "dMMSE (memorises)", "ridge": "ridge (generalises)"}


def raventos_figure(table: pd.DataFrame) -> Figure:
    """Return the 2 × 3 grid of Raventós et al. 2023: error against tasks on old and new tasks,
    distances to dMMSE and ridge on both, and error across the context on both."""
    figure, grid = panels(3, 2, height=2.6)
    for row, kind in enumerate(("old", "new")):
        errors = {
            "network": f"mse_{kind}",
            "dmmse": f"mse_{kind}_dmmse",
            "ridge": f"mse_{kind}_ridge",
        }
        against_tasks(grid[row, 0], table, errors)
        named(grid[row, 0], f"error on {kind} tasks", "tasks", "squared error / D")
        apart = {"dmmse": f"{kind}_to_dmmse", "ridge": f"{kind}_to_ridge"}
        against_tasks(grid[row, 1], table, apart, log=True)
        named(grid[row, 1], f"distance on {kind} tasks", "tasks", "squared distance / D")
        across_context(grid[row, 2], table, f"mse_{kind}")
        named(grid[row, 2], f"along the context, {kind} tasks", "rows seen", "squared error / D")
    legend_above(figure)
    return figure


def against_tasks(
    axes: Axes, table: pd.DataFrame, columns: dict[str, str], log: bool = False
) -> Axes:
    """Means over seeds with their standard errors, against the number of tasks."""
    for who, column in columns.items():
        groups = table.groupby("n_tasks")[column]
        mean, error = groups.mean(), groups.sem().fillna(0.0)
        axes.errorbar(
            np.asarray(mean.index, dtype=float),
            np.asarray(mean, dtype=float),
            yerr=np.asarray(error, dtype=float),
            color=COLORS[who],
            marker="o",
            markersize=3.5,
            linestyle=LOOKS["network" if who == "network" else "exact"]["linestyle"],
            label=CALLED[who],
        )
    axes.set_xscale("log", base=2)
    if log:
        axes.set_yscale("log")
    return axes


def across_context(axes: Axes, table: pd.DataFrame, name: str) -> Axes:
    """The score by rows seen, a line for each number of tasks, pale for few."""
    columns = sorted(
        (c for c in table.columns if re.fullmatch(rf"{name}_\d+", str(c))),
        key=lambda c: int(str(c).rpartition("_")[2]),
    )
    counts = sorted(table["n_tasks"].unique())
    shades: Any = get_cmap("Reds")(np.linspace(0.3, 0.95, len(counts)))
    for shade, count in zip(shades, counts, strict=True):
        values = table.loc[table["n_tasks"] == count, columns].mean()
        axes.plot(np.arange(len(columns)), values.to_numpy(dtype=float), color=shade)
        axes.annotate(f"{count}", (len(columns) - 1, float(values.iloc[-1])), fontsize=7)
    return axes
