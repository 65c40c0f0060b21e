"""Pictures of beliefs show the numbers that they are given, and who believes them."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from matplotlib import pyplot

from openpfn.plots.beliefs import (
    LABELS,
    LOOKS,
    band,
    color_bar,
    curve,
    fan,
    legend_above,
    named,
    number_map,
    observed,
    panels,
    probability_field,
)

X = np.linspace(-1, 1, 5)


@pytest.fixture
def axes():
    _, grid = panels()
    yield grid[0, 0]
    pyplot.close("all")


def test_panels_are_a_grid_on_one_page():
    figure, grid = panels(3, 2, sharey=True)
    assert grid.shape == (2, 3)
    assert pyplot.gcf() is figure
    assert figure.get_size_inches()[0] == panels(1)[0].get_size_inches()[0]
    pyplot.close("all")


def test_looks_differ_in_colour_and_in_line():
    assert LOOKS.keys() == LABELS.keys()
    for key in ("color", "linestyle"):
        assert len({str(look[key]) for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("who", LOOKS)
def test_a_curve_is_the_numbers_in_the_look_of_who_believes_them(axes, who):
    (line,) = curve(axes, X, X**2, who, linewidth=5).lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([X, X**2], axis=1))
    assert (line.get_color(), line.get_label(), line.get_linewidth()) == (
        LOOKS[who]["color"],
        LABELS[who],
        5,
    )


def test_the_band_of_a_network_is_filled_and_others_have_edges(axes):
    quantiles = np.stack([X - 1, X, X + 2])
    band(axes, X, quantiles, "network", "ours")
    (line,) = axes.lines
    assert line.get_label() == "ours"
    corners = np.asarray(axes.collections[0].get_paths()[0].vertices)
    assert sorted({y for x, y in corners if x == X[2]}) == [X[2] - 1, X[2] + 2]
    band(axes, X, quantiles, "exact")
    drawn = sorted(axes.lines[1:], key=lambda line: line.get_ydata()[0])
    np.testing.assert_array_equal([line.get_ydata() for line in drawn], quantiles)
    assert len(axes.collections) == 1


def test_rows_that_were_seen_are_told_apart_by_their_class(axes):
    observed(axes, X, X)
    classes = np.array([0, 1, 1, 0, 1])
    observed(axes, X, 2 * X, classes=classes)
    seen, zeros, ones = axes.lines
    assert (len(seen.get_xdata()), seen.get_label()) == (5, "rows seen")
    np.testing.assert_array_equal(zeros.get_ydata(), 2 * X[classes == 0])
    np.testing.assert_array_equal(ones.get_ydata(), 2 * X[classes == 1])
    assert zeros.get_marker() != ones.get_marker()


def test_a_fan_has_a_line_for_each_path_and_one_label(axes):
    fan(axes, X, np.stack([X, 2 * X, 3 * X]), "network")
    np.testing.assert_array_equal(
        [line.get_ydata() for line in axes.lines], np.stack([X, 2 * X, 3 * X])
    )
    assert axes.get_legend_handles_labels()[1] == ["network"]


def test_a_field_has_a_line_where_both_classes_are_equally_likely(axes):
    x, y = np.linspace(0, 1, 11), np.linspace(0, 1, 6)
    image = probability_field(axes, x, y, np.tile(x, (6, 1)), "exact")
    np.testing.assert_array_equal(image.get_array(), np.tile(x, (6, 1)))
    (half,) = [part for part in axes.collections if part is not image]
    np.testing.assert_allclose(half.get_paths()[0].vertices[:, 0], 0.5)
    assert axes.get_legend_handles_labels()[1] == ["one half: exact posterior"]


def test_a_field_on_one_side_of_a_half_has_no_line(axes):
    image = probability_field(axes, X, X, np.full((5, 5), 0.2), "network")
    assert list(axes.collections) == [image]


def test_numbers_stand_in_their_cells_and_none_is_minus_zero(axes):
    number_map(axes, np.array([[0.25, -0.001, 1.0]]), ["row"], ["a", "b", "c"], (0, 1))
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.00", "1.00"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (2, 0)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


def test_the_legend_stands_above_with_each_label_once():
    figure, grid = panels(2)
    for axes in grid[0]:
        curve(axes, X, X, "network")
        curve(axes, X, X, "exact")
    legend_above(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["network", "exact posterior"]
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in grid[0])
    pyplot.close("all")


def test_names_are_written_where_they_are_given_and_kept_where_not():
    figure, grid = panels()
    axes = named(grid[0, 0], "title", "x", "y")
    named(axes, y_label="other")
    assert (axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()) == (
        "title",
        "x",
        "other",
    )
    image = number_map(axes, np.eye(2), ["a", "b"], ["a", "b"], (0, 1))
    color_bar(figure, image, axes, "share")
    assert figure.axes[1].get_ylabel() == "share"
    pyplot.close("all")


def test_what_cannot_be_drawn_is_told(axes):
    with pytest.raises(
        (ValueError, TypeCheckError), match="who"
    ):  # the tests check types before values
        curve(axes, X, X, "oracle")
    with pytest.raises(ValueError, match="classes holds \\[0, 2\\], must be 0 and 1"):
        observed(axes, X, X, classes=np.array([0, 2, 0, 2, 0]))
