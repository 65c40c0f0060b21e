"""Laws that every head must keep; a new file in the folder is tested with no edit here."""

import math

import numpy as np
import pytest
import torch

from openpfn import registry
from openpfn.heads import Head, Predictive


@pytest.fixture(params=registry.names("heads"))
def both(request) -> tuple[Predictive, Predictive]:
    """Distributions of 3 tasks × 4 rows, and the same 4000 times over, (12000, 4)."""
    torch.manual_seed(0)
    head = registry.find("heads", request.param, Head)(8, 16, 5)
    for weight in head.parameters():
        torch.nn.init.normal_(weight)
    logits = head(torch.randn(3, 4, 8)).detach()
    return head.predictive(logits), head.predictive(logits.repeat(4000, 1, 1))


def test_samples_have_a_finite_log_probability(both):
    one, many = both
    drawn = many.sample(torch.Generator().manual_seed(0))
    assert one.shape == (3, 4)
    assert drawn.shape == many.shape == (12_000, 4)
    assert many.log_prob(drawn).isfinite().all()


def test_the_mean_log_probability_of_samples_is_minus_the_entropy(both):
    one, many = both
    surprise = (
        -many.log_prob(many.sample(torch.Generator().manual_seed(0)))
        .unflatten(0, (4000, 3))
        .mean(0)
    )
    torch.testing.assert_close(surprise, one.entropy(), atol=0.1, rtol=0)


def test_half_of_the_samples_lie_up_to_the_median_and_the_mean_is_theirs(both):
    one, many = both
    drawn = many.sample(torch.Generator().manual_seed(1)).unflatten(0, (4000, 3))
    assert ((drawn <= one.median).float().mean(0) > 0.5 - 0.03).all()
    assert ((drawn >= one.median).float().mean(0) > 0.5 - 0.03).all()
    assert ((drawn.mean(0) - one.mean).abs() < 5 * (one.variance / 4000).sqrt()).all()


def test_the_same_generator_gives_the_same_samples(both):
    first, second = (both[1].sample(torch.Generator().manual_seed(7)) for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_a_number_and_an_array_mean_what_a_tensor_means(both):
    one, _ = both
    for name in ("log_prob", "cdf", "crps"):
        asked = getattr(one, name)
        expected = asked(torch.full((3, 4), 1.0))
        for given in (1.0, 1, np.ones((3, 4), dtype=np.float32)):
            torch.testing.assert_close(asked(given), expected)


def test_what_is_not_known_has_no_log_probability_no_cdf_and_no_score(both):
    one, _ = both
    for name in ("log_prob", "cdf", "crps"):
        assert getattr(one, name)(math.nan).isnan().all(), name


@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_quantiles_are_asked_for_at_levels_from_0_to_1(both, level):
    with pytest.raises(ValueError, match="from 0 to 1"):
        both[0].quantile(level)
