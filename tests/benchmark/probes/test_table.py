"""Tables of known structure: the same for everyone, with the effects that they are named for and
no others, and a truth that nobody beats."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn.benchmark.metrics import roc_auc
from openpfn.benchmark.probes.columns import KINDS, draw_columns
from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.structures import STRUCTURES
from openpfn.benchmark.probes.table import NOISE, Cell, draw_table, grid, middle_gap

CELLS = [Cell(name, one.kinds[-1], 5, 20) for name, one in STRUCTURES.items()]


def numbers(frame):
    """The columns as numbers: codes for categories."""
    return np.stack(
        [
            frame[name].cat.codes if frame[name].dtype == "category" else frame[name]
            for name in frame
        ],
        axis=1,
    ).astype(float)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_a_table_depends_on_its_cell_and_seed_alone(cell):
    first, again = (draw_table(cell, 1, "classification", 30) for _ in range(2))
    assert first.X.equals(again.X)
    assert np.array_equal(first.y, again.y)
    assert first.X.shape == (20, cell.width)
    assert first.X_query.shape == (30, cell.width)
    assert set(np.unique(first.y)) == {0, 1}
    other = draw_table(cell, 2, "classification", 30)
    assert not first.X.equals(other.X)


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_truth_is_calibrated_and_ahead_of_every_single_column(name):
    kind = STRUCTURES[name].kinds[-1]
    table = draw_table(Cell(name, kind, 12, 20), 0, "classification", 3000)
    y, p = table.y_query, table.optimal
    assert y.mean() == pytest.approx(p.mean(), abs=0.03)
    assert ((y - p) ** 2).mean() == pytest.approx((p * (1 - p)).mean(), abs=0.02)
    area = roc_auc(y, np.stack([1 - p, p], axis=1))
    assert area > 0.75
    for column in numbers(table.X_query).T:
        alone = roc_auc(y, np.stack([-column, column], axis=1))
        assert max(alone, 1 - alone) < area


@pytest.mark.parametrize("name", STRUCTURES)
def test_numbers_are_the_truth_and_noise(name):
    cell = Cell(name, STRUCTURES[name].kinds[0], 5, 20)
    table = draw_table(cell, 3, "regression", 3000)
    rest = table.y_query - table.optimal
    assert rest.std() == pytest.approx(NOISE, rel=0.1)
    assert table.optimal.std() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("name", ["products", "parity", "either"])
def test_interactions_have_no_marginal_effect(name):
    for kind in STRUCTURES[name].kinds:
        if (name, kind) in (("products", "mixed"), ("products", "categorical")):
            continue  # effects of rare levels are skewed: their products lean to one column
        if (name, kind) in (("parity", "categorical"), ("parity", "mixed")):
            continue  # a category's halves are not equally large
        table = draw_table(Cell(name, kind, 5, 20), 0, "regression", 4000)
        for column in table.X_query:
            groups = table.X_query[column]
            if groups.dtype != "category":
                groups = groups > 0
            means = [table.optimal[groups == value].mean() for value in groups.unique()]
            assert np.ptp(means) < 0.25


def test_every_column_of_a_dense_function_has_an_effect_and_two_of_few_have():
    for name, least in (("linear", 8), ("few", 2)):
        table = draw_table(Cell(name, "gaussian", 12, 20), 0, "regression", 4000)
        x = numbers(table.X_query)
        effects = np.abs(np.linalg.lstsq(x, table.optimal, rcond=None)[0])
        assert (effects > 0.03).sum() >= least
        if name == "few":
            assert (effects > 1e-2).sum() == 2


def test_categories_of_levels_are_many_and_some_are_rare():
    tables = [
        draw_table(Cell("levels", "categorical", 12, 150), seed, "classification", 300)
        for seed in range(3)
    ]
    counts = [table.X_query[name].value_counts() for table in tables for name in table.X_query]
    assert max(len(count) for count in counts) > 25
    assert min(len(count) for count in counts) <= 4
    assert min(count.min() for count in counts) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_what_their_kind_says(kind):
    columns = draw_columns(kind, 500, 6, np.random.default_rng(0))
    is_category = [found == "categorical" for found in columns.kinds.values()]
    wanted = {"gaussian": 0, "binary": 0, "categorical": 6, "mixed": 2}[kind]
    assert sum(is_category) == wanted
    n_binary = (columns.frame.select_dtypes("number").nunique() == 2).sum()
    assert n_binary == {"gaussian": 0, "binary": 6, "categorical": 0, "mixed": 2}[kind]
    np.testing.assert_allclose(columns.values.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(columns.values.std(axis=0), 1, atol=0.15)


@pytest.mark.parametrize("values", [[0, 0, 1], [1, 2, 3, 4], [5, 5, 5], [-3, -1, -1, 1, 3]])
def test_no_value_lies_on_the_threshold_unless_all_are_the_same(values):
    values = np.array(values, dtype=float)
    threshold = middle_gap(values)
    assert (threshold in values) == (len(set(values)) == 1)


def test_the_grid_has_the_cells_that_make_sense_and_patterns_choose_among_them():
    names = [cell.name for cell in grid(ProbesConfig())]
    assert len(names) == len(set(names)) == 3 * 37
    assert "distance/binary/12/150" not in names
    chosen = grid(ProbesConfig(cells=("products/*/12/*", "tree/binary/5/*")))
    assert {cell.structure for cell in chosen} == {"products", "tree"}
    assert len(chosen) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structures": ("circles",)}, "circles.*products"),
        ({"kinds": ("words",)}, "words.*gaussian"),
        ({"cells": ("nothing/*",)}, "no cell"),
    ],
)
def test_unknown_names_are_refused_with_the_choices(options, said):
    with pytest.raises(ValueError, match=said):
        grid(ProbesConfig(**options))


@pytest.mark.parametrize(
    "options",
    [{"widths": ()}, {"rows": (2,)}, {"seeds": 0}, {"methods": ()}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ProbesConfig(**options)
