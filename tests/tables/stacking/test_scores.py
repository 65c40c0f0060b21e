"""Stacked scores: each model sees its structure, whatever a table holds."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn.tables.stacking import scores as module
from openpfn.tables.stacking.features import MOST_LEVELS, RowFeatures
from openpfn.tables.stacking.scores import StackedScores
from openpfn.tables.stacking.trees import RandomTrees

NUMBERS = np.zeros(6, dtype=bool)


@pytest.fixture(autouse=True)
def trees_of_few_rows(monkeypatch):
    monkeypatch.setattr(module, "FEWEST_ROWS_FOR_TREES", 2)


def table(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of six columns, of which the last two are codes and some values are missing."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6))
    x[:, 4:] = random.integers(0, 5, (n, 2))
    x[random.random((n, 6)) < 0.05] = np.nan
    return x, np.array([False] * 4 + [True] * 2)


def correlations(x, is_code, y):
    """Correlations of each model's scores with the targets of rows that were not fitted."""
    half = len(x) // 2
    fitted, _ = StackedScores.fit(x[:half], is_code, y[:half, None])
    said = fitted(x[half:])
    return [float(np.corrcoef(one, y[half:])[0, 1]) for one in said.T]


def test_single_columns_products_and_rules_are_each_seen():
    x = np.random.default_rng(0).normal(size=(400, 6))
    noise = 0.1 * np.random.default_rng(1).normal(size=400)
    linear = correlations(x, NUMBERS, x @ np.arange(6.0) + noise)
    assert linear[0] > 0.99
    single, pairs, *_ = correlations(x, NUMBERS, x[:, 0] * x[:, 1] + noise)
    assert abs(single) < 0.3
    assert pairs > 0.9
    rule = ((x[:, 0] > 0.3) & (x[:, 1] > -0.5) | (x[:, 2] > 1)).astype(float)
    *_, leaves, boosted, forest = correlations(x[:, :3], NUMBERS[:3], rule + noise)
    assert min(leaves, boosted) > 0.8
    assert forest > 0.75


def test_levels_act_each_in_its_own_way():
    x, is_code = table(300)
    effect = np.random.default_rng(2).normal(size=6)
    codes = np.where(np.isnan(x[:, 4]), 5, x[:, 4]).astype(int)
    single, _, leaves, boosted, forest = correlations(x, is_code, effect[codes])
    assert single > 0.9
    assert min(leaves, boosted, forest) > 0.9


def test_a_query_rows_scores_hang_on_no_other_query_row():
    x, is_code = table(120)
    fitted, _ = StackedScores.fit(x[:60], is_code, np.nan_to_num(x[:60, :1]))
    whole = fitted(x[60:])
    assert np.allclose(np.concatenate([fitted(x[i : i + 1]) for i in range(60, 120)]), whole)


def test_saved_arrays_are_the_scores():
    x, is_code = table(50)
    y = np.nan_to_num(x[:, :2])
    fitted, own = StackedScores.fit(x, is_code, y)
    assert own.shape == (50, fitted.n_columns) == (50, 10)
    again = StackedScores.from_arrays(fitted.arrays())
    assert np.array_equal(again(x), fitted(x))


@pytest.mark.parametrize("n", [2, 3, 11])
@pytest.mark.parametrize(
    "column", ["missing", "constant", "huge", "levels", "code", "code_missing", "code_many"]
)
def test_odd_columns_give_finite_scores(n, column):
    x, is_code = table(n)
    odd = {
        "missing": np.full(n, np.nan),
        "constant": np.ones(n),
        "huge": np.arange(n) * 1e300,
        "levels": np.arange(n) % 2,
        "code": np.zeros(n),
        "code_missing": np.full(n, np.nan),
        "code_many": np.arange(n),
    }
    x = np.concatenate([x, odd[column][:, None]], axis=1)
    for columns in (slice(None), slice(6, 7)):  # among others, and alone
        flags = np.append(is_code, column.startswith("code"))[columns]
        fitted, own = StackedScores.fit(x[:, columns], flags, np.arange(float(n))[:, None])
        unseen = np.where(np.isnan(x), 7.0, np.nan)
        for said in (own, fitted(x[:, columns]), fitted(unseen[:, columns])):
            assert said.shape == (n, 5)
            assert np.isfinite(said).all()


