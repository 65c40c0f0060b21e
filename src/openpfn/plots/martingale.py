"""The picture of a martingale posterior: the density of each quantity, and how it came about along
the horizon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openpfn.plots.beliefs import INK, LOOKS, legend_above, named, panels

MOST_SHOWN = 8
"""Quantities that a figure shows, at most."""


def martingale_figure(
    trace: Float[np.ndarray, "H S P"],
    horizons: Int[np.ndarray, " H"],
    names: Sequence[str],
    level: float = 0.9,
    truth: Float[np.ndarray, " P"] | None = None,
) -> Figure:
    """Return a figure with a row of two panels for each quantity, at most eight: its draws, and
    the middle and central interval after fewer drawn rows."""
    n_shown = min(MOST_SHOWN, trace.shape[-1])
    figure, grid = panels(2, n_shown, height=2.3)
    for i in range(n_shown):
        known = None if truth is None else float(truth[i])
        draws(grid[i, 0], trace[-1, :, i], level, known)
        along_horizon(grid[i, 1], trace[:, :, i], horizons, level, known)
        named(grid[i, 0], names[i], names[i], "density")
        named(grid[i, 1], "along the horizon", "rows drawn", names[i])
    legend_above(figure)
    return figure


def draws(
    axes: Axes, samples: Float[np.ndarray, " S"], level: float, truth: float | None = None
) -> Axes:
    """The draws as a histogram, with lines at the ends of their central interval."""
    look = LOOKS["network"]
    n_bins = int(np.clip(np.sqrt(len(samples)), 5, 60))
    axes.hist(samples, bins=n_bins, density=True, color=look["color"], alpha=0.35, label="draws")
    ends = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    for end in ends:
        axes.axvline(
            end, color=look["color"], linewidth=1.4, label=f"{100 * level:g}% of the draws"
        )
    if truth is not None:
        axes.axvline(truth, label="truth", **LOOKS["truth"])
    return axes


def along_horizon(
    axes: Axes,
    trace: Float[np.ndarray, "H S"],
    horizons: Int[np.ndarray, " H"],
    level: float,
    truth: float | None = None,
) -> Axes:
    """Median and central interval of the draws after fewer drawn rows."""
    look = LOOKS["network"]
    levels = [(1 - level) / 2, 0.5, (1 + level) / 2]
    low, middle, high = np.quantile(trace, levels, axis=1)
    axes.fill_between(horizons, low, high, color=look["color"], alpha=0.2, linewidth=0)
    axes.plot(horizons, middle, color=INK, linewidth=1.4, label="median")
    if truth is not None:
        axes.axhline(truth, label="truth", **LOOKS["truth"])
    return axes
