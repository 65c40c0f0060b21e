"""Pictures of a comparison of mechanisms: curves with standard errors in panels, and bars of what
each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from openpfn.plots.benchmark import FAINT, INK, MARKERS, WIDTH, Style, plain

COLORS = (
    "#4a86c5",
    "#e4572e",
    "#3f9f78",
    "#8f6bc9",
    "#d9961a",
    "#b0327a",
    "#2f9fb3",
    "#7a8b2f",
    "#a5765f",
    "#5c74d6",
)
DASHED = (0, (5, 3))

Curve = tuple[
    Float[np.ndarray, " points"], Float[np.ndarray, " points"], Float[np.ndarray, " points"]
]
"""Places, means and standard errors (NaN for none)."""


def mechanism_styles(names: Sequence[str], baseline: str | None = None) -> dict[str, Style]:
    """A colour and a marker for each mechanism; `baseline` is drawn faint."""
    out = {
        name: Style(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], False)
        for i, name in enumerate(names)
    }
    return out | ({} if baseline is None else {baseline: Style(FAINT, "", False)})


@dataclass(frozen=True)
class Panel:
    """What one panel of curves shows."""

    title: str
    """Written above it."""
    x_label: str
    """Written below it."""
    curves: Mapping[str, Curve]
    """A curve per name."""
    log_x: bool = False
    """Logarithmic places, each of them a tick."""
    log_y: bool = False
    """Logarithmic values, without bands."""
    marks: bool = False
    """A mark at each point."""


def curve_panels(
    panels: Sequence[Panel], look: Mapping[str, Style], *, label: str, n_columns: int = 3
) -> Figure:
    """A curve per name in each panel, with a band of one standard error; names without a marker are
    dashed.

    Linear axes look at the last four fifths of the curves, so that the fall at the beginning does
    not flatten the rest.
    """
    n_columns = min(n_columns, len(panels))
    n_lines = -(-len(panels) // n_columns)
    figure = Figure(figsize=(WIDTH, 0.3 + 3.2 * n_lines), layout="constrained", label=label)
    for axes, panel in zip(
        figure.subplots(n_lines, n_columns, squeeze=False).flat, panels, strict=False
    ):
        for name, (x, mean, error) in panel.curves.items():
            style = look[name]
            line = "-" if style.marker else DASHED
            axes.plot(
                x,
                mean,
                color=style.color,
                linewidth=1.7,
                linestyle=line,
                marker=style.marker if panel.marks else "",
                markersize=4.5,
            )
            if np.isfinite(error).any() and not panel.log_y:
                axes.fill_between(
                    x, mean - error, mean + error, color=style.color, alpha=0.18, linewidth=0
                )
        _scale(axes, panel)
        axes.set_title(panel.title, loc="left", fontsize=10, color=INK)
        axes.set_xlabel(panel.x_label, fontsize=9, color=INK)
        _plain(axes)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    _legend(figure, names, look, any(panel.marks for panel in panels))
    return figure


def cost_bars(
    panels: Mapping[str, Mapping[str, float]], look: Mapping[str, Style], *, label: str
) -> Figure:
    """A panel of horizontal bars per title, the value written at the end of each bar."""
    n_bars = max(map(len, panels.values()))
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * n_bars), layout="constrained", label=label)
    for axes, (title, values) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        places = np.arange(len(values))[::-1]
        axes.barh(
            places, list(values.values()), color=[look[name].color for name in values], height=0.66
        )
        for place, value in zip(places, values.values(), strict=True):
            axes.text(
                value,
                place,
                f" {value:,.3g}" if value < 1000 else f" {value:,.0f}",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        axes.set_yticks(places, list(values), fontsize=9, color=INK)
        axes.set_xlim(0, 1.18 * max(values.values()))
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.xaxis.set_major_locator(NullLocator())
        _plain(axes)
        axes.grid(visible=False)
    return figure


def _scale(axes: Axes, panel: Panel) -> None:
    if panel.log_x:
        _logarithmic_rows(axes, sorted({float(v) for x, _, _ in panel.curves.values() for v in x}))
    if panel.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    elif not panel.log_x:
        _look_at_the_end(axes, panel.curves)


def _look_at_the_end(axes: Axes, curves: Mapping[str, Curve]) -> None:
    seen = [mean[x >= 0.2 * x.max()] for x, mean, _ in curves.values() if len(x)]
    values = np.concatenate([v[np.isfinite(v)] for v in seen]) if seen else np.empty(0)
    if len(values):
        air = 0.06 * max(float(np.ptp(values)), 1e-3)
        axes.set_ylim(float(values.min()) - air, float(values.max()) + air)


def _logarithmic_rows(axes: Axes, places: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(
        places, [f"{int(v) // 1000}k" if v >= 1000 and v % 1000 == 0 else f"{v:g}" for v in places]
    )
    axes.xaxis.set_minor_locator(NullLocator())


def _plain(axes: Axes) -> None:
    plain(axes)
    axes.tick_params(labelsize=8.5)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.7)


def _legend(figure: Figure, names: Sequence[str], look: Mapping[str, Style], marks: bool) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=look[n].color,
            linewidth=2,
            linestyle="-" if look[n].marker else DASHED,
            marker=look[n].marker if marks else "",
            markersize=5,
            label=n,
        )
        for n in names
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=7,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.4,
    )
