"""Changes of weights in a byte each: near what was learned, and added alike everywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from openpfn.estimators.adapting.difference import WeightDifference


def perturbed(model: nn.Module, seed: int, size: float = 1e-3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: weights + size * torch.randn(weights.shape, generator=generator)
        for name, weights in model.state_dict().items()
    }


MODEL = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))


def test_it_is_the_mean_change_up_to_half_a_unit():
    others = [perturbed(MODEL, seed) for seed in range(3)]
    changed = WeightDifference.between(MODEL.state_dict(), others).added_to(MODEL).state_dict()
    for name, weights in MODEL.state_dict().items():
        change = torch.stack([other[name] for other in others]).mean(dim=0) - weights
        error = (changed[name] - weights - change).abs().max()
        assert error <= change.abs().max() / 127 / 2 + 1e-7


def test_it_takes_a_byte_for_each_changed_weight_and_nothing_for_others():
    same = WeightDifference.between(MODEL.state_dict(), [MODEL.state_dict()])
    assert same.n_bytes == 0
    other = MODEL.state_dict() | {"0.weight": MODEL.get_parameter("0.weight").detach() + 1e-3}
    difference = WeightDifference.between(MODEL.state_dict(), [other])
    assert list(difference.steps) == ["0.weight"]
    assert difference.n_bytes == 35 + 4 * 7


def test_it_comes_back_from_arrays_and_leaves_the_model_it_is_added_to():
    difference = WeightDifference.between(MODEL.state_dict(), [perturbed(MODEL, 0)])
    before = copy.deepcopy(MODEL.state_dict())
    again = WeightDifference.from_arrays(difference.arrays())
    first, second = (one.added_to(MODEL).state_dict() for one in (difference, again))
    for name in before:
        assert torch.equal(first[name], second[name])
        assert torch.equal(MODEL.state_dict()[name], before[name])


def test_another_network_is_refused():
    difference = WeightDifference.between(MODEL.state_dict(), [perturbed(MODEL, 0)])
    with pytest.raises(ValueError, match=r"no weights '0.weight' of shape \(7, 5\)"):
        difference.added_to(nn.Sequential(nn.Linear(4, 7)))
    assert np.all([array.dtype != np.float64 for array in difference.arrays().values()])
