"""Laws of context and query: disjoint, reproducible, every class in the context, groups whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.splitting import grouped_split, n_context, split
from openpfn.benchmark.tables.suites import LoadedTable


def table(y, groups=None, n_classes=0):
    return LoadedTable(
        pd.DataFrame({"x": np.arange(len(y))}), np.asarray(y), {}, groups, n_classes, "", "sample"
    )


@pytest.mark.parametrize("kind", ["classes", "numbers", "groups"])
def test_context_and_query_are_disjoint_and_of_the_size_asked_for(kind):
    random = np.random.default_rng(0)
    y = random.normal(size=300) if kind == "numbers" else random.integers(0, 4, 300)
    groups = random.integers(0, 60, 300) if kind == "groups" else None
    made = table(y, groups, 0 if kind == "numbers" else 4)
    context, query = split(made, 50, 0, TablesConfig(max_query=40))
    assert len(set(context)) == 50
    assert len(set(query)) == 40
    assert not set(context) & set(query)


def test_a_split_depends_on_seed_number_and_table_alone():
    y = np.random.default_rng(0).integers(0, 3, 100)
    first, again = (split(table(y, n_classes=3), 30, 1, TablesConfig()) for _ in range(2))
    other = split(table(y, n_classes=3), 30, 2, TablesConfig())
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert set(first[0]) != set(other[0])


def test_a_rare_class_is_in_the_context():
    y = np.zeros(500, dtype=int)
    y[:3] = 1
    for number in range(5):
        context, _ = split(table(y, n_classes=2), 20, number, TablesConfig())
        assert set(y[context]) == {0, 1}


def test_no_group_is_on_both_sides():
    random = np.random.default_rng(3)
    groups, y = random.integers(0, 40, 400), random.integers(0, 3, 400)
    for seed in range(5):
        context, query = grouped_split(groups, y, 100, 2000, seed)
        assert not set(groups[context]) & set(groups[query])
        assert set(y[context]) == {0, 1, 2}


def test_groups_that_hold_a_class_alone_come_first():
    groups = np.repeat(np.arange(50), 10)
    y = (groups == 17).astype(int)
    for seed in range(5):
        context, _ = grouped_split(groups, y, 60, 2000, seed)
        assert set(y[context]) == {0, 1}


def test_too_few_groups_are_told():
    with pytest.raises(ValueError, match="2 groups cannot give 30 context rows"):
        grouped_split(np.repeat([0, 1], 20), None, 30, 100, 0)


def test_the_context_is_at_most_half_the_rows():
    assert n_context("150", 1000, 1000) == 150
    assert n_context("150", 200, 1000) == 100
    assert n_context("150", 110, 1000) is None
    assert n_context("half", 500, 1000) == 250
    assert n_context("half", 5000, 1000) == 1000
