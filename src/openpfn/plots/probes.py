"""`difference_map`: differences of a method to a baseline over a grid, red where it is behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

INK, FAINT = "#22262b", "#7d868f"
LIMIT = 0.2
"""Differences beyond this have the strongest colours."""
DARK = 0.12
"""Differences beyond this have colours on which dark text is hard to read."""


def difference_map(
    path: Path,
    values: Float[np.ndarray, "L P"],
    lines: Sequence[str],
    places: Sequence[tuple[int, int]],
    title: str,
) -> None:
    """Write a picture with a coloured number for each difference: a line for each of `lines`, a
    column for each of `places` (context rows, columns); NaN stays empty."""
    n_lines, n_places = values.shape
    figure = Figure(
        figsize=(2.6 + 0.62 * max(n_places, 5), 1.5 + 0.25 * n_lines),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    axes = figure.subplots()
    axes.imshow(values, cmap="RdBu", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    for i, j in np.argwhere(np.isfinite(values)):
        value = float(values[i, j])
        shown = f"{value:+.2f}".replace("0.", ".").replace("-", "−")
        color = "white" if abs(value) > DARK else INK
        axes.text(float(j), float(i), shown, ha="center", va="center", fontsize=7, color=color)
    axes.set_yticks(range(n_lines), list(lines), fontsize=7.5, color=INK)
    axes.set_xticks(range(n_places), [str(width) for _, width in places], fontsize=7.5, color=INK)
    axes.tick_params(length=0)
    axes.set_xlabel("columns", fontsize=8, color=INK)
    rows = [row for row, _ in places]
    for row in dict.fromkeys(rows):
        first, last = rows.index(row), n_places - 1 - rows[::-1].index(row)
        axes.annotate(
            f"{row} rows",
            ((first + last) / 2, -0.6),
            ha="center",
            va="bottom",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )
        if first:
            axes.axvline(first - 0.5, color=INK, linewidth=0.8)
    groups = [line.partition(",")[0] for line in lines]
    for i in range(1, n_lines):
        if groups[i] != groups[i - 1]:
            axes.axhline(i - 0.5, color=FAINT, linewidth=0.5)
    axes.spines[:].set_visible(False)
    axes.set_title(" ", fontsize=8, pad=10)  # room for the row counts
    figure.suptitle(title, x=0.01, ha="left", fontsize=8.5, color=INK)
    # no date: the same results give the same file
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
