"""`Quantiles` against closed forms and quadrature, and what its head is trained by."""

import math

import pytest
import torch

from openpfn.heads.base import Predictive
from openpfn.heads.quantiles import QuantileHead, Quantiles, increasing, levels


def exponential(n: int) -> Quantiles:
    """Quantiles of an exponential distribution of mean 1."""
    return Quantiles(-torch.log1p(-levels(n)))


def uneven() -> Quantiles:
    torch.manual_seed(0)
    return Quantiles(torch.randn(3, 9, dtype=torch.float64).sort(dim=-1).values)


def test_the_values_are_the_quantiles_at_their_levels():
    one = uneven()
    torch.testing.assert_close(one.quantile(one.levels).movedim(0, -1), one.values)
    torch.testing.assert_close(one.cdf(one.values.T), one.levels[:, None].expand(9, 3))


def test_cdf_and_quantiles_invert_each_other_in_gaps_and_tails():
    one = uneven()
    p = torch.tensor([1e-9, 0.01, 0.05, 0.3, 0.5, 0.77, 0.99, 1 - 1e-9], dtype=torch.float64)
    torch.testing.assert_close(one.cdf(one.quantile(p)), p[:, None].expand(8, 3))
    assert (one.quantile(0) == -torch.inf).all()
    assert (one.quantile(1) == torch.inf).all()


def test_the_density_is_the_slope_of_the_cdf_and_integrates_to_1():
    one = uneven()
    y = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    density = one.log_prob(y[:, None]).exp()
    torch.testing.assert_close(
        torch.trapezoid(density, y, dim=0), torch.ones(3, dtype=torch.float64), atol=4e-3, rtol=0
    )
    at = torch.tensor([-3.0, -0.35, 0.11, 2.9], dtype=torch.float64)[:, None]
    slope = (one.cdf(at + 1e-6) - one.cdf(at - 1e-6)) / 2e-6
    torch.testing.assert_close(one.log_prob(at).exp(), slope, atol=1e-6, rtol=1e-4)


def test_mean_variance_and_entropy_are_those_of_quadrature():
    one = uneven()
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = one.quantile(u)
    torch.testing.assert_close(one.mean, z.mean(dim=0), atol=1e-4, rtol=0)
    torch.testing.assert_close(one.variance, z.var(dim=0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(one.entropy(), -one.log_prob(z).mean(dim=0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("y", [-30.0, -1.4, -0.2, 0.0, 0.9, 2.5, 30.0])
def test_the_crps_is_the_area_between_the_cdf_and_the_step(y):
    one = uneven()
    z = torch.linspace(-60, 60, 240_001, dtype=torch.float64)[:, None]
    area = torch.trapezoid((one.cdf(z) - (z >= y).double()).square(), z, dim=0)
    torch.testing.assert_close(one.crps(y), area, atol=1e-3, rtol=1e-5)


def test_with_many_levels_it_is_the_distribution_that_the_quantiles_are_of():
    one = exponential(2000)
    assert float(one.mean) == pytest.approx(1, abs=2e-3)
    assert float(one.variance) == pytest.approx(1, abs=2e-2)
    assert float(one.entropy()) == pytest.approx(1, abs=5e-3)
    assert float(one.log_prob(2.0)) == pytest.approx(-2, abs=2e-3)
    assert float(one.cdf(12.0)) == pytest.approx(-math.expm1(-12), abs=1e-4)


def test_the_training_loss_is_about_the_crps_and_least_at_the_true_quantiles():
    head, true = QuantileHead(None, None, 199), exponential(199)
    y = -torch.log1p(-levels(5000)).float()
    values = true.values.float().expand(5000, -1)
    loss = head.loss(values, y).mean()
    torch.testing.assert_close(loss, true.crps(y).mean().float(), atol=2e-3, rtol=0)
    for wrong in (values + 0.05, values * 1.1, values.flip(-1)):
        assert head.loss(wrong, y).mean() > loss


def test_outputs_that_cross_are_put_in_order():
    crossed = torch.tensor([3.0, 1.0, 1.0, 2.0])
    assert (increasing(crossed).diff() > 0).all()
    torch.testing.assert_close(
        increasing(crossed).float(), torch.tensor([1.0, 1.0, 2.0, 3.0]), atol=1e-4, rtol=0
    )
    assert QuantileHead(None, None, 4).predictive(crossed).log_prob(1.0).isfinite()


def test_values_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="must increase"):
        Quantiles(torch.tensor([0.0, 0.0]))
    with pytest.raises(ValueError, match="at least 2"):
        Quantiles(torch.zeros(3, 1))


def test_the_mode_is_where_the_density_is_highest():
    one = uneven()
    grid = torch.linspace(-4, 4, 40_001, dtype=torch.float64)[:, None]
    highest = one.log_prob(grid).max(dim=0).values
    torch.testing.assert_close(one.log_prob(one.mode), highest, atol=1e-9, rtol=0)
    assert float(exponential(50).mode) == pytest.approx(0, abs=0.05)


def test_it_is_a_predictive_that_overrides_what_has_a_closed_form():
    for name in ("mean", "variance", "entropy", "crps"):
        assert getattr(Quantiles, name) is not getattr(Predictive, name)