def test_one_target_for_all_rows_is_what_is_said():
    x, is_code = table(30)
    fitted, own = StackedScores.fit(x, is_code, np.full((30, 1), 2.5))
    assert np.allclose(own, 2.5)
    assert np.allclose(fitted(x), 2.5)


def test_rows_beyond_the_most_are_told_as_query_rows_are(monkeypatch):
    x, is_code = table(90)
    y = np.nan_to_num(x[:, :1])
    monkeypatch.setattr(module, "MOST_ROWS", 60)
    fitted, own = StackedScores.fit(x, is_code, y)
    alone, of_first = StackedScores.fit(x[:60], is_code, y[:60])
    assert np.array_equal(own[:60], of_first)
    assert np.array_equal(own[60:], alone(x[60:]))
    assert np.array_equal(fitted(x), alone(x))


def test_too_many_features_leave_their_products_out(monkeypatch):
    x, is_code = table(40)
    monkeypatch.setattr(module, "MOST_FEATURES_IN_PAIRS", 5)
    fitted, own = StackedScores.fit(x, is_code, np.nan_to_num(x[:, :1]))
    assert fitted.quadratic is None
    assert own.shape == (40, 4) == fitted(x).shape
    assert StackedScores.from_arrays(fitted.arrays()).quadratic is None


def test_frequent_levels_have_features():
    codes = np.concatenate([np.arange(50), np.repeat([3, 40], 5)]).astype(float)[:, None]
    features = RowFeatures.fit(codes, np.array([True]))
    assert len(features.known) == MOST_LEVELS
    assert {3, 40} <= set(features.known)
    assert features(codes).sum(axis=1).max() == 1


def test_trees_part_rows_into_leaves_of_their_own():
    x, is_code = table(80)
    trees = RandomTrees.fit(x, is_code)
    values = trees.values(x)
    leaves = trees(values)
    assert leaves.shape == (80, trees.n_leaves)
    assert (np.asarray(leaves.sum(axis=1)) == len(trees.column)).all()
    found = trees.leaves(values)
    assert (np.diff(found.max(axis=0)) > 0).all()  # leaves of one tree, then those of the next
    assert np.array_equal(RandomTrees.from_arrays(trees.arrays()).leaves(values), found)


def test_rows_are_scored_in_chunks_as_at_once(monkeypatch):
    x, is_code = table(90)
    fitted, _ = StackedScores.fit(x, is_code, np.nan_to_num(x[:, :2]))
    whole = fitted(x)
    monkeypatch.setattr(module, "CHUNK", 40)
    assert np.allclose(fitted(x), whole)
    assert fitted(x[:0]).shape == (0, 10)


def test_few_rows_have_no_boosted_trees_and_no_forest(monkeypatch):
    monkeypatch.setattr(module, "FEWEST_ROWS_FOR_TREES", 50)
    x, is_code = table(50)
    for n, n_models in ((49, 3), (50, 5)):
        fitted, own = StackedScores.fit(x[:n], is_code, np.nan_to_num(x[:n, :1]))
        assert fitted.n_columns == own.shape[1] == n_models
        again = StackedScores.from_arrays(fitted.arrays())
        assert np.array_equal(again(x), fitted(x))


def test_scores_of_earlier_files_are_ridges_alone():
    x, is_code = table(50)
    fitted, _ = StackedScores.fit(x, is_code, np.nan_to_num(x[:, :1]))
    new = ("boosted/", "forest/")
    kept = {k: v for k, v in fitted.arrays().items() if not k.startswith(new)}
    earlier = StackedScores.from_arrays(kept)
    assert earlier.n_columns == 3
    assert np.array_equal(earlier(x), fitted(x)[:, :3])
