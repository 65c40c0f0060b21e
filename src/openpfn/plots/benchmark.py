"""Pictures of a benchmark: ranks, scores per table, learning curves, calibration, quality against
time."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

INK = "#010203"
"""Stands for the page's text colour; `svg` replaces it."""
FAINT = "#7d868f"
OURS = ("#e4572e", "#d9961a", "#b0327a", "#8a5a1c")
PEERS = (
    "#4a86c5",
    "#3f9f78",
    "#8f6bc9",
    "#2f9fb3",
    "#7a8b2f",
    "#c0679c",
    "#5c74d6",
    "#a5765f",
    "#6f7f8d",
    "#58a04a",
    "#b08a3e",
    "#8c5f8f",
)
MARKERS = ("o", "s", "^", "v", "P", "X", "h", "p", "<", ">", "d", "8")
WIDTH = 9.2
"""Inches of a full figure: it fills the page."""


@dataclass(frozen=True)
class Style:
    """How one method is drawn, everywhere alike."""

    color: str
    """Its colour, readable on light and dark."""
    marker: str
    """Its marker."""
    is_ours: bool
    """Drawn larger, and above the others."""


def styles(names: Sequence[str], ours: Sequence[str]) -> dict[str, Style]:
    """A style for each method: warm colours and diamonds for ours, cool ones and other shapes for
    peers."""
    out, n_ours, n_peers = {}, 0, 0
    for name in names:
        if name in ours:
            out[name] = Style(OURS[n_ours % len(OURS)], "D", True)
            n_ours += 1
        else:
            out[name] = Style(PEERS[n_peers % len(PEERS)], MARKERS[n_peers % len(MARKERS)], False)
            n_peers += 1
    return out


def svg(figure: Figure) -> str:
    """`figure` as an inline SVG element without a background, whose dark lines take the colour of
    the text around it."""
    text = io.StringIO()
    # the salt makes the names inside the picture its own, and the same in every run
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": str(figure.get_label())}):
        figure.savefig(
            text, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    inner = text.getvalue()
    inner = inner[inner.index("<svg") :].replace(INK, "currentColor")
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", inner, count=1),
        count=1,
    )


def rank_diagram(ranks: Mapping[str, float], distance: float, look: Mapping[str, Style]) -> Figure:
    """Mean ranks on a line, best on the left; bars join methods closer than the critical `distance`
    (Demšar 2006)."""
    ordered = sorted(ranks, key=lambda name: ranks[name])
    groups = _groups([ranks[name] for name in ordered], distance)
    n_left = (len(ordered) + 1) // 2
    depth = 0.55 + 0.28 * len(groups)  # below the axis, the bars come first
    bottom = depth + 0.5 * n_left
    figure = Figure(figsize=(WIDTH, 0.75 + 0.46 * bottom), label="ranks")
    axes = figure.add_axes((0, 0, 1, 1))
    low, high = 1.0, max(float(len(ordered)), 2.0)
    margin = 0.42 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(bottom + 0.2, -1.6))
    axes.axis("off")
    axes.plot([low, high], [0, 0], color=INK, linewidth=1.2)
    for tick in np.arange(low, high + 0.5):
        axes.plot([tick, tick], [0, -0.16], color=INK, linewidth=1)
        axes.text(tick, -0.3, f"{tick:.0f}", ha="center", va="bottom", color=INK, fontsize=9)
    axes.plot([low, low + distance], [-1.05, -1.05], color=INK, linewidth=2, solid_capstyle="butt")
    axes.text(
        low + distance + 0.02 * (high - low),
        -1.05,
        f"critical difference {distance:.2f}",
        va="center",
        color=INK,
        fontsize=9,
    )
    for i, (first, last) in enumerate(groups):
        height = 0.35 + 0.28 * i
        axes.plot(
            [first - 0.03, last + 0.03],
            [height, height],
            color=INK,
            linewidth=3.2,
            solid_capstyle="round",
            alpha=0.75,
        )
    for i, name in enumerate(ordered):
        on_left = i < n_left
        height = depth + 0.5 * (i if on_left else len(ordered) - 1 - i) + 0.25
        end = low - 0.06 * (high - low) if on_left else high + 0.06 * (high - low)
        axes.plot(
            [ranks[name], ranks[name], end],
            [0, height, height],
            color=look[name].color,
            linewidth=1.1,
        )
        axes.plot(ranks[name], 0, look[name].marker, color=look[name].color, markersize=6)
        weight = "bold" if look[name].is_ours else "normal"
        shown = f"{name}  {ranks[name]:.2f}" if on_left else f"{ranks[name]:.2f}  {name}"
        axes.text(
            end,
            height,
            f" {shown} ",
            ha="right" if on_left else "left",
            va="center",
            color=INK,
            fontsize=10,
            fontweight=weight,
        )
    return figure


