"""`plot_metric` draws the columns it is asked for, whoever wrote the history."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from openpfn.plots.metric import KINDS, mean_curve, plot_metric
from openpfn.training.tracking.history import COLUMNS

OURS = pd.DataFrame(
    {
        "step": [10, 20, 30, 40],
        "seconds": [1.0, 2.0, 3.0, 4.0],
        "loss": [0.9, 0.7, 0.6, 0.5],
        "eval_loss": [np.nan, 0.8, np.nan, 0.6],
        "eval_auc": [np.nan, 0.7, np.nan, 0.9],
    }
)
THEIRS = pd.DataFrame(
    {
        "step": [1, 2],
        "train loss": [0.8, 0.4],
        "cumulative time": [5.0, 9.0],
        "ROC AUC": [0.6, 0.75],
    }
)


def drawn(kind, histories):
    return plot_metric(kind, histories, Figure().subplots())


def widths(axes):
    return [patch.get_bbox().width for patch in axes.patches]


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("train loss vs time", ([1, 2, 3, 4], [0.9, 0.7, 0.6, 0.5]), ([5, 9], [0.8, 0.4])),
        ("train loss vs step", ([10, 20, 30, 40], [0.9, 0.7, 0.6, 0.5]), ([1, 2], [0.8, 0.4])),
        ("ROC vs time", ([2, 4], [0.7, 0.9]), ([5, 9], [0.6, 0.75])),
        ("roc VS step", ([20, 40], [0.7, 0.9]), ([1, 2], [0.6, 0.75])),
    ],
)
def test_the_four_kinds_draw_our_histories_and_the_originals(kind, ours, theirs):
    axes = drawn(kind, {"ours": OURS, "Original": THEIRS})
    for line, (x, y) in zip(axes.lines, (ours, theirs), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), y)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ours", "Original"]


def test_every_column_of_a_curve_is_one_that_training_writes():
    for kind in (
        "train loss vs time",
        "train loss vs step",
        "ROC vs time",
        "ROC vs step",
        "eval loss vs time",
        "eval loss vs step",
    ):
        assert {KINDS[kind].x[0], KINDS[kind].y[0]} <= set(COLUMNS)


def test_several_seeds_become_their_mean_and_a_band_of_one_standard_error():
    losses = np.array([[0.9, 0.5], [0.7, 0.5], [0.5, 0.5]])
    runs = [pd.DataFrame({"step": [1, 2], "loss": row}) for row in losses]
    axes = drawn("train loss vs step", {"three": runs})
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), [0.7, 0.5])
    edges = np.asarray(axes.collections[0].get_paths()[0].vertices)
    at_first = edges[edges[:, 0] == 1, 1]
    error = losses[:, 0].std(ddof=1) / np.sqrt(3)
    np.testing.assert_allclose([at_first.min(), at_first.max()], [0.7 - error, 0.7 + error])


def test_runs_at_other_times_are_interpolated_where_all_have_been():
    where, mean, error = mean_curve(
        [(np.array([0.0, 2, 4]), np.array([0.0, 2, 4])), (np.array([1.0, 5]), np.array([3.0, 7]))]
    )
    np.testing.assert_allclose(where, [1, 2, 4])
    np.testing.assert_allclose(mean, [2, 3, 5])  # the lines y = x and y = x + 2
    np.testing.assert_allclose(error, 1)


def test_costs_are_bars_and_inference_time_is_logarithmic():
    costs = {"a": [OURS, OURS.assign(seconds=OURS["seconds"] * 2)], "b": OURS}
    assert widths(drawn("training time", costs)) == [6, 4]
    memory = {"a": pd.DataFrame({"peak_megabytes": [100.0, 300.0]})}
    assert widths(drawn("peak memory", memory)) == [300]
    axes = drawn(
        "inference time", {"a": pd.DataFrame({"rows": [100, 40], "seconds": [0.02, 0.01]})}
    )
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [40, 100])


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [(40, 100, 500, 1000), (300, 500, 700), (1000, 1100, 1200, 10_000), (64,), range(40, 1001, 20)],
)
@pytest.mark.parametrize("slowest", [0.011, 0.09, 50.0])
def test_the_labels_of_inference_times_do_not_collide(rows, slowest):
    seconds = np.geomspace(0.01, slowest, len(rows))
    axes = drawn("inference time", {"a": pd.DataFrame({"rows": rows, "seconds": seconds})})
    FigureCanvasAgg(axes.figure).draw()
    for axis, side in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [t.label1.get_window_extent() for t in ticks if t.label1.get_text()]
        assert boxes, f"the {side} axis has no label"
        spans = sorted((getattr(box, f"{side}0"), getattr(box, f"{side}1")) for box in boxes)
        assert all(a[1] < b[0] for a, b in pairwise(spans)), side
        minor = [t.label1.get_text() for t in axis.get_minor_ticks()]
        assert not any(minor)


def test_the_memory_of_a_run_is_drawn():
    history = OURS.assign(peak_megabytes=[100.0, 120.0, 130.0, 130.0])
    assert widths(drawn("peak memory", {"a": history, "b": history * 2})) == [130, 260]
    assert KINDS["peak memory"].y[0] in COLUMNS


def test_without_axes_a_new_figure_is_begun():
    before = len(pyplot.get_fignums())
    axes = plot_metric("train loss vs step", {"ours": OURS})
    assert len(pyplot.get_fignums()) == before + 1
    pyplot.close(axes.figure)


def test_what_cannot_be_drawn_is_told_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown kind of figure 'loss'.*'ROC vs step'"):
        drawn("loss", {"a": OURS})
    with pytest.raises(
        ValueError, match=r"needs a column 'eval_auc' or 'ROC AUC'.*history of a has step, loss"
    ):
        drawn("ROC vs step", {"a": OURS[["step", "loss"]]})
    with pytest.raises(ValueError, match=r"no value to draw.*eval_every"):
        drawn("ROC vs step", {"a": OURS.assign(eval_auc=np.nan)})
    for nothing in ({}, {"a": []}):
        with pytest.raises(ValueError, match="no history to draw"):
            drawn("ROC vs step", nothing)
