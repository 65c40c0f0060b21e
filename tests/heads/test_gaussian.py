"""Normal distributions and mixtures against closed forms and numerical integration; and the
defaults that all distributions share."""

from __future__ import annotations

import math

import pytest
import torch

from openpfn.heads import Categorical, Gaussian, GaussianMixture, Predictive

GRID = torch.linspace(-12, 12, 24_001, dtype=torch.float64)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mixture() -> GaussianMixture:
    logits = double(0.5, 0.3, 0.2).log() + 7  # weights up to a constant
    return GaussianMixture(logits, double(-2.0, 0.5, 3.0), double(0.25, 1.0, 0.09))


def test_a_normal_distribution_is_that_of_torch():
    mine, torchs = Gaussian(double(1.0), double(4.0)), torch.distributions.Normal(double(1.0), 2.0)
    y = double(-0.7)
    torch.testing.assert_close(mine.log_prob(y), torchs.log_prob(y))
    torch.testing.assert_close(mine.cdf(y), torchs.cdf(y))
    torch.testing.assert_close(mine.icdf(double(0.2)), torchs.icdf(double(0.2)))
    torch.testing.assert_close(mine.entropy(), torchs.entropy())
    low, high = mine.interval(0.95)
    assert float(low) == pytest.approx(1 - 2 * 1.959964, abs=1e-5)
    assert float(high) == pytest.approx(1 + 2 * 1.959964, abs=1e-5)


def test_the_score_of_a_normal_distribution_at_its_mean():
    # CRPS(N(0, 1), 0) = √2/√π · (1 − 1/√2) (Gneiting & Raftery 2007, eq. 21)
    assert float(Gaussian(double(0.0), double(1.0)).crps(double(0.0))) == pytest.approx(
        (math.sqrt(2) - 1) / math.sqrt(math.pi)
    )


def test_the_defaults_agree_with_closed_forms():
    known = Gaussian(double(0.3, -2.0), double(1.7, 0.2))
    y = double(0.9, -2.5)
    for name in ("mean", "variance"):
        torch.testing.assert_close(
            getattr(Predictive, name).fget(known), getattr(known, name), atol=1e-5, rtol=0
        )
    torch.testing.assert_close(Predictive.entropy(known), known.entropy(), atol=1e-5, rtol=0)
    torch.testing.assert_close(Predictive.crps(known, y), known.crps(y), atol=1e-3, rtol=0)
    torch.testing.assert_close(Predictive.median.fget(known), known.mean)  # pyright: ignore[reportOptionalCall]


def test_a_mixture_is_the_integral_of_its_density():
    known = mixture()
    y = GRID[:, None]
    log_density = known.log_prob(y)
    density = log_density.exp()
    for expected, actual in [
        (density, torch.ones(1, dtype=torch.float64)),
        (density * y, known.mean),
        (density * (y - known.mean).square(), known.variance),
        (-density * log_density, known.entropy()),
    ]:
        torch.testing.assert_close(
            torch.trapezoid(expected.squeeze(-1), GRID), actual.squeeze(), atol=1e-6, rtol=0
        )
    assert float(known.mode) == pytest.approx(float(GRID[density.argmax()]), abs=1e-3)
    levels = double(0.01, 0.3, 0.5, 0.97)
    torch.testing.assert_close(known.cdf(known.quantile(levels)), levels, atol=1e-9, rtol=0)


@pytest.mark.parametrize("y", [-3.0, 0.0, 3.1, 8.0])
def test_the_score_of_a_mixture_is_its_integral(y):
    known = mixture()
    steps = (known.cdf(GRID[:, None]).squeeze(-1) - (y <= GRID).double()).square()
    assert float(known.crps(double(y))) == pytest.approx(
        float(torch.trapezoid(steps, GRID)), abs=1e-3
    )