def _groups(ordered: Sequence[float], distance: float) -> list[tuple[float, float]]:
    """Longest runs of at least two ranks no farther apart than `distance`."""
    out: list[tuple[float, float]] = []
    reach = -1
    for i, first in enumerate(ordered):
        last = max(j for j in range(i, len(ordered)) if ordered[j] - first <= distance)
        if last > i and last > reach:
            out.append((first, ordered[last]))
        reach = max(reach, last)
    return out


def dot_plot(
    tables: Sequence[str],
    scores: Mapping[str, Float[np.ndarray, " tables"]],
    failed: Mapping[str, Bool[np.ndarray, " tables"]],
    title: str,
    look: Mapping[str, Style],
    n_apart: int = 0,
) -> Figure:
    """One line per table, one mark per method; hollow where some split failed. The last `n_apart`
    tables stand apart, below a line."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.27 * len(tables)), layout="constrained", label="tables")
    axes = figure.subplots()
    for i in range(len(tables)):
        values = [float(s[i]) for s in scores.values() if np.isfinite(s[i])]
        if values:
            axes.plot(
                [min(values), max(values)], [i, i], color=FAINT, linewidth=0.8, alpha=0.5, zorder=1
            )
    for name, values in scores.items():
        style = look[name]
        size = 62 if style.is_ours else 30
        hollow = failed[name]
        places = np.arange(len(tables))
        order = 4 if style.is_ours else 3
        axes.scatter(
            values[~hollow],
            places[~hollow],
            s=size,
            c=style.color,
            marker=style.marker,
            linewidths=0,
            alpha=0.9,
            zorder=order,
            label=name,
        )
        axes.scatter(
            values[hollow],
            places[hollow],
            s=size,
            c="none",
            marker=style.marker,
            edgecolors=style.color,
            linewidths=1.2,
            zorder=order,
        )
    if n_apart:
        axes.axhline(len(tables) - n_apart - 0.5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylim(len(tables) - 0.4, -0.6)
    axes.set_yticks(range(len(tables)), list(tables), fontsize=9, color=INK)
    plain(axes)
    axes.set_xlabel(title, fontsize=10, color=INK)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.7)
    _legend(figure, list(scores), look)
    return figure


def learning_curves(
    sizes: Sequence[str],
    panels: Mapping[
        str, Mapping[str, tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " sizes"]]]
    ],
    look: Mapping[str, Style],
    limits: Mapping[str, tuple[float, float]],
) -> Figure:
    """One panel per metric: mean over tables and its standard error against the number of context
    rows, equally spaced."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained", label="curves")
    names: list[str] = []
    for axes, (title, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for k, (name, (mean, error)) in enumerate(curves.items()):
            names.append(name)
            style = look[name]
            place = np.arange(len(sizes)) + 0.012 * (k - len(curves) / 2)  # error bars side by side
            width = 2.4 if style.is_ours else 1.3
            axes.errorbar(
                place,
                mean,
                np.nan_to_num(error),
                color=style.color,
                elinewidth=0.7,
                linewidth=width,
                marker=style.marker,
                ms=5,
            )
        axes.set_xticks(range(len(sizes)), list(sizes))
        axes.set_xlabel("context rows", fontsize=10, color=INK)
        axes.set_title(title, fontsize=10.5, color=INK)
        axes.set_ylim(*limits[title])
        plain(axes)
        axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.7)
    _legend(figure, list(dict.fromkeys(names)), look)
    return figure


