"""Laws that every head must keep; a new file in the folder is tested with no edit here."""

import pytest
import torch

from openpfn import registry
from openpfn.heads import Head, Predictive


@pytest.fixture(params=registry.names("heads"))
def predictive(request) -> Predictive:
    torch.manual_seed(0)
    head = registry.find("heads", request.param, Head)(8, 16, 5)
    for weight in head.parameters():
        torch.nn.init.normal_(weight)
    return head.predictive(head(torch.randn(3, 4, 8)))


def test_samples_have_a_finite_log_probability(predictive):
    drawn = predictive.sample(torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 4)
    assert predictive.log_prob(drawn).isfinite().all()


def test_the_mean_log_probability_of_samples_is_minus_the_entropy(predictive):
    draw = torch.Generator().manual_seed(0)
    surprise = -torch.stack([predictive.log_prob(predictive.sample(draw)) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(surprise, predictive.entropy(), atol=0.1, rtol=0)


def test_the_same_generator_gives_the_same_samples(predictive):
    first, second = (predictive.sample(torch.Generator().manual_seed(7)) for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)
