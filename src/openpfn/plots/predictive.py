"""Pictures of what is believed about numbers: a fan of intervals over rows, and densities of single
rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openpfn.plots.beliefs import INK, WIDTH, named, panels, quiet

COLOR, OUTSIDE = "#c8452f", "#2f6f8f"
COVERAGES = (0.5, 0.9)
"""Shares of the probability that the bands hold."""
MOST_DENSITIES = 12
"""Rows whose densities find room under each other."""
N_LEVELS = 999
"""Levels at whose quantiles densities are read off."""
SMOOTHED = 0.05
"""Width over which a density is averaged, as a share of the interval that holds 99%: the density
between two neighbouring quantiles of a network is mostly noise."""


def fan(
    believed: Any,
    x: Any = None,
    truth: Any = None,
    *,
    coverages: Sequence[float] = COVERAGES,
    filled: bool = True,
    axes: Axes | None = None,
    x_label: str | None = None,
    y_label: str = "y",
) -> Axes:
    """Draw the mean of each row, and bands that hold the shares `coverages` of its probability.

    Parameters
    ----------
    believed : a `Predictive` of Q rows, such as `PFNRegressor.predict(X, output="distribution")`.
    x : (Q,) numbers of a column to draw against; None draws the rows in order of their means.
    truth : (Q,) true values, drawn as points; those outside the widest band stand out, and the
        title counts how many lie inside.
    filled : False draws a line for each row in place of filled bands, for rows that differ in more
        than `x`.
    axes : where to draw; a new figure by default.
    x_label, y_label : what the axes show.

    Raises ValueError for coverages outside (0, 1), and for other numbers of rows than believed.
    """
    if not coverages or not all(0 < share < 1 for share in coverages):
        raise ValueError(
            f"coverages is {tuple(coverages)}, must be shares between 0 and 1, such as 0.5 and 0.9."
        )
    mean = _array(believed.mean)
    x, truth = (_of_rows(name, v, len(mean)) for name, v in (("x", x), ("truth", truth)))
    order = np.argsort(mean if x is None else x, kind="stable")
    at = np.arange(len(mean)) if x is None else x[order]
    axes = axes or new_axes(3.4)
    widest_first = sorted(coverages, reverse=True)
    for i, share in enumerate(widest_first):
        low, high = (_array(end)[order] for end in believed.interval(share))
        label = f"{share:.0%} of the probability"
        if filled:
            look = {"color": COLOR, "alpha": 0.16 + 0.1 * i, "linewidth": 0}
            axes.fill_between(at, low, high, label=label, zorder=1 + i, **look)
        else:
            look = {"color": COLOR, "alpha": 0.3 + 0.15 * i, "linewidth": 1.2 + 1.6 * i}
            axes.vlines(at, low, high, label=label, zorder=1 + i, **look)
    if filled:
        axes.plot(at, mean[order], color=COLOR, linewidth=1.6, label="mean", zorder=4)
    else:
        look = {"marker": "_", "markersize": 5, "linestyle": "", "color": COLOR}
        axes.plot(at, mean[order], label="mean", zorder=4, **look)
    if truth is not None:
        low, high = (_array(end)[order] for end in believed.interval(widest_first[0]))
        inside = _points(axes, at, truth[order], low, high)
        title = f"{inside:.0%} of the true values lie in the {widest_first[0]:.0%} band"
        named(axes, title)
    default = "rows in order of their means" if x is None else ""
    named(axes, x_label=default if x_label is None else x_label, y_label=y_label)
    axes.legend(fontsize=8, labelcolor=INK, facecolor="white", edgecolor="none", framealpha=0.85)
    return axes


def densities(
    believed: Any,
    rows: Sequence[int] | Int[np.ndarray, " r"],
    truth: Any = None,
    *,
    names: Sequence[str] | None = None,
    axes: Axes | None = None,
    y_label: str = "y",
) -> Axes:
    """Draw the densities of single `rows` under each other, each as high as the others.

    Parameters
    ----------
    believed : a `Predictive` of Q rows.
    rows : numbers of the rows, at most 12.
    truth : (Q,) true values, drawn as points on the base lines; the mean is a line across each
        density.
    names : what the rows are called; their numbers by default.
    axes : where to draw; a new figure by default.
    y_label : what the horizontal axis shows, and its unit.

    Raises ValueError for rows that are not there, and for too many or none.
    """
    mean = _array(believed.mean)
    rows = np.asarray(rows)
    if not 0 < len(rows) <= MOST_DENSITIES or rows.min() < 0 or rows.max() >= len(mean):
        raise ValueError(
            f"rows is {rows.tolist()}, must be 1 to {MOST_DENSITIES} numbers of rows from 0 to"
            f" {len(mean) - 1}."
        )
    if names is not None and len(names) != len(rows):
        raise ValueError(f"names holds {len(names)} names, but {len(rows)} rows are drawn.")
    truth = _of_rows("truth", truth, len(mean))
    y, density = _densities(believed, rows)
    axes = axes or new_axes(0.55 * len(rows) + 1.0)
    for i, row in enumerate(rows):
        base, height = len(rows) - 1 - i, 0.85 * density[:, i] / density[:, i].max()
        axes.fill_between(y, base, base + height, color=COLOR, alpha=0.25, linewidth=0, zorder=2)
        axes.plot(y, base + height, color=COLOR, linewidth=1.2, zorder=3)
        top = base + np.interp(mean[row], y, height)
        axes.plot([mean[row]] * 2, [base, top], color=COLOR, linewidth=1.6, zorder=4)
        if truth is not None:
            axes.plot(truth[row], base, "o", color=INK, markersize=5, zorder=5, clip_on=False)
    labels = [f"row {row}" for row in rows] if names is None else list(names)
    axes.set_yticks(np.arange(len(rows))[::-1], labels)
    axes.set_ylim(-0.15, len(rows))
    marks = "line: mean" if truth is None else "line: mean, point: true value"
    return named(axes, f"density of each row ({marks})", x_label=y_label)


def new_axes(height: float) -> Axes:
    """The panel of a new figure, `height` inches high."""
    return panels(height=height)[1][0, 0]


def figure_of_two(title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    """A new figure with room for a fan, and below it for densities."""
    figure = Figure(figsize=(WIDTH, 7.2), dpi=150, layout="constrained", facecolor="white")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
    above, below = figure.subplots(2, 1, height_ratios=[1.3, 1])
    return figure, (quiet(above), quiet(below))


def _points(
    axes: Axes,
    x: np.ndarray,
    truth: Float[np.ndarray, " Q"],
    low: Float[np.ndarray, " Q"],
    high: Float[np.ndarray, " Q"],
) -> float:
    """Draw the true values, and return the share of those known that lie between the ends."""
    known = ~np.isnan(truth)
    inside = known & (low <= truth) & (truth <= high)
    outside = known & ~inside
    look = {"linestyle": "", "markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot(x[inside], truth[inside], marker="o", color=INK, label="true value", zorder=5, **look)
    label = "true value outside the bands"
    if outside.any():
        axes.plot(
            x[outside], truth[outside], marker="D", color=OUTSIDE, label=label, zorder=6, **look
        )
    return float(inside.sum() / max(1, known.sum()))


def _densities(
    believed: Any, rows: Int[np.ndarray, " r"], n_points: int = 300
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n r"]]:
    """Return places along y, and the densities there, each averaged over a short window."""
    levels = np.linspace(0.001, 0.999, N_LEVELS)
    quantiles = _array(believed.quantile(levels.tolist()))[:, rows]  # (levels, r)
    low, high = (np.quantile(quantiles, share, axis=0) for share in (0.005, 0.995))
    widths = np.where(high > low, high - low, 1e-9 * np.maximum(np.abs(high), 1e-300))
    window = SMOOTHED * widths  # (r,)
    margin = 0.02 * (high.max() - low.min()) + window.max()
    y = np.linspace(low.min() - margin, high.max() + margin, n_points)
    density = np.empty((n_points, len(rows)))
    for i in range(len(rows)):
        below, up_to = (
            np.interp(y + side * window[i] / 2, quantiles[:, i], levels, left=0.0, right=1.0)
            for side in (-1, 1)
        )
        density[:, i] = (up_to - below) / window[i]
    return y, np.maximum(density, 1e-300)


def _of_rows(name: str, values: Any, n_rows: int) -> Float[np.ndarray, " Q"] | None:
    if values is None:
        return None
    values = np.asarray(values, dtype=np.float64).ravel()
    if len(values) != n_rows:
        raise ValueError(f"{name} holds {len(values)} values, but {n_rows} rows are believed.")
    return values


def _array(values: Any) -> np.ndarray:
    """Return a tensor or an array as an array in float64."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64)
