"""The history figure shows the numbers that it is given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from openpfn.plots.history import history_figure, loss_curves

STEPS = np.array([10.0, 20, 30, 40])
LOSS = np.array([1.0, 0.8, 0.7, 0.65])
SOME = np.array([np.nan, 0.9, np.nan, 0.6])
NONE = np.full(4, np.nan)


def test_the_curves_are_the_columns():
    axes = Figure().subplots()
    loss_curves(axes, STEPS, LOSS, SOME, "run", "#c8452f")
    training, evaluation = axes.lines
    np.testing.assert_array_equal(training.get_ydata(), LOSS)
    np.testing.assert_array_equal(evaluation.get_xdata(), [20, 40])
    np.testing.assert_array_equal(evaluation.get_ydata(), [0.9, 0.6])


@pytest.mark.parametrize(("accuracy", "n_panels"), [(NONE, 1), (SOME, 2)])
def test_accuracy_has_a_panel_if_there_is_any(accuracy, n_panels):
    run = {"step": STEPS, "loss": LOSS, "eval_loss": SOME, "eval_accuracy": accuracy}
    figure = history_figure({"a": run, "b": run})
    assert len(figure.axes) == n_panels
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]  # pyright: ignore[reportOptionalMemberAccess]


def test_of_networks_that_read_text_the_evaluations_are_areas_and_not_nats():
    run = {"step": STEPS, "loss": LOSS, "eval_loss": 1 - SOME, "eval_auc": SOME, "eval_r2": NONE}
    figure = history_figure({"a": run})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].startswith("training loss")
    assert titles[1].startswith("AUC")
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]  # 1 − the mean is no loss
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.9, 0.6])


def test_the_area_of_other_networks_has_no_panel():
    run = {"step": STEPS, "loss": LOSS, "eval_loss": SOME, "eval_accuracy": SOME, "eval_auc": SOME}
    figure = history_figure({"a": run, "b": run})
    assert len(figure.axes) == 2
    assert "nats" in figure.axes[0].get_title(loc="left")
