"""Laws of a prior's profile."""

from __future__ import annotations

import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.mixture import MixturePrior
from openpfn.scm.learnability.profile import profile_prior


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


class Slope(Threshold):
    """y is the first column and half the second; or noise."""

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        batch = super().sample(n_tasks, generator)
        y = batch.x[:, :, :2].nan_to_num() @ torch.tensor([1.0, 0.5])
        if not self.learnable:
            y = torch.randn(y.shape, generator=generator)
        return TaskBatch(batch.x, 1e-6 * y + 3, 60, batch.n_features, None, batch.categorical)


class Either:
    """Batches of classes and of numbers in turn."""

    def __init__(self) -> None:
        self.n_batches = 0

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        self.n_batches += 1
        kind = Threshold if self.n_batches % 2 == 0 else Slope
        return kind(True).sample(n_tasks, generator)


@pytest.mark.slow
def test_a_slope_is_explained_and_noise_is_not() -> None:
    sharp, flat = profile_prior(Slope(True), 6), profile_prior(Slope(False), 6)
    assert sharp["regression_share"] == 1
    assert sharp["ridge_r2"] > 0.9
    assert sharp["forest_r2"] > 0.7
    assert sharp["forest_r2_flat"] == sharp["ridge_r2_flat"] == 0
    assert flat["forest_r2"] < 0.15
    assert flat["forest_r2_flat"] > 0.5
    assert "classes" not in sharp
    assert "forest_gain" not in sharp


@pytest.mark.slow
def test_a_prior_of_both_kinds_has_the_figures_of_both() -> None:
    profile = profile_prior(Either(), 16)
    assert profile["tasks"] == 16
    assert profile["regression_share"] == 0.5
    assert profile["ridge_r2"] > 0.9
    assert profile["forest_gain"] > 0.3
    assert profile["class_counts"] == {2: 1.0}


def test_constant_targets_have_nothing_to_explain() -> None:
    class Constant(Slope):
        def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
            batch = super().sample(n_tasks, generator)
            y = torch.ones_like(batch.y)
            return TaskBatch(batch.x, y, 60, batch.n_features, None, batch.categorical)

    profile = profile_prior(Constant(True), 2)
    assert profile["forest_r2"] == 0
    assert profile["forest_r2_flat"] == 1
