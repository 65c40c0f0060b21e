"""Pictures of diagnostics: levels of truths, coverage, drift, order, and distances of beliefs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from scipy import stats

from openpfn.plots.beliefs import FAINT, INK, LOOKS, legend_above, named, panels, some_panels

BAND = "#c9ced4"
"""Colour of what chance does."""


def ranks_figure(
    levels: Float[np.ndarray, "R P"], names: Sequence[str], p_values: Float[np.ndarray, " P"]
) -> Figure:
    """Return histograms of levels, at most eight, with the band of 95% of uniform ones."""
    n_shown = min(8, levels.shape[1])
    figure, grid = some_panels(n_shown, 4, 2.3)
    n_rows = len(levels)
    n_bins = int(np.clip(n_rows // 25, 4, 20))
    low, high = stats.binom.ppf([0.025, 0.975], n_rows, 1 / n_bins) * n_bins / n_rows
    for i, axes in enumerate(grid):
        axes.axhspan(low, high, color=BAND, alpha=0.6, label="95% of uniform levels")
        axes.hist(
            levels[:, i],
            bins=n_bins,
            range=(0, 1),
            density=True,
            histtype="step",
            color=LOOKS["network"]["color"],
            linewidth=1.8,
            label="levels of the truths",
        )
        named(axes, f"{names[i]}: p = {p_values[i]:.2g}", "level", "density" if i == 0 else "")
    legend_above(figure)
    return figure


def coverage_figure(
    levels: Float[np.ndarray, " L"],
    covered: Float[np.ndarray, " L"],
    error: Float[np.ndarray, " L"],
) -> Figure:
    """Return the share of truths within intervals against the share that should be."""
    figure, grid = panels(1, height=3.4)
    axes = grid[0, 0]
    axes.plot([0, 1], [0, 1], label="calibrated", **LOOKS["truth"])
    axes.fill_between(
        levels,
        covered - 1.96 * error,
        covered + 1.96 * error,
        color=LOOKS["network"]["color"],
        alpha=0.2,
        linewidth=0,
        label="± 1.96 standard errors",
    )
    axes.plot(levels, covered, label="covered", **LOOKS["network"])
    named(axes, "coverage", "probability of the interval", "share of truths within it")
    legend_above(figure)
    return figure


def drift_figure(
    horizons: Int[np.ndarray, " H"],
    drift: Float[np.ndarray, " H"],
    error: Float[np.ndarray, " H"],
    p_values: Float[np.ndarray, " H"],
) -> Figure:
    """Return the drift of probabilities along the horizon."""
    figure, grid = panels(1, height=3.0)
    axes = grid[0, 0]
    axes.axhline(0, label="martingale", **LOOKS["truth"])
    color = LOOKS["network"]["color"]
    bars = np.nan_to_num(error)
    axes.errorbar(horizons, drift, yerr=bars, color=color, marker="o", label="drift ± 1 s.e.")
    for h, d, p in zip(horizons, drift, p_values, strict=True):
        axes.annotate(f"p = {p:.2g}", (h, d), (4, 6), textcoords="offset points", fontsize=8)
    named(axes, "average change of a probability", "own rows read", "root mean square")
    legend_above(figure)
    return figure


def exchangeability_figure(distances: Float[np.ndarray, " n"], p_value: float) -> Figure:
    """Return the distances between predictions from permuted contexts."""
    return _histogram(
        distances,
        f"order of the context: p = {p_value:.2g}",
        "largest difference of a probability",
        "permutations",
    )


def energy_figure(by_prompt: Float[np.ndarray, " B"], p_value: float) -> Figure:
    """Return the energy distances by prompt."""
    return _histogram(
        by_prompt, f"two beliefs: p = {p_value:.2g}", "energy distance", "prompts", zero=True
    )


def _histogram(
    values: Float[np.ndarray, " n"], title: str, x_label: str, of: str, zero: bool = False
) -> Figure:
    figure, grid = panels(1, height=2.8)
    axes = grid[0, 0]
    n_bins = int(np.clip(np.sqrt(len(values)), 5, 40))
    axes.hist(values, bins=n_bins, color=LOOKS["network"]["color"], alpha=0.5, label=of)
    axes.axvline(float(values.mean()), color=INK, linewidth=1.4, label="mean")
    if zero:
        axes.axvline(0.0, color=FAINT, linestyle=":", label="the same belief")
    named(axes, title, x_label, f"number of {of}")
    legend_above(figure)
    return figure
