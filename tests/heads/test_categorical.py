"""A distribution over classes against closed forms."""

import math

import pytest
import torch

from openpfn.heads import Categorical
from openpfn.heads.categorical import CategoricalHead


def test_log_prob_entropy_and_mode_of_a_known_distribution():
    probs = torch.tensor([[0.5, 0.25, 0.25]])
    known = Categorical(probs.log())
    assert known.log_prob(torch.tensor([1.0])).item() == pytest.approx(math.log(0.25))
    assert known.entropy().item() == pytest.approx(1.5 * math.log(2))
    assert known.mode.item() == 0
    torch.testing.assert_close(known.probs, probs)


def test_absent_classes_have_no_probability_and_no_nan():
    head = CategoricalHead(4, 8, 5)
    predictive = head.predictive(head(torch.randn(2, 3, 4), torch.tensor([2, 5])))
    assert (predictive.probs[0, :, 2:] == 0).all()
    torch.testing.assert_close(predictive.probs.sum(-1), torch.ones(2, 3))
    assert predictive.entropy().isfinite().all()


def test_an_untrained_head_says_that_all_classes_are_equally_likely():
    head = CategoricalHead(4, 8, 5)
    torch.testing.assert_close(
        head.predictive(head(torch.randn(1, 2, 4), torch.tensor([4]))).probs[..., :4],
        torch.full((1, 2, 4), 0.25),
    )


def test_samples_follow_the_probabilities():
    logits = torch.tensor([0.7, 0.2, 0.1]).log().expand(20_000, 3)
    drawn = Categorical(logits).sample(torch.Generator().manual_seed(0))
    share = torch.bincount(drawn.long(), minlength=3) / len(drawn)
    torch.testing.assert_close(share, torch.tensor([0.7, 0.2, 0.1]), atol=0.02, rtol=0)


def test_a_value_that_is_no_class_has_no_probability():
    known = Categorical(torch.tensor([0.5, 0.25, 0.25]).log())
    assert known.log_prob(torch.tensor([3.0, -1.0, 0.5, math.inf])).tolist() == [-math.inf] * 4


def test_the_score_is_the_integral_of_its_definition_wherever_the_true_value_lies():
    known = Categorical(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64).log())
    z = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * 10 - 4
    for y in (-1.5, 0.0, 0.3, 1.0, 2.0, 4.2):
        integral = (known.cdf(z) - (z >= y).double()).square().sum() * 10 / 200_000
        assert known.crps(y).item() == pytest.approx(integral.item(), abs=1e-3)


def test_one_target_alone_is_drawn_like_many():
    alone = Categorical(torch.tensor([0.7, 0.2, 0.1]).log())
    assert alone.shape == alone.sample(torch.Generator().manual_seed(0)).shape == ()
