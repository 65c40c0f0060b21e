"""Laws of targets on a grid: what is one, and that its values alone are predicted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from openpfn import PFNRegressor
from openpfn.estimators.grid import Grid
from openpfn.heads.gaussian import Gaussian
from tests.estimators.conftest import NUMBERS, random_network

NETWORK = random_network(NUMBERS)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
grades = np.clip(np.round(5 + 2 * X[:, 0] + RANDOM.normal(size=60)), 1, 10)


def fitted(y=grades, **parameters) -> PFNRegressor:
    return PFNRegressor(model=NETWORK, **parameters).fit(X, y)


@given(
    start=st.floats(-1e6, 1e6),
    step=st.floats(1e-3, 1e3),
    places=st.lists(st.integers(0, 9), min_size=3, max_size=9, unique=True),
)
def test_a_grid_is_found_in_any_unit(start, step, places):
    smallest = int(np.gcd.reduce(np.diff(sorted(places))))
    grid = Grid.of(start + step * np.repeat(np.array(places, dtype=float), 2))
    assert grid is not None
    assert grid.n == (max(places) - min(places)) // smallest + 1
    assert_allclose(grid.step, step * smallest, rtol=1e-4)
    assert_allclose(grid.start, start + step * min(places))


@pytest.mark.parametrize(
    "y",
    [
        RANDOM.normal(size=100),
        RANDOM.normal(size=5).repeat(20),  # repeated, but not evenly spaced
        np.arange(100.0),  # evenly spaced, but not repeated
        RANDOM.integers(0, 10_000, size=60).repeat(3),  # too fine to matter
        np.array([-1.7e308, 1.7e308]).repeat(5),  # further apart than a number can tell
        np.ones(10),
        np.array([3.0]),
    ],
)
def test_other_targets_are_on_no_grid(y):
    assert Grid.of(y.astype(np.float64)) is None


def test_all_probability_goes_to_the_nearest_values():
    believed = Gaussian(torch.tensor([2.2, -3.0]), torch.tensor([0.5, 4.0]))
    on_grid = Grid(0.0, 1.0, 5).of_distribution(believed)
    assert_allclose(on_grid.values, np.arange(5.0))
    assert_allclose(on_grid.probs.sum(-1), 1)
    assert_allclose(on_grid.log_prob(2.0), on_grid.probs[:, 2].log())
    between = believed.cdf(torch.tensor(2.5)) - believed.cdf(torch.tensor(1.5))
    assert_allclose(on_grid.probs[:, 2], between, atol=1e-6)
    assert_allclose(on_grid.probs[:, 0], believed.cdf(torch.tensor(0.5)), atol=1e-6)
    assert torch.isneginf(on_grid.log_prob(2.5)).all()
    assert_allclose(on_grid.cdf(2.0), believed.cdf(torch.tensor(2.5)), atol=1e-6)
    expected = (on_grid.probs * (on_grid.values - 2.0).abs()).sum(-1)
    gini = (on_grid.values[:, None] - on_grid.values).abs()
    spread = torch.einsum("qi,qj,ij->q", on_grid.probs, on_grid.probs, gini)
    assert_allclose(on_grid.crps(2.0), expected - spread / 2)


def test_grades_are_predicted_to_be_grades():
    regressor = fitted()
    grid = regressor.grid_
    assert grid is not None
    values = set(regressor.predict(X, output="distribution").values.tolist())
    assert set(grades) <= values
    for answer in (
        regressor.predict(X, output="median"),
        regressor.predict(X, output="mode"),
        regressor.predict(X, output="quantiles"),
        regressor.sample(X, 5, random_state=0),
        np.stack(regressor.interval(X)),
    ):
        assert set(answer.ravel()) <= values
    free = fitted(on_grid=False)
    assert free.grid_ is None
    assert not set(free.predict(X, output="median")) <= values
    step = grid.step
    assert np.abs(free.predict(X) - regressor.predict(X)).max() < step / 2


def test_units_of_grades_do_not_matter():
    scaled = fitted(y=100 + np.pi * grades).predict(X, output="quantiles")
    assert_allclose(scaled, 100 + np.pi * fitted().predict(X, output="quantiles"), rtol=1e-9)


def test_a_saved_grid_is_the_same(tmp_path):
    regressor = fitted()
    regressor.save(tmp_path / "grades.safetensors")
    loaded = PFNRegressor.load(tmp_path / "grades.safetensors")
    assert loaded.grid_ == regressor.grid_
    assert np.array_equal(
        loaded.predict(X, output="quantiles"), regressor.predict(X, output="quantiles")
    )


def test_another_word_for_on_grid_is_refused():
    with pytest.raises(ValueError, match="on_grid is 'yes', must be 'auto' or False"):
        fitted(on_grid="yes")
