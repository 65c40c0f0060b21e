"""Transforms of targets: increasing, inverted exactly, and never beyond what float64 holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.preprocessing import PowerTransformer

from openpfn.estimators.views.ensemble import Member, View, draw_members, draw_members_for_numbers
from openpfn.estimators.views.targets import Power


def standardised(z: np.ndarray) -> np.ndarray:
    return (z - z.mean()) / z.std()


@given(seed=st.integers(0, 10**6), skew=st.floats(-3, 3))
def test_the_inverse_gives_the_targets_back(seed, skew):
    z = standardised(
        np.exp(skew * np.random.default_rng(seed).normal(size=30)) + 0.01 * np.arange(30)
    )
    power = Power.fit(z)
    assert_allclose(power.inverse(power(z)), z, atol=1e-6)
    order = np.argsort(z)
    assert (np.diff(power(z)[order]) >= 0).all()


def test_the_power_is_the_most_likely_one():
    z = standardised(np.random.default_rng(0).gamma(1.5, size=200))
    expected = PowerTransformer(standardize=False).fit(z[:, None]).lambdas_[0]
    assert Power.fit(z).power == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("skewed", [np.exp, lambda z: -np.exp(z), lambda z: np.exp(np.exp(z))])
def test_no_quantile_leads_far_beyond_the_targets(skewed):
    z = standardised(skewed(np.random.default_rng(0).normal(size=100)))
    power = Power.fit(z)
    reach = 0.1 * (z.max() - z.min())
    for far in (1e3, 1e30, 1e300):
        inverted = power.inverse(np.array([-far, far]))
        assert (inverted >= z.min() - reach).all()
        assert (inverted <= z.max() + reach).all()


def test_two_values_and_one_outlier_are_transformed_to_finite_numbers():
    for z in ([0.0, 1.0], [0.0] * 999 + [1.0], [0.0] * 9 + [1e-12, 1.0]):
        z = standardised(np.array(z))
        assert np.isfinite(Power.fit(z)(z)).all()
        assert_allclose(Power.fit(z).inverse(Power.fit(z)(z)), z, atol=1e-6)


def test_members_share_nothing_but_the_network():
    rows, z = np.arange(12.0)[:, None], standardised(np.exp(np.arange(12.0)))
    first, second = (
        View.fit(Member(target="power"), rows, np.zeros(1, dtype=bool), z) for _ in range(2)
    )
    for name, array in first.arrays().items():
        assert not np.shares_memory(array, second.arrays()[name]), name
    assert np.array_equal(first.target(z), second.target(z))


def test_every_variant_of_the_columns_comes_with_both_targets():
    members = draw_members_for_numbers(8, seed=0)
    assert len({(member.variant, member.target) for member in members}) == 8
    assert members[0] == Member()
    plain = draw_members(8, 1, seed=0)
    assert [(m.variant, m.seed) for m in members] == [(m.variant, m.seed) for m in plain]
