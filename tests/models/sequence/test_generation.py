"""Rollouts: cached steps give the logits of the whole sequence, and draws follow the
predictions."""

from __future__ import annotations

import pytest
import torch
from sequence_networks import MASKS, classification, regression, rows, unsupervised
from torch.distributions import MultivariateNormal, Normal

from openpfn.models.sequence.generation import draw_x


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n_prompt", [0, 1, 4])
@torch.no_grad()
def test_cached_logits_are_those_of_the_whole_sequence(mask, n_prompt):
    model, (x, y) = regression(mask_type=mask), rows()
    prompt = (x[0, :n_prompt], y[0, :n_prompt]) if n_prompt else (None, None)
    made = model.generate(Normal(0.0, 1.0), 7, *prompt, num_rollouts=3, generator=seeded())
    assert made.x.shape == (3, n_prompt + 7, 3)
    assert made.y.shape == (3, n_prompt + 7)
    torch.testing.assert_close(model(made.x, made.y)[:, n_prompt:], made.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(made.y[:, :n_prompt], y[:1, :n_prompt].expand(3, -1))


@pytest.mark.parametrize(
    "options", [{}, {"input_type": "continuous", "prediction_type": "point", "d_vocab": None}]
)
@pytest.mark.parametrize("prompt", [None, torch.tensor([1.0, 3, 0])])
@torch.no_grad()
def test_cached_elements_are_those_of_the_whole_sequence(options, prompt):
    model = unsupervised(**options)
    made = model.generate(6, prompt, num_rollouts=4, generator=seeded())
    n_prompt = 0 if prompt is None else 3
    assert made.y.shape == (4, n_prompt + 6)
    torch.testing.assert_close(model(made.y)[:, n_prompt:], made.logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_prompts_of_a_batch_keep_their_axis():
    model, (x, y) = classification(), rows()
    y = y.sign().clamp(min=0)
    made = model.generate(
        MultivariateNormal(torch.zeros(3), torch.eye(3)),
        5,
        x,
        y,
        num_rollouts=4,
        generator=seeded(),
    )
    assert made.x.shape == (2, 4, 11, 3)
    assert made.y.shape == (2, 4, 11)
    assert made.logits.shape == (2, 4, 5, 3)
    torch.testing.assert_close(made.y[:, :, :6], y[:, None].expand(-1, 4, -1))
    assert set(made.y.flatten().tolist()) <= {0.0, 1.0, 2.0}


def test_the_generator_decides_alone():
    model = regression()
    torch.manual_seed(1)
    first = model.generate(Normal(0.0, 1.0), 5, num_rollouts=2, generator=seeded(3))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second = model.generate(Normal(0.0, 1.0), 5, num_rollouts=2, generator=seeded(3))
    assert torch.equal(first.y, second.y)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # torch's own state was left alone
    assert not torch.equal(first.y[0], first.y[1])


@torch.no_grad()
def test_without_sampling_each_value_is_the_mode_given_those_before():
    model = regression()
    made = model.generate(Normal(0.0, 1.0), 4, sample=False, generator=seeded())
    torch.testing.assert_close(made.y, model.predictive_of(made.logits).mode)
    cold = model.generate(Normal(0.0, 1.0), 4, temperature=1e-4, generator=seeded())
    bucketizer = model.bucketizer
    assert torch.equal(bucketizer.bucketize(cold.y), cold.logits.argmax(-1))


@torch.no_grad()
def test_the_first_value_is_drawn_from_the_prior_predictive():
    model = regression()
    made = model.generate(
        lambda n, t, _: torch.ones(n, t, 3), 1, num_rollouts=4000, generator=seeded()
    )
    prior = model.predictive_of(made.logits[:1, 0])
    levels = torch.linspace(0.1, 0.9, 9)
    reached = (made.y <= prior.quantile(levels).T).float().mean(0)
    torch.testing.assert_close(reached, levels, atol=0.03, rtol=0)


def test_hooks_see_generation():
    model = regression()
    seen = []
    with model.hooks([("blocks.1.hook_mlp_out", lambda value, hook: seen.append(value.shape[1]))]):
        hooked = model.generate(Normal(0.0, 1.0), 3, generator=seeded())
    assert seen == [1, 2, 3]
    torch.testing.assert_close(
        hooked.logits,
        model.generate(Normal(0.0, 1.0), 3, generator=seeded()).logits,
        atol=1e-5,
        rtol=0,
    )


def test_x_comes_in_the_shapes_that_distributions_have():
    for distribution in [
        Normal(0.0, 1.0),
        Normal(torch.zeros(3), 1.0),
        MultivariateNormal(torch.zeros(3), torch.eye(3)),
    ]:
        assert draw_x(distribution, 4, 5, 3, seeded()).shape == (4, 5, 3)
    with pytest.raises(
        ValueError, match=r"x_distribution gives values of shape \(2,\); expected \(\) or \(3,\)"
    ):
        draw_x(MultivariateNormal(torch.zeros(2), torch.eye(2)), 4, 5, 3, seeded())
    with pytest.raises(ValueError, match="x_distribution gave x of shape"):
        draw_x(
            lambda n_sequences, n_rows, _: torch.zeros(n_sequences, n_rows, 2), 4, 5, 3, seeded()
        )
    with pytest.raises(ValueError, match="belong together"):
        regression().generate(Normal(0.0, 1.0), 2, prompt_y=torch.zeros(2))


@pytest.mark.parametrize("n_prompt", [0, 4])
def test_nothing_generated_is_the_prompt_alone(n_prompt):
    model, (x, y) = regression(), rows()
    prompt = (x[0, :n_prompt], y[0, :n_prompt]) if n_prompt else (None, None)
    made = model.generate(Normal(0.0, 1.0), 0, *prompt, num_rollouts=2)
    assert made.x.shape == (2, n_prompt, 3)
    assert torch.equal(made.y, y[:1, :n_prompt].expand(2, -1))
    assert made.logits.shape == (2, 0, model.head.n_outputs)
    alone = unsupervised().generate(0, torch.tensor([1.0, 0]))
    assert alone.y.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="num_generate is -1"):
        model.generate(Normal(0.0, 1.0), -1)
