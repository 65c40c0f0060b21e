"""The random search finds what helps, keeps to the context and its budget, and survives candidates
that fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables.methods import default_names, method
from openpfn.benchmark.tables.prepare import Reader
from openpfn.benchmark.tables.spaces import SPACES
from openpfn.benchmark.tables.tune import _folds, random_search

INSTALLED = default_names()


def separable(n=90):
    random = np.random.default_rng(0)
    y = np.arange(n) % 3
    return pd.DataFrame({"a": y + 0.1 * random.normal(size=n), "b": random.normal(size=n)}), y


def build(options):
    return method("knn").build("classification", {}, 0, "cpu", **options)


@pytest.mark.slow
def test_options_that_help_are_found():
    X, y = separable()
    blurred = X.assign(
        a=X["a"] + 2 * np.random.default_rng(1).normal(size=len(X))
    )  # five neighbours are too sure of themselves
    found = random_search(
        build,
        lambda random: {"n_neighbors": int(random.choice([1, 40]))},
        blurred,
        y,
        "classification",
        None,
        2.0,
        0,
    )
    assert found.options == {"n_neighbors": 40}
    assert found.n_candidates > 1


def test_defaults_stay_where_every_candidate_fails():
    X, y = separable()
    found = random_search(
        build, lambda random: {"n_neighbors": 10_000}, X, y, "classification", None, 0.3, 0
    )
    assert found.options == {}
    assert np.isfinite(found.loss)


def test_folds_deal_classes_round_and_keep_groups_whole():
    _, y = separable()
    folds = _folds(y, "classification", None, 0)
    assert all(np.bincount(folds[y == c]).tolist() == [10, 10, 10] for c in range(3))
    groups = np.repeat(np.arange(30), 3)
    folds = _folds(y, "classification", groups, 0)
    assert all(len(set(folds[groups == g])) == 1 for g in range(30))


@pytest.mark.parametrize(("name", "task"), sorted(key for key in SPACES if key[0] in INSTALLED))
def test_every_space_draws_options_that_its_estimator_knows(name, task):
    random = np.random.default_rng(0)
    for _ in range(5):
        built = method(name).build(task, {}, 0, "cpu", **SPACES[name, task](random))
        assert isinstance(built, Reader)
