"""Pictures of beliefs: what a network predicts, beside the exact posterior and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, FAINT, GRID = "#22262b", "#6d747c", "#e3e6e9"
WIDTH = 8.4
"""Inches of a figure: it fills a page of the documentation."""

PALE = LinearSegmentedColormap.from_list(
    "violet to orange", ["#9d92c9", "#d6d2ea", "#ffffff", "#fbd9a8", "#f0a94f"]
)
"""From class 0 to class 1: pale enough for marks and lines on it."""

Who = Literal["network", "exact", "truth"]
"""Whose belief a curve shows; the truth is what nobody was told."""

LOOKS: dict[str, dict[str, Any]] = {
    "network": {"color": "#c8452f", "linestyle": "-", "linewidth": 2.1, "zorder": 3},
    "exact": {"color": "#2f6f8f", "linestyle": (0, (3.5, 2.5)), "linewidth": 1.5, "zorder": 4},
    "truth": {"color": INK, "linestyle": (0, (1, 1.6)), "linewidth": 1.4, "zorder": 2},
}
"""Colour and kind of line: they differ in both, so that print without colours tells them apart."""
LABELS: dict[str, str] = {"network": "network", "exact": "exact posterior", "truth": "truth"}
"""What a legend calls them."""


def panels(
    n_columns: int = 1, n_rows: int = 1, *, height: float = 2.9, **options: Any
) -> tuple[Figure, Any]:
    """A new pyplot figure as wide as a page, and its panels (n_rows, n_columns), `height` inches
    each; `options` as in `plt.subplots`."""
    size = (WIDTH, height * n_rows + 0.4)
    figure, grid = pyplot.subplots(
        n_rows,
        n_columns,
        figsize=size,
        dpi=130,
        layout="constrained",
        facecolor="white",
        squeeze=False,
        **options,
    )
    for axes in grid.flat:
        quiet(axes)
    return figure, grid


def some_panels(n: int, most_columns: int, height: float) -> tuple[Figure, Any]:
    """A new figure with `n` panels, at most so many beside each other, and these panels (n,); what
    is left of the last row stays empty."""
    n_columns = min(most_columns, n)
    figure, grid = panels(n_columns, -(-n // n_columns), height=height)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    return figure, grid.flat[:n]


def quiet(axes: Axes) -> Axes:
    """Leave a panel a faint grid in place of a frame."""
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    axes.spines[:].set_visible(False)
    return axes


def named(axes: Axes, title: str = "", x_label: str = "", y_label: str = "") -> Axes:
    """Write what a panel shows, along which axes and in which units; "" leaves what stands
    there."""
    if title:
        axes.set_title(title, loc="left", fontsize=9.5, color=INK)
    if x_label:
        axes.set_xlabel(x_label, fontsize=9, color=INK)
    if y_label:
        axes.set_ylabel(y_label, fontsize=9, color=INK)
    return axes


def legend_above(figure: Figure) -> None:
    """One legend over all panels, each label once, where it covers no data."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def look_of(who: Who) -> dict[str, Any]:
    """Colour and kind of line of whose belief it is."""
    if who not in LOOKS:
        raise ValueError(f"who is {who!r}, must be one of {', '.join(map(repr, LOOKS))}.")
    return LOOKS[who]


def curve(
    axes: Axes,
    x: Num[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    who: Who,
    label: str | None = None,
    **look: Any,
) -> Axes:
    """A belief along x as a line; `look` changes single properties of the line."""
    properties = look_of(who) | look
    axes.plot(x, y, label=label or LABELS[who], **properties)
    return axes


def band(
    axes: Axes,
    x: Num[np.ndarray, " n"],
    quantiles: Float[np.ndarray, "3 n"],
    who: Who,
    label: str | None = None,
) -> Axes:
    """Lower, middle and upper quantile along x: filled around its middle for a network, lines alone
    for others."""
    low, middle, high = quantiles
    look = look_of(who)
    curve(axes, x, middle, who, label)
    if who == "network":
        axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0, zorder=1)
        return axes
    for edge in (low, high):
        axes.plot(x, edge, **look | {"linewidth": 0.8 * look["linewidth"]})
    return axes


