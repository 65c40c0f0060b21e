"""Copula updates: martingales whatever started them, and as wide as the bootstrap's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sequence_networks import regression, rows
from torch.distributions import Normal

from openpfn.bayes import exact, predictive_resample
from openpfn.bayes.believers import Believer
from openpfn.bayes.copula import (
    at_given_rows,
    at_new_rows,
    conditional_copula,
    evolved_classes,
    evolved_levels,
    quantiles_by_place,
    step_size,
    without_x,
)
from openpfn.heads.gaussian import Gaussian


def uniform(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_step_sizes_are_those_of_the_paper():
    assert [round(step_size(i), 6) for i in (1, 2, 4)] == [0.5, 0.5, 0.35]


def test_a_conditional_copula_averages_to_the_level_itself():
    v = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    for u in (0.05, 0.5, 0.9):
        mean = conditional_copula(torch.tensor(u, dtype=torch.float64), v, 0.7).mean()
        assert abs(float(mean) - u) < 1e-3


@pytest.mark.slow
def test_levels_of_every_row_are_uniform():
    """A martingale's later draws follow the distribution that it started from."""
    x = torch.randn(2000, 6, 2, generator=torch.Generator().manual_seed(1)).double()
    drawn_again = torch.randint(5, (2000, 6), generator=torch.Generator().manual_seed(2))
    for places in (
        without_x(2000, 6),
        at_new_rows(x, 0.8),
        at_given_rows(x[0, :5], drawn_again, 0.8),
    ):
        levels = evolved_levels(uniform(2000, 6), places, 3, 0.8)
        for t in range(6):
            apart = levels[:, t].sort().values - (torch.arange(2000) + 0.5) / 2000
            assert float(apart.abs().max()) < 0.035


def test_one_row_moves_the_next_toward_it_and_more_so_where_x_is_alike():
    u = torch.tensor([[0.99, 0.5]], dtype=torch.float64)
    near = torch.zeros(1, 2, 1, dtype=torch.float64)
    far = torch.tensor([[[0.0], [4.0]]], dtype=torch.float64)
    by_distance = [float(evolved_levels(u, at_new_rows(x, 0.8), 0, 0.8)[0, 1]) for x in (near, far)]
    assert by_distance[0] > 0.6
    assert abs(by_distance[1] - 0.5) < 0.01


def test_probabilities_of_classes_are_a_martingale():
    start = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).expand(3000, 1, 3)
    drawn = evolved_classes(uniform(3000, 4), start, without_x(3000, 4), 2, 0.5)
    shares = torch.nn.functional.one_hot(drawn[:, -1], 3).double().mean(0)
    torch.testing.assert_close(shares, start[0, 0], atol=0.03, rtol=0)


def test_quantiles_of_rows_drawn_again_are_those_of_their_place():
    start = Gaussian(torch.tensor([[0.0, 100.0, -100.0]]), torch.tensor(1.0))
    places = torch.tensor([[2, 0, 2], [1, 1, 2]])
    levels = uniform(2, 3)
    wanted = start.mean[0][places] + Normal(0.0, 1.0).icdf(levels.float())
    found = quantiles_by_place([start], places, levels)
    torch.testing.assert_close(found.float(), wanted, atol=1e-3, rtol=0)


class WithoutInputs(Believer):
    """Believes that targets are normal, as those so far."""

    reads_x = False

    def ask(self, x, y, x_query):
        return Gaussian(y.mean(1, keepdim=True), y.var(1, keepdim=True))


@pytest.mark.slow
def test_a_mean_spreads_as_in_the_bootstrap():
    y = torch.linspace(-1, 1, 40).double()
    found = predictive_resample(
        WithoutInputs(),
        None,
        y,
        "mean",
        n_samples=300,
        horizon=200,
        method="copula",
        n_trace=2,
        generator=torch.Generator().manual_seed(0),
    )
    bootstrap = float((y.var() / 41 * 200 / 240).sqrt())
    assert abs(found.std[0] / bootstrap - 1) < 0.15
    assert "copula" in str(found.approximation)


@pytest.mark.parametrize("x_sampler", ["bootstrap", Normal(0.0, 1.0)])
def test_a_network_starts_the_copula_and_is_asked_once(x_sampler, monkeypatch):
    model, (x, y) = regression(), rows()
    calls = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    found = predictive_resample(
        model,
        x[0],
        y[0],
        n_samples=20,
        horizon=6,
        method="copula",
        x_sampler=x_sampler,
        generator=torch.Generator().manual_seed(0),
    )
    assert len(calls) == 1
    assert found.samples.shape == (20, 1)


def test_copulas_of_flips_and_of_an_empty_context():
    flips = torch.tensor([1.0, 1, 0, 1])
    seed = torch.Generator().manual_seed(0)
    found = predictive_resample(
        exact.BetaBernoulli(),
        None,
        flips,
        n_samples=500,
        horizon=100,
        method="copula",
        generator=seed,
    )
    assert abs(found.mean[0] - 2 / 3) < 0.03
    sampler = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    prior = predictive_resample(
        exact.ConjugateLinear(0.25),
        functional="ols",
        n_samples=20,
        horizon=8,
        method="copula",
        x_sampler=sampler,
        generator=seed,
    )
    assert np.isfinite(prior.samples).all()
