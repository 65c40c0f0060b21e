"""A picture of tasks drawn from a prior: what their columns look like, and what the target depends
on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy import ndarray

# Paul Tol's "muted" scheme and grey: ten colours that people with any colour vision tell apart
# (personal.sron.nl/~pault)
COLORS = (
    "#332288",
    "#DDCC77",
    "#CC6677",
    "#44AA99",
    "#88CCEE",
    "#AA4499",
    "#117733",
    "#999933",
    "#882255",
    "#888888",
)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "p")  # classes differ in shape too
INK, FAINT, BAR = "#222222", "#8a8a8a", "#4477AA"
DIVERGING: Colormap = LinearSegmentedColormap.from_list(
    "blue to red", ["#2166AC", "#92C5DE", "#F7F7F7", "#F4A582", "#B2182B"]
)
N_BINS = 8
MOST_POINTS = 400
MOST_BARS = 8


@dataclass(frozen=True, eq=False)
class DrawnTask:
    """One task as arrays, without padding."""

    x: Float[ndarray, "N D"]
    """Column values; NaN is missing."""
    y: Float[ndarray, " N"]
    """Class indices, or real values in regression."""
    n_train: int
    """How many leading rows are context."""
    n_classes: int | None
    """Classes; None in regression."""
    categorical: Bool[ndarray, " D"]
    """Which columns hold category codes."""


def tasks_figure(tasks: Sequence[DrawnTask], title: str) -> Figure:
    """One row per task: its two most informative columns, what each column tells, the target, the
    correlations."""
    height = 0.75 + 2.9 * len(tasks)
    figure = Figure(figsize=(13, height), layout="constrained", facecolor="white")
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(h_pad=0.06, w_pad=0.08, hspace=0.17, rect=(0, 0, 1, 1 - 0.72 / height))
    figure.text(
        0.008,
        1 - 0.1 / height,
        title,
        ha="left",
        va="top",
        fontsize=15,
        fontweight="bold",
        color=INK,
    )
    panels = figure.subplots(len(tasks), 4, width_ratios=[1.35, 1.05, 0.85, 1.05], squeeze=False)
    for i, (row, task) in enumerate(zip(panels, tasks, strict=True)):
        _task_row(figure, list(row), task)
        heading = f"{i + 1}    {describe(task)}"
        row[0].text(
            0, 1.17, heading, transform=row[0].transAxes, fontsize=10.5, color=INK
        ).set_in_layout(False)
    return figure


def describe(task: DrawnTask) -> str:
    """The size and kind of a task in words."""
    n, d = task.x.shape
    kinds = [f"{task.categorical.sum()} categorical"] if task.categorical.any() else []
    if (missing := np.isnan(task.x).mean()) > 0:
        kinds.append(f"{max(missing, 0.001):.1%} missing")
    inside = f" ({', '.join(kinds)})" if kinds else ""
    target = "real-valued target" if task.n_classes is None else f"{task.n_classes} classes"
    return (
        f"{task.n_train} context + {n - task.n_train} query rows  ·  {d}"
        f" column{'s' * (d > 1)}{inside}  ·  {target}"
    )


def scatter_of_two_columns(axes: Axes, task: DrawnTask, first: int, second: int | None) -> None:
    """Rows on two columns, coloured by the target: context filled, query hollow. Missing values lie
    on the lower edge."""
    step = max(1, -(-len(task.y) // MOST_POINTS))
    is_context = (np.arange(len(task.y)) < task.n_train)[::step]
    across, across_limits = _spread(task, first, step)
    if second is None:  # a single column: the target upwards
        up, up_limits = _jitter(task.y[::step], seed=1), None
    else:
        up, up_limits = _spread(task, second, step, seed=1)
    y = task.y[::step]
    for k, (color, marker) in enumerate(_styles(task)):
        of_class = (y == k) if task.n_classes is not None else np.ones(len(y), bool)
        for chosen, filled in ((of_class & ~is_context, False), (of_class & is_context, True)):
            look: dict[str, Any] = {"s": 17, "marker": marker, "linewidths": 0.9, "alpha": 0.8}
            if color is None:
                look |= (
                    {"c": y[chosen], "cmap": "cividis", "vmin": y.min(), "vmax": y.max()}
                    if filled
                    else {"edgecolors": FAINT}
                )
            else:
                look |= {
                    "edgecolors": color if not filled else "white",
                    "linewidths": 0.9 if not filled else 0.3,
                }
            if color is not None or not filled:
                look["facecolors"] = color if filled else "none"
            axes.scatter(across[chosen], up[chosen], **look)
    axes.set_xlabel(_column_name(task, first))
    axes.set_ylabel("target" if second is None else _column_name(task, second))
    axes.set_xlim(across_limits)
    axes.set_ylim(up_limits)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def bars_of_what_columns_tell(axes: Axes, task: DrawnTask, told: Float[ndarray, " D"]) -> None:
    """The share of the target's entropy that each column tells on its own, the most telling columns
    only."""
    best = np.argsort(-told, kind="stable")[:MOST_BARS]
    axes.barh(np.arange(len(best)), told[best], color=BAR, height=0.66)
    axes.set_yticks(
        np.arange(len(best)), [f"{j + 1}{' cat.' if task.categorical[j] else ''}" for j in best]
    )
    if told.max() < 0.01:
        centred: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(
            0.5, 0.55, "no column tells anything\non its own", color=FAINT, fontsize=9, **centred
        )
    axes.set_ylim(max(len(best), 4) - 0.5, -0.6)
    axes.set_ylabel("column")
    left_out = len(told) - len(best)
    axes.set_xlabel("told by the column alone" + (f"  (+ {left_out} weaker)" if left_out else ""))
    axes.set_xlim(0, max(0.25, 1.12 * told.max()))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def bars_of_class_balance(axes: Axes, task: DrawnTask) -> None:
    """The share of each class; a tick marks its share among the context rows alone. In regression,
    a histogram."""
    if task.n_classes is None:
        axes.hist(task.y, bins=24, color=BAR)
        axes.set(xlabel="target", ylabel="rows")
        return
    classes = np.arange(task.n_classes)
    shares = np.array([(task.y == k).mean() for k in classes])
    in_context = np.array([(task.y[: task.n_train] == k).mean() for k in classes])
    axes.bar(classes, shares, color=[color or BAR for color, _ in _styles(task)], width=0.72)
    axes.hlines(in_context, classes - 0.36, classes + 0.36, color=INK, linewidth=1.3)
    axes.set_xticks(classes)
    axes.set_xlim(-0.8, max(task.n_classes, 3) - 0.2)
    axes.set_ylim(0, 1.12 * max(shares.max(), in_context.max()))
    axes.set_xlabel("class")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def correlation_matrix(axes: Axes, x: Float[ndarray, "N D"]) -> Any:
    """Pearson correlations of the columns' ranks over the rows where both are known; returns the
    image."""
    image = axes.imshow(
        rank_correlations(x), cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest"
    )
    d = x.shape[1]
    ticks = np.arange(d) if d <= 6 else np.unique(np.linspace(0, d - 1, 5).astype(int))
    axes.set_xticks(ticks, [str(t + 1) for t in ticks])
    axes.set_yticks(ticks, [str(t + 1) for t in ticks])
    axes.set_xlabel("column")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    return image


def told_by_columns(task: DrawnTask) -> Float[ndarray, " D"]:
    """Mutual information of each column, in bins, and the target, over the target's entropy: 0
    nothing, 1 everything.

    Missing values are a bin of their own; the bias of the estimate, (cells − 1)(classes − 1) / 2N
    nats, is taken off (Miller 1955), so that columns that tell nothing show about zero.
    """
    target = _target_bins(task)
    return np.array([_told(bins, target) for bins in _bins(task)])


def most_informative_pair(task: DrawnTask) -> tuple[int, int | None]:
    """The column that tells most of the target, and the one that tells most together with it (None
    if there is no other)."""
    target, bins = _target_bins(task), _bins(task)
    first = int(np.argmax([_told(b, target) for b in bins]))
    others = [j for j in range(len(bins)) if j != first]
    if not others:
        return first, None
    together = [_told(bins[first] * (bins[j].max() + 1) + bins[j], target) for j in others]
    return first, others[int(np.argmax(together))]


def rank_correlations(x: Float[ndarray, "N D"]) -> Float[ndarray, "D D"]:
    """Spearman's correlation of every pair of columns; a missing value counts as the middle rank, a
    constant column as 0."""
    ranks = np.stack([_ranks(column) for column in x.T], axis=1)
    scale = np.sqrt((ranks**2).sum(axis=0))
    normed = ranks / np.where(scale > 0, scale, 1)
    return normed.T @ normed


def _task_row(figure: Figure, panels: list[Axes], task: DrawnTask) -> None:
    scatter_of_two_columns(panels[0], task, *most_informative_pair(task))
    bars_of_what_columns_tell(panels[1], task, told_by_columns(task))
    bars_of_class_balance(panels[2], task)
    image = correlation_matrix(panels[3], task.x)
    bar = figure.colorbar(image, ax=panels[3], shrink=0.8, ticks=[-1, 0, 1], aspect=14, pad=0.03)
    bar.ax.spines[:].set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=FAINT)
    pair = "the two columns that tell most" if task.x.shape[1] > 1 else "the column and the target"
    headings = (pair, "what the target depends on", "the target", "rank correlations")
    for panel, heading in zip(panels, headings, strict=True):
        _quieten(panel, heading)
    context = Line2D([], [], marker="o", linestyle="", color=FAINT, markersize=4, label="context")
    query = Line2D(
        [],
        [],
        marker="o",
        linestyle="",
        color=FAINT,
        markersize=4,
        markerfacecolor="none",
        label="query",
    )
    _key(panels[0], [context, query])
    if task.n_classes is not None:
        _key(panels[2], [Line2D([], [], color=INK, linewidth=1.3, label="context", markersize=4)])


def _key(axes: Axes, handles: list[Line2D]) -> None:
    """What the marks mean, in one quiet line above the panel's right end."""
    legend = axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.03, 0.985),
        ncols=2,
        fontsize=7.5,
        frameon=False,
        borderpad=0.1,
        handletextpad=0.3,
        columnspacing=0.8,
        handlelength=1.0,
        labelcolor=FAINT,
    )
    legend.set_in_layout(False)


