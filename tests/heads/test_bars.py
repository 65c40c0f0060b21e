"""Bar distributions against numerical integration of their density."""

from __future__ import annotations

import math

import pytest
import torch

from openpfn.heads import BarDistribution, Bucketizer, Predictive, estimate_riemann_borders

BORDERS = torch.tensor([-2.0, -1.2, -0.5, 0.3, 1.1, 1.5], dtype=torch.float64)
WIDE = (
    torch.arange(40_000, dtype=torch.float64) + 0.5
) / 40_000 * 28 - 14  # midpoints: no border is among them
STEP = 28 / 40_000


@pytest.fixture(params=["unbounded", "bounded"])
def bars(request) -> BarDistribution:
    return BarDistribution(
        torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)),
        BORDERS,
        request.param,
    )


def integral(values: torch.Tensor) -> torch.Tensor:
    return values.sum(0) * STEP


def close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-3) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def test_moments_and_entropy_are_the_integrals_of_the_density(bars):
    y = WIDE[:, None]
    log_density = bars.log_prob(y)
    density = log_density.exp()
    close(integral(density), torch.ones(2, dtype=torch.float64))
    close(integral(density * y), bars.mean)
    close(integral(density * (y - bars.mean).square()), bars.variance)
    close(integral(torch.where(density > 0, -density * log_density, 0)), bars.entropy())
    close(density.max(0).values, bars.log_prob(bars.mode).exp())


def test_the_cdf_is_the_integral_of_the_density_and_icdf_its_inverse(bars):
    y = WIDE[:, None]
    density = bars.log_prob(y).exp()
    close((density.cumsum(0) - density / 2) * STEP, bars.cdf(y))
    levels = torch.linspace(0.001, 0.999, 57, dtype=torch.float64)
    close(bars.cdf(bars.quantile(levels)), levels[:, None].expand(-1, 2), atol=1e-9)
    close(bars.cdf(bars.median), torch.full((2,), 0.5, dtype=torch.float64), atol=1e-9)
    low, high = bars.interval(0.8)
    close(bars.cdf(high) - bars.cdf(low), torch.full((2,), 0.8, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("y", [-4.0, -1.7, -1.0, 0.2, 1.3, 1.5, 3.0])
def test_crps_is_its_integral(bars, y):
    below = (y <= WIDE).double()[:, None]
    truth = torch.full((2,), y, dtype=torch.float64)
    close(bars.crps(truth), integral((bars.cdf(WIDE[:, None]) - below).square()))
    close(bars.crps(truth), Predictive.crps(bars, truth), atol=2e-3)


def test_bounded_support_ends_at_the_borders():
    bars = BarDistribution(torch.zeros(5), BORDERS.float(), "bounded")
    outside, ends = torch.tensor([-2.01, 1.51]), torch.tensor([-2.0, 1.5])
    assert (bars.log_prob(outside) == -math.inf).all()
    assert bars.log_prob(ends).isfinite().all()
    assert bars.cdf(outside).tolist() == pytest.approx([0, 1])


def test_a_tail_begins_at_its_inner_border_and_has_its_median_at_the_outer():
    bars = BarDistribution(
        torch.tensor([50.0, 0, 0, 0, 0]), BORDERS.float()
    )  # all probability in the left tail
    assert float(bars.median) == pytest.approx(-2.0, abs=1e-5)
    assert float(bars.mode) == pytest.approx(-1.2)
    assert float(bars.cdf(torch.tensor(-1.2))) == pytest.approx(1, abs=1e-5)
    assert bars.log_prob(torch.tensor(-40.0)).isfinite()


def test_samples_follow_the_cdf(bars):
    many = BarDistribution(bars.logits[:1].expand(20_000, 5), bars.borders, bars.support)
    drawn = many.sample(torch.Generator().manual_seed(0)).sort().values
    share = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    assert float((many.cdf(drawn) - share).abs().max()) < 1.63 / math.sqrt(
        20_000
    )  # Kolmogorov and Smirnov at the level 1%


def test_the_bucketizer_goes_there_and_back():
    bucketizer = Bucketizer(BORDERS.float())
    buckets = torch.arange(5)
    assert torch.equal(bucketizer.bucketize(bucketizer.decode(buckets)), buckets)
    assert bucketizer.bucket_representatives[[0, -1]].tolist() == [-2.0, 1.5]
    assert bucketizer.bucketize(torch.tensor([-99.0, 99.0])).tolist() == [0, 4]


def test_log_bucket_densities_are_the_densities_at_the_representatives():
    bucketizer, logits = Bucketizer(BORDERS.float()), torch.randn(2, 3, 5)
    densities = bucketizer.log_bucket_densities(logits)
    assert densities.shape == (2, 3, 5)
    for k, value in enumerate(bucketizer.bucket_representatives):
        torch.testing.assert_close(
            densities[..., k], bucketizer.log_density_at_values(logits, value.expand(2, 3))
        )


def test_a_low_temperature_draws_from_the_most_probable_bucket():
    drawn = Bucketizer(BORDERS.float(), "bounded").sample(
        torch.tensor([0.0, 1, 0, 0, 0]).expand(200, 5), temperature=0.01
    )
    assert ((drawn >= -1.2) & (drawn <= -0.5)).all()


def test_estimated_borders_hold_equal_shares():
    y = torch.randn(10_001)
    borders = estimate_riemann_borders(y, 50)
    assert borders.shape == (51,)
    assert (torch.histogram(y, borders).hist - 200).abs().max() <= 1
    wide = estimate_riemann_borders(y, 50, widen_borders_factor=1.5)
    assert float(wide[-1] - wide[0]) == pytest.approx(
        1.5 * float(borders[-1] - borders[0]), rel=1e-5
    )
    torch.testing.assert_close(wide[1:-1], borders[1:-1])
    with pytest.raises(ValueError, match="repeats values"):
        estimate_riemann_borders(torch.tensor([0.0, 0, 0, 0, 1]), 4)


def test_draws_are_finite_and_lie_in_buckets_that_have_probability_whatever_the_uniform_numbers(
    monkeypatch,
):
    logits = torch.tensor([[0.0, 0.0, 0.0, -torch.inf], [-torch.inf, 0.0, 0.0, 0.0]])
    for support in ("unbounded", "bounded"):
        bars = BarDistribution(logits, torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), support)
        for value in (0.0, 1 - 2**-24):  # the least and the greatest that torch draws
            monkeypatch.setattr(
                torch, "rand", lambda *size, value=value, **_: torch.full(size, value)
            )
            drawn = bars.sample()
            assert drawn.isfinite().all()
            assert drawn[0] < 1
            assert drawn[1] >= -1


def test_borders_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="borders must increase"):
        BarDistribution(torch.zeros(3), torch.tensor([0.0, 2.0, 1.0, 3.0]))
    with pytest.raises(ValueError, match="borders must increase"):
        BarDistribution(
            torch.zeros(3, dtype=torch.bfloat16), torch.tensor([1.0, 1.001, 1.002, 1.003])
        )


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_bucketizer_draws_at_temperatures_above_0_only(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Bucketizer(torch.arange(4.0)).sample(torch.zeros(3), temperature)
