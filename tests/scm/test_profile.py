"""Laws of a prior's profile."""

from __future__ import annotations

import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.mixture import MixturePrior
from openpfn.scm.profile import profile_prior


class Threshold:
    """y says whether the first of two columns is positive; the second is a code, the third
    padding."""

    def __init__(self, learnable: bool) -> None:
        self.learnable = learnable

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        x = torch.randn(n_tasks, 90, 3, generator=generator)
        y = (
            (x[:, :, 0] > 0).float()
            if self.learnable
            else torch.randint(0, 2, (n_tasks, 90), generator=generator).float()
        )
        x[:, :, 1] = torch.randint(0, 4, (n_tasks, 90), generator=generator).float()
        x[:, :, 2] = 0
        x[:, :9, 0] = float("nan")
        categorical = torch.tensor([False, True, False]).expand(n_tasks, 3)
        return TaskBatch(
            x, y, 60, torch.full((n_tasks,), 2), torch.full((n_tasks,), 2), categorical
        )


@pytest.mark.slow
def test_a_threshold_is_learnt_and_noise_is_not() -> None:
    sharp, flat = profile_prior(Threshold(True), 6), profile_prior(Threshold(False), 6)
    assert sharp["tasks"] == 6
    assert sharp["forest_accuracy"] > 0.9
    assert sharp["logistic_accuracy"] > 0.85
    assert sharp["forest_flat"] == 0.0
    assert abs(flat["forest_gain"]) < 0.15
    assert flat["forest_flat"] > 0.4


@pytest.mark.slow
def test_gain_is_accuracy_less_majority() -> None:
    profile = profile_prior(Threshold(True), 5)
    for model in ("forest", "logistic"):
        assert (
            abs(
                profile[f"{model}_gain"]
                - (profile[f"{model}_accuracy"] - profile["majority_accuracy"])
            )
            < 1e-9
        )


@pytest.mark.slow
def test_appearance_counts_real_columns_only() -> None:
    profile = profile_prior(Threshold(True), 4)
    assert profile["columns"] == 2
    assert profile["categorical_columns"] == 0.5
    assert profile["whole_number_columns"] == 0.5
    assert abs(profile["missing_cells"] - 0.05) < 1e-6
    assert profile["columns_with_missing"] == 0.5
    assert profile["constant_columns"] == 0
    assert profile["class_counts"] == {2: 1.0}
    assert profile["rows"] == 90
    assert "hidden_width" not in profile


@pytest.mark.slow
def test_a_prior_of_ours_reports_its_graphs_and_repeats_itself() -> None:
    prior = MixturePrior(PriorConfig(max_features=4, max_seq_len=40))
    profile = profile_prior(prior, 6, seed=2)
    assert profile["hidden_width"] > 5
    assert profile["depth"] >= 1
    assert profile == profile_prior(prior, 6, seed=2)
