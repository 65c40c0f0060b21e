"""A picture of a mask: which token of a sequence reads which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

READS, BLANK, INK, GRID = "#2f6f8f", "#f4f5f6", "#22262b", "#ffffff"


def mask_axes(
    axes: Axes, allowed: Bool[np.ndarray, "T T"], labels: Sequence[str], title: str = ""
) -> Axes:
    """Draw `allowed` on `axes`: row i is filled where token i reads token j."""
    n = len(allowed)
    if len(labels) != n:
        raise ValueError(f"there are {n} tokens and {len(labels)} labels. Give one label for each.")
    axes.imshow(
        allowed, cmap=ListedColormap([BLANK, READS]), vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_xticks(np.arange(n), labels, rotation=90, fontsize=8)
    axes.set_yticks(np.arange(n), labels, fontsize=8)
    axes.set_xticks(np.arange(-0.5, n), minor=True)
    axes.set_yticks(np.arange(-0.5, n), minor=True)
    axes.grid(which="minor", color=GRID, linewidth=1)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("is read", color=INK)
    axes.set_ylabel("reads", color=INK)
    axes.set_title(title, fontsize=11, color=INK)
    return axes


def mask_figure(masks: dict[str, tuple[Bool[np.ndarray, "T T"], Sequence[str]]]) -> Figure:
    """One panel for each title, its mask and the labels of its tokens."""
    figure = Figure(
        figsize=(3.6 * len(masks) + 0.4, 4.0), dpi=150, layout="constrained", facecolor="white"
    )
    panels: Any = figure.subplots(1, len(masks), squeeze=False)[0]
    for axes, (title, (allowed, labels)) in zip(panels, masks.items(), strict=True):
        mask_axes(axes, allowed, labels, title)
    return figure


def token_labels(n_rows: int) -> list[str]:
    """Labels of the interleaved tokens of `n_rows` rows: x₀, (x, y)₀, x₁, (x, y)₁, …"""
    digits = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    return [
        f"{token}{str(i).translate(digits)}" for i in range(n_rows) for token in ("x", "(x, y)")
    ]
