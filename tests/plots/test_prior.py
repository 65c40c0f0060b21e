"""Laws of the picture of a prior: what columns tell, and that any task can be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn.plots.prior import (
    DrawnTask,
    most_informative_pair,
    rank_correlations,
    tasks_figure,
    told_by_columns,
)


def task(
    x: np.ndarray, y: np.ndarray, n_classes: int | None = 2, categorical: list[int] | None = None
) -> DrawnTask:
    flags = np.zeros(x.shape[1], bool)
    flags[categorical or []] = True
    return DrawnTask(x.astype(float), y.astype(float), len(y) // 2, n_classes, flags)


def test_a_copy_of_the_target_tells_all_and_noise_tells_nothing() -> None:
    random = np.random.default_rng(0)
    y = np.arange(400) % 2
    told = told_by_columns(
        task(np.stack([y, random.normal(size=400), np.zeros(400), -3 * y + 1], 1), y)
    )
    np.testing.assert_allclose(told[[0, 3]], 1, atol=0.01)
    assert told[1] < 0.02
    assert told[2] == 0


def test_what_a_column_tells_does_not_change_under_increasing_maps_of_it() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(300, 1))
    y = x[:, 0] + random.normal(size=300) > 0
    np.testing.assert_allclose(told_by_columns(task(x, y)), told_by_columns(task(np.exp(3 * x), y)))


def test_missingness_that_follows_the_target_is_seen() -> None:
    y = np.arange(200) % 2
    x = np.where(y == 1, np.nan, np.random.default_rng(0).normal(size=200))
    assert told_by_columns(task(x[:, None], y))[0] > 0.9


def test_the_pair_of_an_exclusive_or_is_found_though_neither_column_tells_alone() -> None:
    random = np.random.default_rng(2)
    x = random.integers(0, 2, (600, 4))
    y = x[:, 1] ^ x[:, 3]
    x[:50, 1] = y[:50]  # a slight lead, so that column 1 is chosen first
    first, second = most_informative_pair(task(x, y))
    assert {first, second} == {1, 3}


def test_rank_correlations_match_closed_forms() -> None:
    x = np.stack([np.arange(9.0), np.arange(9.0) ** 3, -np.arange(9.0), np.ones(9)], 1)
    wanted = np.array([[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(rank_correlations(x), wanted, atol=1e-12)


@pytest.mark.slow
def test_one_row_of_four_panels_per_task() -> None:
    random = np.random.default_rng(0)
    drawn = [task(random.normal(size=(50, d)), random.integers(0, 3, 50), 3) for d in (2, 30)]
    figure = tasks_figure(drawn, "two tasks")
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 8
    assert [
        text.get_text().split()[0]
        for axes in panels
        for text in axes.texts
        if "context +" in text.get_text()
    ] == ["1", "2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "one column",
        "all missing",
        "constant",
        "one class",
        "ten classes",
        "regression",
        "hundred columns",
    ],
)
def test_any_task_can_be_drawn(case: str) -> None:
    random = np.random.default_rng(0)
    x, y, n_classes = random.normal(size=(60, 3)), random.integers(0, 2, 60), 2
    if case == "one column":
        x = x[:, :1]
    elif case == "all missing":
        x[:, 1] = np.nan
    elif case == "constant":
        x[:] = 4.0
    elif case == "one class":
        y = np.zeros(60)
    elif case == "ten classes":
        y, n_classes = np.arange(60) % 10, 10
    elif case == "regression":
        y, n_classes = random.normal(size=60), None
    elif case == "hundred columns":
        x = random.normal(size=(60, 100))
    figure = tasks_figure([task(x, np.asarray(y), n_classes, categorical=[0])], case)
    figure.draw_without_rendering()
    assert len(figure.axes) == 5
