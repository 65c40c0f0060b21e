"""Pictures of `openpfn benchmark edge`: quality against what a method costs on a chip."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from openpfn.plots.benchmark import FAINT, INK, WIDTH, Style, plain


def pareto(
    points: Mapping[str, tuple[float, float, float]],
    axis_names: tuple[str, str, str],
    look: Mapping[str, Style],
) -> Figure:
    """Return two panels, the third number of each method's point (smaller is better) against the
    first and against the second, on logarithmic axes; a line joins the methods that no other one
    beats in both."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained", label="pareto")
    for place, axes in enumerate(figure.subplots(1, 2, sharey=True)):
        front = frontier({name: (one[place], one[2]) for name, one in points.items()})
        axes.step(
            [points[name][place] for name in front],
            [points[name][2] for name in front],
            where="post",
            color=FAINT,
            linewidth=1,
            zorder=1,
        )
        for name, one in points.items():
            style = look[name]
            size = 52 if style.is_ours else 34
            axes.scatter(one[place], one[2], s=size, c=style.color, marker=style.marker, zorder=3)
            axes.annotate(
                name,
                (one[place], one[2]),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
                color=INK,
                fontweight="bold" if name in front else "normal",
            )
        axes.set_xscale("log")
        axes.set_xlabel(axis_names[place], fontsize=10, color=INK)
        axes.margins(x=0.16)
        plain(axes)
        axes.grid(color=FAINT, alpha=0.25, linewidth=0.7)
        if place == 0:
            axes.set_ylabel(axis_names[2], fontsize=10, color=INK)
    return figure


def frontier(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the methods that no other one beats in both numbers, by the first one."""
    kept: list[str] = []
    for name in sorted(points, key=lambda one: points[one]):
        if not kept or points[name][1] < points[kept[-1]][1]:
            kept.append(name)
    return kept
