"""Draws out of distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Exponential, LogNormal, Normal

from openpfn.priors_io.distributions import drawn_from

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
