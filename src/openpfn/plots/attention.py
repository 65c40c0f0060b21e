"""Pictures of attention patterns: how much each token takes from each other one, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

INK = "#22262b"
MOST_LABELS = 24


def pattern_axes(
    axes: Axes,
    pattern: Float[np.ndarray, "T S"],
    labels: Sequence[str] | None = None,
    title: str = "",
) -> AxesImage:
    """Draw one head's `pattern` on `axes`: row i shows what token i takes from each token, from 0
    (white) to 1."""
    image = axes.imshow(
        pattern, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="equal"
    )
    if labels is not None and len(labels) <= MOST_LABELS:
        axes.set_xticks(np.arange(pattern.shape[1]), labels, rotation=90, fontsize=6)
        axes.set_yticks(np.arange(pattern.shape[0]), labels, fontsize=6)
        axes.tick_params(length=0)
    axes.tick_params(colors=INK)
    axes.grid(visible=False)
    axes.set_title(title, fontsize=9, color=INK)
    return image


def attention_figure(
    patterns: Sequence[Float[np.ndarray, "H T S"]], labels: Sequence[str] | None = None
) -> Figure:
    """A panel for each head; one row of panels for each layer, whose `patterns` are (heads, tokens,
    tokens)."""
    n_layers, n_heads = len(patterns), max(len(layer) for layer in patterns)
    figure = Figure(
        figsize=(2.7 * n_heads + 0.8, 2.8 * n_layers + 0.3),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    panels: Any = figure.subplots(n_layers, n_heads, squeeze=False)
    image: Any = None
    for i, layer in enumerate(patterns):
        for j in range(n_heads):
            if j < len(layer):
                image = pattern_axes(panels[i, j], layer[j], labels, f"layer {i}, head {j}")
            else:
                panels[i, j].set_axis_off()
            if i == n_layers - 1:
                panels[i, j].set_xlabel("is read", fontsize=8, color=INK)
        panels[i, 0].set_ylabel("reads", fontsize=8, color=INK)
    bar = figure.colorbar(image, ax=panels, shrink=0.6, pad=0.01)
    bar.set_label("weight", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    return figure
