"""Laws of the views: each shows all of the table, none lets the query rows decide."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import norm

from openpfn.estimators.views.ensemble import VARIANTS, Member, View, draw_members

RANDOM = np.random.default_rng(0)
CONTEXT = RANDOM.normal(size=(40, 5)) * [1, 10, 100, 1, 1] + [0, 0, 1e6, 0, 0]
CONTEXT[:, 4] = RANDOM.integers(0, 3, 40)
CONTEXT[::7, 1] = np.nan
CATEGORICAL = np.array([False, False, False, False, True])


def test_the_first_member_is_plain():
    for n_classes in (2, 3, 7):
        assert draw_members(5, n_classes, seed=3)[0] == Member("plain", 0, None)


@given(n_members=st.integers(1, 40), n_classes=st.integers(2, 10), seed=st.integers(0, 10**6))
def test_every_shift_comes_equally_often(n_members, n_classes, seed):
    counts = Counter(member.shift for member in draw_members(n_members, n_classes, seed))
    assert max(counts.values()) - min([counts[shift] for shift in range(n_classes)]) <= 1


def test_more_members_keep_the_first_ones():
    assert draw_members(8, 3, seed=5)[:3] == draw_members(3, 3, seed=5)


@given(n_classes=st.integers(2, 10), shift=st.integers(0, 9), seed=st.integers(0, 10**6))
def test_answers_go_back_to_the_classes_they_are_about(n_classes, shift, seed):
    view = View.fit(Member(shift=shift % n_classes), CONTEXT, CATEGORICAL)
    y = np.random.default_rng(seed).integers(0, n_classes, 20)
    shown = np.eye(n_classes)[view.show_classes(y, n_classes)]
    assert np.array_equal(shown[:, view.class_order(n_classes)], np.eye(n_classes)[y])


@pytest.mark.parametrize("variant", VARIANTS)
def test_missing_values_stay_missing_and_flags_go_with_their_columns(variant):
    view = View.fit(Member(variant, 0, seed=11), CONTEXT, CATEGORICAL)
    shown = view(CONTEXT)
    assert shown.shape == (40, view.width)
    assert np.isnan(shown).sum() == np.isnan(CONTEXT).sum()
    flagged = shown[:, view.categorical]
    assert flagged.shape == (40, 1)
    assert len(np.unique(flagged)) == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_context_alone_fits_a_view(variant):
    view = View.fit(Member(variant, 0, seed=11), CONTEXT, CATEGORICAL)
    query = RANDOM.normal(size=(9, 5)) * 1e3
    assert np.array_equal(view(query)[:2], view(query[:2]))


@pytest.mark.parametrize("variant", ["plain", "squashed"])
def test_order_within_a_column_is_kept(variant):
    view = View.fit(Member(variant), CONTEXT, CATEGORICAL)
    wide = np.repeat(
        np.linspace(-30, 30, 50)[:, None] * [1, 10, 100, 1, 1] + [0, 0, 1e6, 0, 0], 1, axis=0
    )
    assert (np.diff(view(wide), axis=0) > 0).all()


def test_plain_columns_have_mean_zero_and_deviation_one():
    shown = View.fit(Member(), CONTEXT, CATEGORICAL)(CONTEXT).astype(float)
    assert_allclose(np.nanmean(shown, axis=0), 0, atol=1e-6)
    assert_allclose(np.nanstd(shown, axis=0), 1, atol=1e-6)


def test_normal_scores_are_the_quantiles_of_the_ranks():
    context = np.array([[3.0], [1.0], [2.0], [2.0]])
    shown = View.fit(Member("normal"), context, np.array([False]))(context)
    assert_allclose(shown[:, 0], norm.ppf([0.875, 0.125, 0.5, 0.5]), atol=1e-6)


def test_categories_are_coded_by_frequency():
    context = np.array([[0.0], [0.0], [1.0], [2.0], [2.0], [2.0]])
    shown = View.fit(Member("normal"), context, np.array([True]))(context)
    assert shown[:, 0].tolist() == [1, 1, 0, 2, 2, 2]


def test_rotated_columns_are_uncorrelated_and_keep_the_variance():
    context = RANDOM.normal(size=(200, 3)) @ RANDOM.normal(size=(3, 3))
    view = View.fit(Member("rotated"), context, np.zeros(3, dtype=bool))
    components = view(context)[:, 3:].astype(float)
    covariance = components.T @ components / 200
    assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    assert_allclose(np.trace(covariance), 3, rtol=1e-5)
    assert (np.diff(np.diag(covariance)) <= 0).all()
