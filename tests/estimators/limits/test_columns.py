"""Laws of more columns than a network was trained on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNRegressor, checkpoint
from openpfn.estimators.limits.columns import information, times_seen, with_columns
from openpfn.estimators.views.ensemble import draw_members
from tests.estimators.conftest import NUMBERS, KernelNetwork, random_network

RANDOM = np.random.default_rng(0)
CODES = np.zeros(200, dtype=bool)


def noise_and_one(n_rows: int, n_columns: int):
    """Columns of noise, the last of which tells the class."""
    X = RANDOM.normal(size=(n_rows, n_columns))
    return X, (X[:, -1] > 0).astype(np.int64)


@pytest.mark.parametrize("n_members", [4, 8])
def test_each_column_is_seen_and_informative_ones_more(n_members):
    X, y = noise_and_one(200, 60)
    members = with_columns(draw_members(n_members, 2, 0), 20, X, y, CODES[:60], seed=0)
    subsets = [member.columns or () for member in members]
    times = np.bincount(np.concatenate(subsets), minlength=60)
    assert [len(subset) for subset in subsets] == [20] * n_members
    assert times.min() >= 1
    assert times[-1] == n_members
    assert np.median(times) <= n_members / 2


def test_columns_that_tell_nothing_are_seen_equally_often():
    assert set(times_seen(np.zeros(60), n_members=6, width=20)) == {2}


def test_more_members_are_drawn_where_these_would_not_hold_all_columns():
    X, y = noise_and_one(100, 200)
    members = with_columns(draw_members(2, 2, 0), 20, X, y, CODES, seed=0)
    seen = np.unique(np.concatenate([member.columns or () for member in members]))
    assert len(seen) == 200
    assert len({(member.seed, member.columns) for member in members}) == len(members)


def test_the_least_informative_are_left_out_where_members_cannot_hold_all():
    told = np.arange(100.0)
    assert np.flatnonzero(times_seen(told, n_members=4, width=5)).tolist() == list(range(80, 100))


@pytest.mark.parametrize("as_numbers", [False, True])
def test_what_a_column_tells_is_near_its_mutual_information(as_numbers):
    x = RANDOM.integers(2, size=20_000).astype(float)
    y = np.where(RANDOM.random(20_000) < 0.1, 1 - x, x)
    columns = np.stack([x, RANDOM.permutation(x), np.full(20_000, 3.0)], axis=1)
    for is_code in (True, False):
        categorical = np.full(3, is_code)
        told = information(columns, y if as_numbers else y.astype(np.int64), categorical)
        exact = np.log(2) + 0.1 * np.log(0.1) + 0.9 * np.log(0.9)
        assert_allclose(told, [exact, 0, 0], atol=0.01)


def test_missing_values_tell_too():
    x = RANDOM.normal(size=2000)
    y = (RANDOM.random(2000) < 0.5).astype(np.int64)
    told = information(np.where(y == 1, np.nan, x)[:, None], y, np.zeros(1, dtype=bool))
    assert told[0] > 0.6


@pytest.mark.parametrize(
    "estimator", [PFNClassifier, pytest.param(PFNRegressor, marks=pytest.mark.slow)]
)
def test_a_checkpoint_of_few_columns_predicts_from_a_thousand(tmp_path, estimator):
    provenance = {"data": {"prior": "mixture", "config": {"max_features": 40, "max_seq_len": 400}}}
    path = checkpoint.save(
        tmp_path / "n.safetensors", random_network(NUMBERS), provenance=provenance
    )
    X, y = noise_and_one(12, 1000)
    with pytest.warns(UserWarning, match="at most 40: 32 views see 40 of 1000 columns each"):
        fitted = estimator(path).fit(X, y)
    assert fitted.beyond_ == ("32 views see 40 of 1000 columns each",)
    assert fitted.context_.groups is not None
    assert max(view.width for group in fitted.context_.groups for view in group) <= 48
    assert np.isfinite(fitted.predict(X[:3])).all()


def test_columns_per_member_can_be_asked_for_or_left_alone():
    X, y = noise_and_one(60, 150)
    model = KernelNetwork()
    with pytest.warns(UserWarning, match="X has 150 columns: 2 views see 100 of 150 columns each"):
        assert PFNClassifier(model=model, n_estimators=2).fit(X, y).beyond_
    assert not PFNClassifier(model=model, columns_per_member=None).fit(X, y).beyond_
    with pytest.raises(ValueError, match="columns_per_member is 0, must be 'auto', None"):
        PFNClassifier(model=model, columns_per_member=0).fit(X, y)
