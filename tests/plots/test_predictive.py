"""Fans hold what was believed of each row, densities integrate to one, and truths are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from openpfn.heads import Gaussian
from openpfn.plots.predictive import densities, fan

MEAN = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
BELIEVED = Gaussian(MEAN, torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64))


def xy(line: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def edges(band: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest and highest y of a filled band at each x."""
    points = band.get_paths()[0].vertices
    at = np.unique(points[:, 0])
    low, high = ([pick(points[points[:, 0] == x, 1]) for x in at] for pick in (np.min, np.max))
    return at, np.array(low), np.array(high)


@pytest.mark.parametrize("x", [None, [0.0, 5.0, 2.0]])
def test_bands_and_means_are_those_of_the_rows_in_order(x):
    axes = fan(BELIEVED, x, coverages=(0.5, 0.8), axes=Figure().subplots())
    order = np.argsort(MEAN.numpy() if x is None else x)
    assert_allclose(xy(axes.lines[0])[1], MEAN.numpy()[order])
    for band, share in zip(axes.collections, (0.8, 0.5), strict=True):
        at, low, high = edges(band)
        assert_allclose(at, np.arange(3) if x is None else np.sort(x))
        for edge, end in zip((low, high), BELIEVED.interval(share), strict=True):
            assert_allclose(edge, end.numpy()[order])


def test_truths_are_drawn_and_those_inside_counted():
    axes = fan(BELIEVED, truth=[3.1, 99.0, np.nan], axes=Figure().subplots())
    assert axes.get_title(loc="left") == "50% of the true values lie in the 90% band"
    points = {line.get_label(): xy(line)[1].tolist() for line in axes.lines}
    assert points["true value"] == [3.1]
    assert points["true value outside the bands"] == [99.0]


def test_rows_that_differ_elsewhere_are_lines_of_their_own():
    axes = fan(BELIEVED, [1.0, 1.0, 2.0], filled=False, axes=Figure().subplots())
    low, high = (end.numpy()[[0, 1, 2]] for end in BELIEVED.interval(0.9))
    lines: Any = axes.collections[0]
    segments = np.array(lines.get_segments())
    assert_allclose(segments[:, 0, 1], low)
    assert_allclose(segments[:, 1, 1], high)


def test_densities_have_their_shape_their_mean_and_their_truth():
    axes = densities(BELIEVED, [1, 2], truth=[0.0, 7.0, 8.0], axes=Figure().subplots())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["row 1", "row 2"]
    curves = [line for line in axes.lines if len(xy(line)[0]) > 2]
    for row, base, curve in zip((1, 2), (1, 0), curves, strict=True):
        y, height = xy(curve)[0], xy(curve)[1] - base
        density = np.exp(BELIEVED.log_prob(torch.from_numpy(y)[:, None]).numpy()[:, row])
        assert_allclose(height, 0.85 * density / density.max(), atol=0.03)
    marks = [np.ravel(xy(line)).tolist() for line in axes.lines if line.get_marker() == "o"]
    assert marks == [[7.0, 1.0], [8.0, 0.0]]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: fan(BELIEVED, coverages=(1.5,)), "coverages is"),
        (lambda: fan(BELIEVED, truth=[1.0]), "truth holds 1 values, but 3 rows"),
        (lambda: densities(BELIEVED, [3]), "numbers of rows from 0 to 2"),
        (lambda: densities(BELIEVED, []), "numbers of rows from 0 to 2"),
        (lambda: densities(BELIEVED, [0], names=["a", "b"]), "names holds 2 names"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
