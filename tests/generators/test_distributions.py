"""Draws out of distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Exponential, LogNormal, Normal

from openpfn.generators.distributions import (
    DiscreteTask,
    check_distributions,
    checked_weights,
)
from openpfn.randomness import drawn_from

DISTRIBUTIONS = [
    Normal(0.3, 2.0),
    Normal(torch.zeros(8), torch.arange(1.0, 9.0)),
    Normal(torch.zeros(3, dtype=torch.float64), 1.0),
    LogNormal(0.0, 1.0),
    Exponential(torch.tensor([1.0, 2.0])),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_draws_are_those_of_the_distribution_itself(distribution):
    state = torch.get_rng_state()
    expected = distribution.sample(torch.Size((50, 7)))
    torch.set_rng_state(state)
    drawn = drawn_from(distribution, torch.Size((50, 7)))
    assert drawn.dtype == expected.dtype
    assert torch.equal(drawn, expected)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("n_values", [(), (4,), (2, 5)])
def test_a_pool_knows_its_tasks_whatever_their_shape(shape, n_values):
    tasks = torch.arange(3.0).view(3, *(1 for _ in shape)).expand(3, *shape)
    pool = DiscreteTask(tasks, weights=torch.tensor([1.0, 1.0, 2.0]))
    drawn = pool.sample(n_values)
    expected = torch.where(
        drawn.flatten(len(n_values))[..., 0] == 2 if shape else drawn == 2, 0.5, 0.25
    )
    torch.testing.assert_close(pool.log_prob(drawn).exp(), expected)
    assert (pool.log_prob(drawn + 0.5) == -torch.inf).all()


@pytest.mark.parametrize(
    "weights", [[1.0], [-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]]
)
def test_weights_are_finite_shares_one_for_each_part(weights):
    with pytest.raises(ValueError, match="weights must be 2 finite numbers"):
        checked_weights(weights, 2)
    with pytest.raises(ValueError, match="weights must be 2 finite numbers"):
        DiscreteTask(torch.zeros(2, 1), torch.tensor(weights))


def test_parts_of_a_mixture_are_distributions():
    with pytest.raises(TypeError, match="components has a int"):
        check_distributions(
            "components", 3
        )  # as Mixture calls it, whose arguments' types are checked before in tests
