"""Target statistics of categories: smoothed means that never hold a row's own target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.statistics import PRIOR_ROWS, TargetStatistics, columns_of_words
from openpfn.tables.encode import TableEncoder
from tests.estimators.conftest import NUMBERS, KernelNetwork, KernelRegression, random_network

RANDOM = np.random.default_rng(0)
TOWNS = np.array([f"town {name}" for name in "abcdefghijklmnopqrstuvwxyz"])
N = 200
PLACE = RANDOM.integers(0, 26, N)
EFFECT = RANDOM.normal(size=26)
TABLE = pd.DataFrame({"size": RANDOM.normal(size=N), "town": TOWNS[PLACE]})
y = EFFECT[PLACE] + 0.1 * RANDOM.normal(size=N)
SPANS = np.array([[1, 2]])
ROWS = np.stack([TABLE["size"], PLACE.astype(float)], axis=1)


def test_a_level_has_the_smoothed_mean_of_its_rows_and_new_ones_that_of_all():
    fitted = TargetStatistics.fit(SPANS, ROWS, y[:, None])
    of_three = y[PLACE == 3]
    expected = (of_three.sum() + PRIOR_ROWS * y.mean()) / (len(of_three) + PRIOR_ROWS)
    asked = np.array([[0.0, 3.0], [0.0, 99.0], [0.0, np.nan]])
    assert_allclose(fitted(asked)[:, 0], [expected, y.mean(), y.mean()])


def test_no_row_is_shown_its_own_target():
    before = TargetStatistics.out_of_fold(SPANS, ROWS, y[:, None])
    for _, outside in folds(N):
        changed = np.where(outside, 1e6, y)
        after = TargetStatistics.out_of_fold(SPANS, ROWS, changed[:, None])
        assert np.array_equal(after[outside], before[outside])
        assert not np.array_equal(after[~outside], before[~outside])


def test_random_targets_are_not_told_by_their_statistics():
    random = np.random.default_rng(1)
    towns = np.arange(400.0)[:, None] // 2  # each level has two rows: its own target is half of it
    areas = []
    for _ in range(20):
        noise = random.integers(0, 2, 400)
        shown = TargetStatistics.out_of_fold(np.array([[0, 1]]), towns, noise[:, None] * 1.0)
        areas.append(roc_auc_score(noise, shown[:, 0]))
    assert abs(np.mean(areas) - 0.5) < 0.05


def test_only_words_of_many_values_that_repeat_get_statistics():
    table = TABLE.assign(
        few=np.where(y > 0, "yes", "no"),
        text=[f"remark {i}" for i in range(N)],
        town_text=[f"{town} of many words" for town in TABLE["town"]],
        number=PLACE,
    )
    encoder = TableEncoder()
    spans = columns_of_words(encoder, encoder.fit_transform(table))
    sources = [
        c.name
        for c, e in zip(encoder.columns, encoder.encoders, strict=True)
        for _ in range(e.n_out)
    ]
    assert {sources[start] for start, _ in spans} == {"town", "town_text"}


@pytest.mark.parametrize("kind", [PFNClassifier, PFNRegressor])
def test_categories_that_act_are_seen_through_their_statistics(kind):
    is_class = kind is PFNClassifier
    target = (y > 0).astype(int) if is_class else y
    model = KernelNetwork() if is_class else KernelRegression()
    scores = []
    for statistics in (False, True):
        fitted = kind(model=model, n_estimators=1, target_statistics=statistics)
        scores.append(fitted.fit(TABLE[:150], target[:150]).score(TABLE[150:], target[150:]))
    assert scores[1] > scores[0] + 0.1
    assert (fitted.statistics_ is not None) == statistics


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"keep_rows": False}], ids=["rows", "states"])
@pytest.mark.parametrize("kind", [PFNClassifier, PFNRegressor])
def test_statistics_are_saved(tmp_path, kind, options):
    target = np.array(["a", "b", "c"])[PLACE % 3] if kind is PFNClassifier else y
    fitted = kind(model=random_network(NUMBERS), n_estimators=2, target_statistics=True)
    fitted.fit(TABLE, target)
    loaded = kind.load(fitted.save(tmp_path / "fitted.safetensors", **options))
    assert loaded.statistics_.n_columns == (3 if kind is PFNClassifier else 1)
    assert np.array_equal(loaded.predict(TABLE), fitted.predict(TABLE))


def test_neither_row_order_nor_names_of_classes_matter_to_statistics():
    order = RANDOM.permutation(N)
    names = np.array(["b", "a", "c"])[PLACE % 3]
    renamed = np.array(["x", "z", "y"])[PLACE % 3]
    classifier = PFNClassifier(model=random_network(), n_estimators=2, target_statistics=True)
    plain = classifier.fit(TABLE, names).predict_proba(TABLE)[:, [1, 0, 2]]
    assert np.array_equal(
        classifier.fit(TABLE.iloc[order], names[order]).predict_proba(TABLE)[:, [1, 0, 2]], plain
    )
    other = classifier.fit(TABLE, renamed).predict_proba(TABLE)[:, [0, 2, 1]]
    assert_allclose(other, plain, atol=1e-6)
