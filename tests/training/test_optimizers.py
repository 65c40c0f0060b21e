"""Optimizers against closed forms and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy_training import ToyNetwork, ToyPrior, batches_of

from openpfn.configs import TrainingConfig, preset
from openpfn.models import PFN
from openpfn.training import train
from openpfn.training.muon import Muon, hidden_matrices, orthogonalize
from openpfn.training.optimizers import Optimizers, WeightAverage, rate_factor


@pytest.mark.slow
@given(st.floats(0.0, 0.999), st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_the_average_is_its_closed_form(decay, values):
    weight = nn.Parameter(
        torch.full((1,), 99.0)
    )  # what the weight was before the first step has no share in the average
    average = WeightAverage([weight], decay)
    for value in values:
        weight.data.fill_(value)
        average.update([weight])
    t = len(values)
    expected = sum((1 - decay) * decay ** (t - i) * v for i, v in enumerate(values, 1)) / (
        1 - decay**t
    )
    assert float(average.values[0]) == pytest.approx(expected, abs=2e-4)


def test_the_trained_network_holds_the_average_of_its_weights():
    seen = []
    config = TrainingConfig(
        num_steps=7,
        batch_size=4,
        average_decay=0.7,
        learning_rate=0.1,
        save_checkpoint=False,
        n_workers=0,
    )
    watch = [
        lambda event: (
            event.kind == "step" and seen.append(event.model.decoder.weight.detach().clone())
        )
    ]
    model = train(ToyPrior(), ToyNetwork(), config, callbacks=watch)
    expected = sum(0.3 * 0.7 ** (7 - i) * w for i, w in enumerate(seen, 1)) / (1 - 0.7**7)
    torch.testing.assert_close(model.decoder.weight.detach(), expected)


def test_schedule_free_exports_the_average_of_its_fast_weights():
    """With a constant rate, x is the mean of z₁ … z_t (Defazio et al. 2024, eq. 5 with c = 1/t)."""
    network = ToyNetwork()
    optimizers = Optimizers(network, TrainingConfig(optimizer="schedulefree", learning_rate=0.01))
    batch, fast = batches_of(ToyPrior(), 1, 4)[0], []
    for _ in range(6):
        network.loss(batch).backward()
        optimizers.step(1.0)
        optimizers.zero_grad()
        fast.append(optimizers.by_name["schedulefree"].state[network.decoder.weight]["z"].clone())
    raw = network.decoder.weight.detach().clone()
    with optimizers.exported():
        torch.testing.assert_close(network.decoder.weight.detach(), torch.stack(fast).mean(0))
    assert torch.equal(network.decoder.weight, raw)


def test_muon_agrees_with_torchs():
    torch.manual_seed(0)
    ours, theirs = (
        [nn.Parameter(w.clone()) for w in ws]
        for ws in [[torch.randn(12, 6), torch.randn(5, 9), torch.randn(12, 6)]] * 2
    )
    first = [p.detach().clone() for p in ours]
    for mine, yours in zip(ours, theirs, strict=True):
        yours.data.copy_(mine.data)
    a = Muon(ours, lr=0.02, weight_decay=0.1)
    b = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for mine, yours in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            yours.grad = mine.grad.clone()
        a.step()
        b.step()
    for mine, yours, start in zip(ours, theirs, first, strict=True):
        moved = (yours - start).norm()
        assert (mine - yours).norm() < 0.02 * moved  # bfloat16 rounds in another order
        assert moved > 0.01


@pytest.mark.parametrize("shape", [(8, 24), (24, 48), (48, 12)])
def test_an_orthogonal_update_has_singular_values_near_one(shape):
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, *shape)).float())
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest():
    model = PFN(preset("tiny"))
    hidden = {id(p) for p in hidden_matrices(model)}
    names = {name for name, p in model.named_parameters() if id(p) in hidden}
    assert names == {
        name for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2
    }
    optimizers = Optimizers(model, TrainingConfig(optimizer="muon"))
    counts = [
        sum(len(group["params"]) for group in optimizers.by_name[name].param_groups)
        for name in ("muon", "adamw")
    ]
    assert counts == [len(names), len(list(model.parameters())) - len(names)]


def test_muon_without_hidden_matrices_is_refused():
    with pytest.raises(ValueError, match=r"no nn\.Linear inside an nn\.ModuleList"):
        hidden_matrices(nn.Linear(3, 3))


def test_weight_decay_acts_on_matrices_only():
    network = ToyNetwork()
    optimizers = Optimizers(
        network, TrainingConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    )
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step(1.0)
    for name, parameter in network.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim == 2 else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_the_rate_warms_up_linearly_then_follows_half_a_cosine():
    config = TrainingConfig(
        num_steps=1000, warmup_steps=50, schedule="cosine", final_learning_rate=0.1
    )
    assert rate_factor(0, config) == 1 / 50
    assert rate_factor(24, config) == 0.5
    assert rate_factor(49, config) == rate_factor(50, config) == 1
    assert rate_factor(525, config) == pytest.approx(0.55)  # half of the way: the mean of 1 and 0.1
    assert rate_factor(999, config) == pytest.approx(0.1, abs=1e-4)
    for step in range(50, 1000, 50):
        assert rate_factor(step, config) == pytest.approx(
            0.1 + 0.45 * (1 + math.cos(math.pi * (step - 50) / 950))
        )


def test_the_warm_up_takes_at_most_a_tenth_of_the_run_and_can_be_left_out():
    assert rate_factor(9, TrainingConfig(num_steps=100, warmup_steps=500)) == 1
    assert rate_factor(8, TrainingConfig(num_steps=100, warmup_steps=500)) == 0.9
    assert rate_factor(0, TrainingConfig(use_warmup=False)) == 1
    assert rate_factor(9_999, TrainingConfig(schedule="constant")) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"average_decay": 1.0}, "average_decay"),
        ({"final_learning_rate": 2.0}, "final_learning_rate"),
        ({"eval_every": 0}, "eval_every"),
        ({"optimizer": "schedulefree", "schedule": "cosine"}, "schedule"),
        ({"optimizer": "schedulefree", "average_decay": 0.9}, "average_decay"),
        ({"num_steps": 0}, "num_steps"),
        ({"n_workers": -1}, "n_workers"),
    ],
)
def test_a_wrong_field_is_named(changes, named):
    with pytest.raises(ValueError, match=named):
        TrainingConfig(**changes)