def calibration_panels(
    bins: Mapping[str, Float[np.ndarray, "bins 3"]],
    errors: Mapping[str, float],
    look: Mapping[str, Style],
    axis_names: tuple[str, str] = ("confidence", "accuracy"),
) -> Figure:
    """A small panel per method: accuracy against confidence (or what else `axis_names` call x and
    y), area of a point ∝ rows; on the diagonal is calibrated, below overconfident."""
    n_columns = 4
    n_lines = -(-len(bins) // n_columns)
    figure = Figure(figsize=(WIDTH, 2.35 * n_lines), layout="constrained", label="calibration")
    grid = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False)
    lowest = min(float(b[:, :2].min()) for b in bins.values())
    for axes, (name, points) in zip(grid.flat, bins.items(), strict=False):
        style = look[name]
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.plot(points[:, 0], points[:, 1], color=style.color, linewidth=1.4)
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=14 + 120 * points[:, 2] / points[:, 2].sum(),
            c=style.color,
            marker=style.marker,
            linewidths=0,
        )
        axes.set_title(
            f"{name}  {errors[name]:.3f}",
            fontsize=9.5,
            color=INK,
            fontweight="bold" if style.is_ours else "normal",
        )
        axes.set(xlim=(lowest - 0.04, 1.03), ylim=(lowest - 0.04, 1.03))
        plain(axes)
    for axes in grid.flat[len(bins) :]:
        axes.axis("off")
    figure.supxlabel(axis_names[0], fontsize=10, color=INK)
    figure.supylabel(axis_names[1], fontsize=10, color=INK)
    return figure


def quality_against_time(
    points: Mapping[str, tuple[float, float]],
    title: str,
    look: Mapping[str, Style],
    higher_is_better: bool = True,
) -> Figure:
    """Mean score against seconds (logarithmic); a stepped line joins the methods that none is both
    faster and better than."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained", label="pareto")
    axes = figure.subplots()
    sign = 1 if higher_is_better else -1
    front, best = [], -np.inf
    for name in sorted(points, key=lambda n: (points[n][0], -sign * points[n][1])):
        if sign * points[name][1] > best:
            best = sign * points[name][1]
            front.append(name)
    axes.step(
        *zip(*[points[name] for name in front], strict=True),
        where="post",
        color=FAINT,
        linewidth=1.1,
        linestyle=(0, (4, 3)),
        zorder=1,
    )
    for name, (seconds, score) in points.items():
        style = look[name]
        axes.scatter(
            [seconds],
            [score],
            s=90 if style.is_ours else 48,
            c=style.color,
            marker=style.marker,
            linewidths=0,
            zorder=3,
        )
    axes.set_xscale("log")
    _name_points(axes, points, look, set(front))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("fit + predict (median over cells, one thread)", fontsize=10, color=INK)
    axes.set_ylabel(title, fontsize=10, color=INK)
    axes.margins(x=0.14, y=0.12)
    plain(axes)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.7)
    return figure


def _name_points(
    axes: Axes, points: Mapping[str, tuple[float, float]], look: Mapping[str, Style], bold: set[str]
) -> None:
    """Write each name beside its point, above or below where a neighbour is close."""
    ordered = sorted(points, key=lambda n: points[n][1])
    spread = max(1e-12, points[ordered[-1]][1] - points[ordered[0]][1])
    for i, name in enumerate(ordered):
        seconds, score = points[name]
        near = [
            n
            for n in ordered[:i]
            if score - points[n][1] < 0.04 * spread and abs(np.log10(points[n][0] / seconds)) < 0.6
        ]
        up = 9 if near or name in bold else -1  # above the line that joins the best
        weight = "bold" if look[name].is_ours else "normal"
        alpha = 1.0 if name in bold or look[name].is_ours else 0.75
        axes.annotate(
            name,
            (seconds, score),
            (8, up),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            fontweight=weight,
            alpha=alpha,
            va="center",
        )


def plain(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=INK, labelsize=9)
    axes.set_axisbelow(True)


def _legend(figure: Figure, names: Sequence[str], look: Mapping[str, Style]) -> None:
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=look[n].marker,
            color=look[n].color,
            markeredgewidth=0,
            markersize=8 if look[n].is_ours else 6,
            label=n,
        )
        for n in names
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=6,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=1.2,
    )
