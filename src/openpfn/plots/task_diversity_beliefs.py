"""The pictures of what the networks of a sweep believe: about coefficients, targets and longer
contexts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openpfn.plots.beliefs import FAINT, LOOKS, legend_above, named, panels, some_panels
from openpfn.plots.task_diversity import CALLED, COLORS, across_context

MOST_ROWS, MOST_COLUMNS = 4, 4


def prior_figure(
    steps: Sequence[int], draws: Float[np.ndarray, "K S D"], pool: Float[np.ndarray, "M D"]
) -> Figure:
    """Return histograms of the implied prior, a row for each coefficient and a column for each
    step, beside N(0, 1) and the tasks trained on."""
    columns = np.unique(np.linspace(0, len(steps) - 1, MOST_COLUMNS).round().astype(int))
    n_rows = min(MOST_ROWS, draws.shape[-1])
    figure, grid = panels(len(columns), n_rows, height=1.7, sharex=True)
    z = np.linspace(-4, 4, 200)
    for row in range(n_rows):
        for column, k in enumerate(columns.tolist()):
            axes = grid[row, column]
            histogram(axes, draws[k, :, row], COLORS["network"], CALLED["network"])
            density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            axes.plot(z, density, label="N(0, 1)", **LOOKS["truth"])
            few = pool[:200, row]
            axes.plot(few, np.zeros_like(few), "|", color=COLORS["dmmse"], label="tasks trained on")
            axes.set_xlim(-4, 4)
            named(axes, f"step {steps[k]}" if row == 0 else "", "", f"β{row}" if not column else "")
    legend_above(figure)
    return figure


def posterior_figure(
    draws: Float[np.ndarray, "B S D"],
    ridge: Float[np.ndarray, "B S D"],
    dmmse: Float[np.ndarray, "B S D"],
    truth: Float[np.ndarray, "B D"],
) -> Figure:
    """Return margins of coefficients, a row for each prompt and a column for each coefficient."""
    n_rows, n_columns = min(MOST_ROWS, len(draws)), min(MOST_COLUMNS, draws.shape[-1])
    figure, grid = panels(n_columns, n_rows, height=1.7)
    for row in range(n_rows):
        for column in range(n_columns):
            axes = grid[row, column]
            of = {"network": draws, "ridge": ridge, "dmmse": dmmse}
            for who, samples in of.items():
                histogram(axes, samples[row, :, column], COLORS[who], CALLED[who])
            axes.axvline(truth[row, column], label="truth", **LOOKS["truth"])
            title = f"β{column}" if row == 0 else ""
            named(axes, title, "", f"prompt {row}" if column == 0 else "")
    legend_above(figure)
    return figure


def prompt_figure(
    y: Float[np.ndarray, " G"],
    network: Float[np.ndarray, "B G"],
    ridge: Float[np.ndarray, "B G"],
    dmmse: Float[np.ndarray, "B G"],
    truth: Float[np.ndarray, " B"],
) -> Figure:
    """Return the predictive densities after each prompt, at most nine."""
    n_shown = min(9, len(network))
    figure, grid = some_panels(n_shown, 3, 2.0)
    for i, axes in enumerate(grid):
        for who, values in (("ridge", ridge), ("dmmse", dmmse), ("network", network)):
            axes.plot(y, values[i], color=COLORS[who], label=CALLED[who], linewidth=1.5)
        axes.axvline(truth[i], label="truth", **LOOKS["truth"])
        named(axes, f"prompt {i}", "y", "density" if i % 3 == 0 else "")
    legend_above(figure)
    return figure


def losses_figure(table: pd.DataFrame) -> Figure:
    """Return errors and distances against the step, a line for each number of tasks."""
    figure, grid = panels(2, 2, height=2.5)
    shown = {
        "mse_old": "error on old tasks",
        "mse_new": "error on new tasks",
        "new_to_dmmse": "distance to dMMSE, new tasks",
        "new_to_ridge": "distance to ridge, new tasks",
    }
    counts = sorted(table["n_tasks"].unique())
    for axes, (column, title) in zip(grid.flat, shown.items(), strict=True):
        for i, count in enumerate(counts):
            mean = table.loc[table["n_tasks"] == count].groupby("step")[column].mean()
            shade = 0.25 + 0.7 * i / max(1, len(counts) - 1)
            axes.plot(
                np.asarray(mean.index, dtype=float),
                mean.to_numpy(dtype=float),
                color=COLORS["network"],
                alpha=shade,
                label=f"{count} tasks",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        named(axes, title, "step", "squared / D")
    legend_above(figure)
    return figure


def length_figure(table: pd.DataFrame, trained: int) -> Figure:
    """Return errors along contexts that are longer than those of training."""
    figure, grid = panels(2, 1, height=3.0)
    for axes, kind in zip(grid.flat, ("old", "new"), strict=True):
        across_context(axes, table, f"mse_{kind}")
        of_ridge = [c for c in table.columns if str(c).startswith(f"mse_{kind}_ridge_")]
        ridge = table[of_ridge].mean().to_numpy(dtype=float)
        axes.plot(np.arange(len(ridge)), ridge, color=COLORS["ridge"], label=CALLED["ridge"])
        axes.axvline(trained - 0.5, color=FAINT, linestyle=":", label="length of training")
        axes.set_yscale("log")
        named(axes, f"{kind} tasks", "rows seen", "squared error / D")
    legend_above(figure)
    return figure


def histogram(axes: Axes, samples: Float[np.ndarray, " S"], color: str, label: str) -> Axes:
    """Draws as an outline."""
    n_bins = int(np.clip(np.sqrt(len(samples)), 8, 40))
    axes.hist(samples, bins=n_bins, density=True, histtype="step", color=color, label=label)
    return axes
