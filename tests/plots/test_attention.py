"""Pictures of masks and patterns show the arrays that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from openpfn.models.sequence.masks import interleaved
from openpfn.plots.attention import attention_figure
from openpfn.plots.mask import mask_axes, mask_figure, token_labels


def test_the_mask_is_the_picture():
    allowed = interleaved("autoregressive-pfn", 3).numpy()
    axes = mask_axes(Figure().subplots(), allowed, token_labels(3), "pfn")
    np.testing.assert_array_equal(axes.images[0].get_array(), allowed)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "x₀",
        "(x, y)₀",
        "x₁",
        "(x, y)₁",
        "x₂",
        "(x, y)₂",
    ]
    assert axes.get_title() == "pfn"
    with pytest.raises(ValueError, match="6 tokens and 2 labels"):
        mask_axes(Figure().subplots(), allowed, token_labels(1))


def test_each_mask_has_a_panel():
    figure = mask_figure(
        {
            name: (interleaved(name, 2).numpy(), token_labels(2))
            for name in ("autoregressive-pfn", "gpt2")
        }
    )
    assert [axes.get_title() for axes in figure.axes] == ["autoregressive-pfn", "gpt2"]


def test_each_head_of_each_layer_has_a_panel():
    patterns = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 3, 4))
    figure = attention_figure(list(patterns), token_labels(2))
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == [
        f"layer {i}, head {j}" for i in range(2) for j in range(3)
    ]
    np.testing.assert_array_equal(panels[4].images[0].get_array(), patterns[1, 1])
    assert bar.get_ylabel() == "weight"
