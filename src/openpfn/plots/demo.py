"""The picture of the demo: what classifiers believe between the rows they saw, and how well they
predict real tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK, FAINT, GRID = "#22262b", "#6d747c", "#e3e6e9"
OURS = ("#c8452f", "#e08a2e", "#8e2f6b", "#4c6b1f")
OTHERS = ("#2f6f8f", "#7a8791", "#9db7c4", "#55606a")
OTHER_MARKERS = ("s", "^", "v", "P")
CLASSES = ("#3b6fb6", "#e2a03f", "#5a9c6e", "#a05195", "#777777")


@dataclass(frozen=True, eq=False)
class Method:
    """One classifier and all that is drawn of it."""

    name: str
    """As the legend calls it."""
    is_ours: bool
    """Whether it stands out."""
    scores: Mapping[str, Float[np.ndarray, "tables splits"]]
    """Per metric, its value on each table and split."""
    beliefs: Float[np.ndarray, "rows columns k"]
    """Probability of each class at the points of a grid, lowest row first."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Two columns of a table, and the rows that every classifier saw of them."""

    title: str
    """Of which table."""
    names: tuple[str, str]
    """Names of the two columns."""
    extent: tuple[float, float, float, float]
    """Left, right, bottom and top of the grid."""
    points: Float[np.ndarray, "n 2"]
    """Context rows."""
    labels: Int[np.ndarray, " n"]
    """Their classes."""


def demo_figure(
    methods: Sequence[Method], tables: Sequence[str], metrics: Mapping[str, str], plane: Plane
) -> Figure:
    """Above, one map of beliefs per method; below, one panel per metric (name in `scores` →
    title)."""
    figure = Figure(figsize=(11.5, 7.0), dpi=150, layout="constrained", facecolor="white")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    above, below = halves
    maps = above.subplots(1, len(methods), sharex=True, sharey=True, squeeze=False)[0]
    for axes, method in zip(maps, methods, strict=True):
        belief_map(axes, method.beliefs, plane)
        weight, color = ("bold", OURS[0]) if method.is_ours else ("normal", INK)
        axes.set_title(method.name, color=color, fontsize=11, fontweight=weight)
        axes.set_xlabel(plane.names[0], color=FAINT, fontsize=9)
    maps[0].set_ylabel(plane.names[1], color=FAINT, fontsize=9)
    above.suptitle(
        f"What each believes after {len(plane.points)} rows of two columns of {plane.title}",
        x=0.01,
        ha="left",
        **_HEADING,
    )
    panels = below.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        score_panel(axes, methods, metric, tables, title)
    below.suptitle(
        "How well each predicts real tables (all columns; faint: single splits)",
        x=0.01,
        ha="left",
        **_HEADING,
    )
    handles = [
        Line2D([], [], linestyle="", label=m.name, **_style(methods, i))
        for i, m in enumerate(methods)
    ]
    below.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(methods),
        frameon=False,
        fontsize=10,
        handletextpad=0.1,
    )
    return figure


def belief_map(axes: Axes, beliefs: Float[np.ndarray, "rows columns k"], plane: Plane) -> Axes:
    """Colours mixed by probability over the plane, with the context rows and the borders where the
    decision changes."""
    n_classes = beliefs.shape[-1]
    colors = np.array([to_rgb(CLASSES[c % len(CLASSES)]) for c in range(n_classes)])
    pale = 1 - 0.62 * (1 - colors)
    axes.imshow(
        beliefs @ pale,
        origin="lower",
        extent=plane.extent,
        aspect="auto",
        interpolation="bilinear",
        zorder=0,
    )
    left, right, bottom, top = plane.extent
    across, up = (
        np.linspace(left, right, beliefs.shape[1]),
        np.linspace(bottom, top, beliefs.shape[0]),
    )
    for c in range(n_classes):
        lead = beliefs[..., c] - np.delete(beliefs, c, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            axes.contour(across, up, lead, levels=[0], colors="white", linewidths=1.1, zorder=1)
    axes.scatter(
        *plane.points.T, c=colors[plane.labels], s=15, edgecolors="white", linewidths=0.5, zorder=2
    )
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def score_panel(
    axes: Axes, methods: Sequence[Method], metric: str, tables: Sequence[str], title: str
) -> Axes:
    """One line per table, the mean of all last; a mark per method, its splits faint behind it."""
    last = len(tables) + 0.35  # the mean's row is taller, for its numbers
    lanes = np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else np.zeros(1)
    for i, method in enumerate(methods):
        scores = method.scores[metric]  # (tables, splits)
        style = _style(methods, i)
        places = np.arange(len(tables)) + lanes[i]
        faint = style | {"markersize": 3.5, "alpha": 0.35, "markeredgewidth": 0}
        axes.plot(scores.ravel(), np.repeat(places, scores.shape[1]), linestyle="", **faint)
        axes.plot(scores.mean(axis=1), places, linestyle="", **style)
        mean = scores.mean()
        axes.plot([mean], [last + 2 * lanes[i]], linestyle="", **style)
        edge = axes.get_yaxis_transform()  # x in widths of the panel, y in rows
        axes.text(
            1.0,
            last + 2 * lanes[i],
            f"{mean:.3f}",
            transform=edge,
            color=style["color"],
            ha="right",
            va="center",
            fontsize=8,
        )
    axes.axhspan(len(tables) - 0.5, last + 0.85, color="#f4f5f6", zorder=0)
    axes.set_ylim(last + 0.85, -0.5)
    names = [name.replace("_", " ") for name in (*tables, "mean of all")]
    axes.set_yticks([*range(len(tables)), last], names, fontsize=10, color=INK)
    axes.set_title(title, fontsize=11, color=INK)
    axes.tick_params(axis="x", labelsize=8.5, colors=FAINT, length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.16 * (high - low))  # room for the numbers
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


_HEADING: dict[str, Any] = {"fontsize": 12, "color": INK, "fontweight": "bold"}


def _style(methods: Sequence[Method], i: int) -> dict[str, Any]:
    """Ours are warm discs; the others are cool, each of its own shape, so that colour is not all
    that tells them apart."""
    before = sum(m.is_ours == methods[i].is_ours for m in methods[:i])
    if methods[i].is_ours:
        return {
            "marker": "o",
            "color": OURS[before % len(OURS)],
            "markersize": 9,
            "markeredgecolor": "white",
            "zorder": 4,
        }
    shape = OTHER_MARKERS[before % len(OTHER_MARKERS)]
    return {
        "marker": shape,
        "color": OTHERS[before % len(OTHERS)],
        "markersize": 7,
        "markeredgecolor": "white",
        "zorder": 3,
    }
