"""Laws of more context rows than softmax attention can hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.limits import rows as limit
from openpfn.estimators.limits.rows import rows_per_member, state_bytes_per_row, with_rows
from openpfn.estimators.network import find_network
from openpfn.estimators.views.ensemble import draw_members
from tests.estimators.conftest import NUMBERS, SMALL, KernelNetwork, random_network

RANDOM = np.random.default_rng(0)
MEMBERS = draw_members(4, 2, 0)


def test_members_see_different_rows_before_any_is_seen_twice():
    targets = RANDOM.permutation(np.arange(1000) % 2)
    drawn = with_rows(MEMBERS, 250, targets, 2, "uniform", seed=0)
    assert sorted(np.concatenate([member.rows or () for member in drawn])) == list(range(1000))


@pytest.mark.parametrize("n_classes", [2, None])
def test_a_uniform_sample_holds_classes_and_tenths_as_often_as_the_context(n_classes):
    targets = RANDOM.normal(size=1000) if n_classes is None else (np.arange(1000) < 70).astype(int)
    for member in with_rows(MEMBERS, 100, targets, n_classes, "uniform", seed=0):
        assert len(member.rows or ()) == 100
        sample = targets[list(member.rows or ())]
        if n_classes is None:
            assert_allclose(np.quantile(sample, 0.5), np.quantile(targets, 0.5), atol=0.15)
        else:
            assert sample.sum() == 7


def test_a_balanced_sample_holds_classes_equally_often_and_is_turned_back():
    targets = (np.arange(1000) < 70).astype(int)
    for member in with_rows(MEMBERS, 100, targets, 2, "balanced", seed=0):
        assert targets[list(member.rows or ())].sum() == 50
        assert_allclose(member.log_weights or (), np.log([0.93 / 0.5, 0.07 / 0.5]))


def test_rare_classes_are_in_every_sample():
    targets = np.zeros(5000, dtype=np.int64)
    targets[:3] = [1, 2, 2]
    for sampling in ("uniform", "balanced"):
        for member in with_rows(MEMBERS, 100, targets, 4, sampling, seed=0):
            assert set(targets[list(member.rows or ())]) == {0, 1, 2}
            assert np.isfinite(member.log_weights or 0).all()


def test_balanced_samples_give_the_probabilities_of_all_rows():
    x = RANDOM.normal(size=4000)
    y = (RANDOM.random(4000) < 1 / (1 + np.exp(3 - 2 * x))).astype(int)
    grid = np.linspace(-1, 2, 9)[:, None]
    whole, balanced = (
        PFNClassifier(
            model=KernelNetwork(), n_estimators=2, subsample="balanced", rows_per_member=n
        )
        for n in (None, 800)
    )
    expected = whole.fit(x[:, None], y).predict_proba(grid)
    assert_allclose(balanced.fit(x[:, None], y).predict_proba(grid), expected, atol=0.06)


@pytest.mark.parametrize("mechanism", ["softmax", "linear", "ridge"])
def test_states_that_grow_bound_the_rows(mechanism):
    model = random_network(replace(SMALL, attention_type=mechanism, use_ranks=True))
    network = find_network(None, model, "cpu")
    chosen = rows_per_member(network, 100_000, 20, 4, numbers=False, limit=2**30)
    grows = mechanism == "softmax"
    assert (state_bytes_per_row(network, 20, numbers=False) > 1000) == grows
    assert chosen == (limit.MOST_ROWS if grows else 100_000)
    tight = rows_per_member(network, 100_000, 20, 4, numbers=False, limit=2**22)
    assert (limit.LEAST_ROWS <= tight < limit.MOST_ROWS) == grows
    assert rows_per_member(network, 2000, 20, 4, numbers=False, limit=1) == 2000


@pytest.mark.parametrize("estimator", [PFNClassifier, PFNRegressor])
def test_many_rows_work_out_of_the_box_and_say_what_was_done(estimator, monkeypatch):
    monkeypatch.setattr(limit, "MOST_ROWS", 64)
    X = RANDOM.normal(size=(3000, 2))
    with pytest.warns(UserWarning, match="X has 3000 rows: each of 2 views sees a uniform sample"):
        fitted = estimator(model=random_network(NUMBERS), n_estimators=2).fit(X, X[:, 0] > 0)
    assert "at most 64 of 3000 context rows" in fitted.beyond_[0]
    assert fitted.state_bytes_ > 0
    assert np.isfinite(fitted.predict(X[:5])).all()


def test_numbers_are_not_balanced():
    with pytest.raises(ValueError, match="subsample is 'balanced', which is of classes"):
        PFNRegressor(model=random_network(NUMBERS), subsample="balanced").fit([[0.0]], [1.0])