def observed(
    axes: Axes,
    x: Num[np.ndarray, " n"],
    y: Num[np.ndarray, " n"],
    label: str = "rows seen",
    classes: Num[np.ndarray, " n"] | None = None,
) -> Axes:
    """The rows that were seen: dark dots; with `classes` 0 and 1, white discs and dark
    triangles."""
    if classes is None:
        axes.plot(
            x,
            y,
            linestyle="",
            marker="o",
            markersize=4,
            color=INK,
            markeredgecolor="white",
            label=label,
            zorder=5,
        )
        return axes
    if not np.isin(classes, (0, 1)).all():
        raise ValueError(f"classes holds {np.unique(classes).tolist()}, must be 0 and 1 alone.")
    for one, (marker, color, edge) in enumerate((("o", "white", INK), ("^", INK, "white"))):
        rows = classes == one
        style = {
            "linestyle": "",
            "marker": marker,
            "markersize": 5,
            "color": color,
            "markeredgecolor": edge,
            "markeredgewidth": 0.8,
        }
        axes.plot(x[rows], y[rows], label=f"class {one}", zorder=5, **style)
    return axes


def fan(
    axes: Axes,
    x: Num[np.ndarray, " n"],
    paths: Float[np.ndarray, "m n"],
    who: Who,
    label: str | None = None,
) -> Axes:
    """Many sequences as faint lines over each other."""
    look = look_of(who) | {"linestyle": "-", "linewidth": 0.9, "alpha": 0.6}
    for i, path in enumerate(paths):
        axes.plot(x, path, label=(label or LABELS[who]) if i == 0 else None, **look)
    return axes


def probability_field(
    axes: Axes,
    x: Float[np.ndarray, " columns"],
    y: Float[np.ndarray, " rows"],
    probability: Float[np.ndarray, "rows columns"],
    who: Who,
) -> ScalarMappable:
    """Probability of class 1 over a plane, and a line where it is one half; gives the colours'
    scale, for `color_bar`."""
    image = axes.pcolormesh(
        x, y, probability, cmap=PALE, vmin=0, vmax=1, shading="nearest", rasterized=True, zorder=0
    )
    look = look_of(who)
    if probability.min() < 0.5 < probability.max():
        lines = axes.contour(
            x,
            y,
            probability,
            levels=[0.5],
            colors=look["color"],
            linewidths=look["linewidth"],
            zorder=3,
        )
        lines.set_linestyle(look["linestyle"])
    axes.plot([], [], label=f"one half: {LABELS[who]}", **look)
    axes.grid(visible=False)
    return image


def number_map(
    axes: Axes,
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    limits: tuple[float, float],
) -> ScalarMappable:
    """Numbers in coloured cells, white to blue between `limits`; gives the colours' scale, for
    `color_bar`."""
    low, high = limits
    image = axes.imshow(
        values, cmap="Blues", vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )
    for (i, j), value in np.ndenumerate(values):
        dark, shown = (
            value - low > 0.6 * (high - low),
            round(float(value), 2) + 0.0,
        )  # + 0: no "-0.00"
        axes.text(
            j,
            i,
            f"{shown:.2f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else INK,
        )
    axes.set_xticks(np.arange(len(columns)), columns)
    axes.set_yticks(np.arange(len(rows)), rows)
    axes.grid(visible=False)
    return image


def color_bar(figure: Figure, colors: ScalarMappable, axes: Any, label: str) -> None:
    """A bar beside the panels `axes` that says what their colours mean."""
    bar = figure.colorbar(colors, ax=axes, shrink=0.8, pad=0.015, aspect=28)
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=FAINT, length=0)
    bar.outline.set_visible(False)