def _quieten(axes: Axes, heading: str) -> None:
    axes.set_title(heading, fontsize=9, color=FAINT, loc="left", pad=5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cccccc")
    axes.tick_params(labelsize=8, colors=FAINT, labelcolor="#555555", length=2.5)
    axes.xaxis.label.set(size=8.5, color="#555555")
    axes.yaxis.label.set(size=8.5, color="#555555")


def _styles(task: DrawnTask) -> list[tuple[str | None, str]]:
    """Colour and marker per class; a single style without colour in regression."""
    if task.n_classes is None:
        return [(None, "o")]
    return [(COLORS[k % len(COLORS)], MARKERS[k % len(MARKERS)]) for k in range(task.n_classes)]


def _column_name(task: DrawnTask, column: int) -> str:
    return f"column {column + 1}" + (" (categories)" if task.categorical[column] else "")


def _spread(
    task: DrawnTask, column: int, step: int, seed: int = 0
) -> tuple[Float[ndarray, " n"], tuple[float, float]]:
    """Values for drawing and the limits of their axis: few outliers are put on the edge, codes are
    spread out."""
    values = task.x[::step, column]
    if np.isnan(values).all():
        return np.zeros(len(values)), (-1.0, 1.0)
    if task.categorical[column] or len(np.unique(values[~np.isnan(values)])) <= N_BINS:
        values = _jitter(values, seed)
    low, high = np.nanquantile(values, [0.02, 0.98])
    widest = (high - low) or 1.0
    low, high = (
        max(np.nanmin(values), low - 0.3 * widest),
        min(np.nanmax(values), high + 0.3 * widest),
    )
    margin = 0.06 * ((high - low) or 1.0)
    drawn = np.where(np.isnan(values), low - margin, np.clip(values, low, high))
    return drawn, (float(low - 1.5 * margin), float(high + 1.5 * margin))


def _jitter(codes: Float[ndarray, " n"], seed: int) -> Float[ndarray, " n"]:
    known = np.unique(codes[~np.isnan(codes)])
    width = max(0.28 * np.diff(known).min(), 0.02 * np.ptp(known)) if len(known) > 1 else 0.28
    return codes + width * np.random.default_rng(seed).uniform(-1, 1, len(codes))


def _bins(task: DrawnTask) -> list[Int[ndarray, " N"]]:
    """Per column the bin of each row: its category, or an eighth of the ranks; 0 where the value is
    missing."""
    return [_binned(task.x[:, j], keep=bool(task.categorical[j])) for j in range(task.x.shape[1])]


def _target_bins(task: DrawnTask) -> Int[ndarray, " N"]:
    return _binned(task.y, keep=task.n_classes is not None)


def _binned(values: Float[ndarray, " N"], keep: bool) -> Int[ndarray, " N"]:
    known = ~np.isnan(values)
    bins = np.zeros(len(values), np.int64)
    if not known.any():
        return bins
    distinct, codes = np.unique(values[known], return_inverse=True)
    if keep or len(distinct) <= N_BINS:
        bins[known] = codes + 1
    else:
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, N_BINS + 1)[1:-1]))
        bins[known] = np.searchsorted(edges, values[known], side="left") + 1
    return bins


def _told(bins: Int[ndarray, " N"], target: Int[ndarray, " N"]) -> float:
    counts = np.zeros((bins.max() + 1, target.max() + 1))
    np.add.at(counts, (bins, target), 1)
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    joint = counts / counts.sum()
    p_bin, p_class = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    entropy = -(p_class * np.log(p_class)).sum()
    if entropy == 0:
        return 0.0
    known = joint > 0
    information = (joint[known] * np.log((joint / (p_bin * p_class))[known])).sum()
    bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * counts.sum())
    return float(np.clip((information - bias) / entropy, 0, 1))


def _ranks(values: Float[ndarray, " N"]) -> Float[ndarray, " N"]:
    """Ranks around zero, ties at their mean, missing values at zero."""
    known = ~np.isnan(values)
    ranks = np.zeros(len(values))
    if known.any():
        _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        ranks[known] = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
        ranks[known] -= ranks[known].mean()
    return ranks