def test_a_component_without_weight_is_not_there():
    known = GaussianMixture(double(0.0, -math.inf), double(1.0, 50.0), double(1.0, 1.0))
    alone = Gaussian(double(1.0), double(1.0))
    y = double(0.4)
    torch.testing.assert_close(known.log_prob(y), alone.log_prob(y))
    torch.testing.assert_close(known.quantile(0.9), alone.quantile(0.9).squeeze())
    torch.testing.assert_close(known.crps(y), alone.crps(y))


def test_samples_of_a_mixture_follow_its_cdf():
    one = mixture()
    many = GaussianMixture(one.logits.expand(20_000, 3), one.means, one.variances)
    drawn = many.sample(torch.Generator().manual_seed(1)).sort().values
    share = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    assert float((many.cdf(drawn) - share).abs().max()) < 1.63 / math.sqrt(
        20_000
    )  # Kolmogorov and Smirnov at the level 1%


def test_leading_axes_broadcast():
    many = Gaussian(torch.zeros(3, 1), torch.ones(4))
    assert many.shape == (3, 4)
    assert many.log_prob(torch.zeros(7, 1, 1)).shape == (7, 3, 4)
    assert many.quantile([0.1, 0.9]).shape == (2, 3, 4)


def test_classes_as_numbers_have_moments_quantiles_and_the_ranked_score():
    coin = Categorical(double(0.25, 0.75).log().unsqueeze(0))
    assert float(coin.mean) == pytest.approx(0.75)
    assert float(coin.variance) == pytest.approx(0.75 * 0.25)
    assert coin.quantile([0.2, 0.3]).squeeze(-1).tolist() == [0, 1]
    assert float(coin.cdf(torch.tensor([0.5]))) == pytest.approx(0.25)
    assert float(coin.crps(torch.tensor([1]))) == pytest.approx(0.25**2)  # the Brier score
    assert coin.log_prob(torch.tensor([[0], [1]])).shape == (2, 1)


@pytest.mark.parametrize("n", [100, 129, 1000])
@pytest.mark.parametrize("std", [1e-3, 1e-9])
def test_the_entropy_of_components_apart_is_that_of_their_choice_and_their_own(n, std):
    weights = torch.linspace(0.1, 1, n, dtype=torch.float64)
    logits, means = weights.log(), torch.arange(n, dtype=torch.float64) * 100 * std
    known = GaussianMixture(logits, means, torch.full_like(means, std**2))
    choice = torch.special.entr(known.probs).sum()
    own = 0.5 * (1 + math.log(2 * math.pi * std**2))
    torch.testing.assert_close(known.entropy(), choice + own, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n", [20, 130])
def test_narrow_components_within_wide_ones_are_seen(n):
    torch.manual_seed(0)
    means = torch.randn(n, dtype=torch.float64)
    stds = torch.where(torch.arange(n) % 2 == 0, 2.0, 1e-2).double()
    known = GaussianMixture(torch.zeros(n).double(), means, stds.square())
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    parts = grid.split(5_000)
    log_density = torch.cat([known.log_prob(part[:, None]).squeeze(-1) for part in parts])
    expected = -torch.trapezoid(log_density.exp() * log_density, grid)
    torch.testing.assert_close(known.entropy().squeeze(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("std", [1e-6, 1e-2, 3.0])
def test_many_components_are_scored_like_all_pairs_of_them(std, monkeypatch):
    torch.manual_seed(0)
    means = torch.randn(2, 150, dtype=torch.float64)
    known = GaussianMixture(torch.randn(2, 150).double(), means, torch.full_like(means, std**2))
    paired = known.crps(0.3)
    monkeypatch.setattr("openpfn.heads.gaussian.MOST_PAIRED", 1)
    torch.testing.assert_close(known.crps(0.3), paired, atol=1e-9, rtol=1e-9)


def test_equal_components_are_one_normal_distribution():
    many = GaussianMixture(torch.zeros(3000).double(), double(1e6), double(1e-8))
    one = Gaussian(double(1e6), double(1e-8))
    torch.testing.assert_close(many.entropy(), one.entropy().squeeze(), atol=1e-6, rtol=0)
    torch.testing.assert_close(many.crps(1e6), one.crps(1e6).squeeze(), atol=1e-12, rtol=1e-5)
