"""Laws of the learnability filter."""

from __future__ import annotations

import pytest
import torch

from openpfn.scm.learnability.gain import explained_variance, gain_over_majority


def tasks(
    separation: float, n_noise: int = 2, n_tasks: int = 64, n_rows: int = 128
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (n_tasks, 1, n_rows), generator=generator)
    columns = torch.randn(n_tasks, 2 + n_noise, n_rows, generator=generator)
    angle = labels[:, 0] * 2 * torch.pi / 3
    columns[:, 0] += separation * angle.cos()
    columns[:, 1] += separation * angle.sin()
    return columns, labels


def test_gain_is_one_for_separated_classes_and_zero_for_noise() -> None:
    assert gain_over_majority(*tasks(20), 3).mean() > 0.98
    assert abs(float(gain_over_majority(*tasks(0), 3).mean())) < 0.1


@pytest.mark.slow
def test_gain_grows_with_separation() -> None:
    gains = [float(gain_over_majority(*tasks(s), 3).mean()) for s in (0.0, 0.7, 1.5, 3.0, 6.0)]
    assert gains == sorted(gains)


@pytest.mark.slow
def test_gain_is_near_what_the_best_classifier_reaches() -> None:
    """Two classes at ±1 in one column: the best accuracy is Φ(1) = .841, a gain of .683."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (400, 1, 128), generator=generator)
    columns = torch.randn(400, 1, 128, generator=generator) + 2 * labels - 1
    assert abs(float(gain_over_majority(columns, labels, 2).mean()) - 0.683) < 0.15


def test_irrelevant_columns_scarcely_matter() -> None:
    assert (
        gain_over_majority(*tasks(4, n_noise=20), 3).mean()
        > gain_over_majority(*tasks(4, n_noise=0), 3).mean() - 0.12
    )


def test_units_do_not_matter() -> None:
    columns, labels = tasks(2)
    units = torch.tensor([1e-3, 1e3, 5.0, 0.2]).view(1, 4, 1)
    torch.testing.assert_close(
        gain_over_majority(columns * units, labels, 3),
        gain_over_majority(columns, labels, 3),
        rtol=0,
        atol=0.04,
    )


def test_names_of_the_classes_do_not_matter() -> None:
    columns, labels = tasks(2)
    renamed = torch.tensor([2, 0, 1])[labels]
    torch.testing.assert_close(
        gain_over_majority(columns, renamed, 3),
        gain_over_majority(columns, labels, 3),
        rtol=0,
        atol=0.02,
    )


def test_missing_values_are_survived() -> None:
    columns, labels = tasks(20)
    columns[torch.rand(columns.shape, generator=torch.Generator().manual_seed(1)) < 0.1] = float(
        "nan"
    )
    assert gain_over_majority(columns, labels, 3).mean() > 0.8
    assert gain_over_majority(torch.full_like(columns, float("nan")), labels, 3).isfinite().all()


def test_one_class_or_constant_columns_gain_nothing() -> None:
    columns, labels = tasks(5)
    assert (gain_over_majority(columns, torch.zeros_like(labels), 3) <= 0).all()
    assert gain_over_majority(torch.ones_like(columns), labels, 3).mean() <= 0.02


def test_labellings_are_judged_apart() -> None:
    columns, labels = tasks(3)
    both = torch.cat(
        [labels, torch.randint(0, 3, labels.shape, generator=torch.Generator().manual_seed(2))],
        dim=1,
    )
    gains = gain_over_majority(columns, both, 3)
    torch.testing.assert_close(gains[:, :1], gain_over_majority(columns, labels, 3))
    assert gains[:, 0].mean() > gains[:, 1].mean() + 0.4


B, N = 40, 128


def standard(columns: torch.Tensor) -> torch.Tensor:
    mean, deviation = columns.mean(2, keepdim=True), columns.std(2, keepdim=True)
    return (columns - mean) / deviation


def drawn(kind: str, n_columns: int, generator: torch.Generator) -> torch.Tensor:
    if kind == "normal":
        return torch.randn(B, n_columns, N, generator=generator)
    n_levels = {"binary": 2, "codes": 6}[kind]
    return torch.randint(n_levels, (B, n_columns, N), generator=generator).float()


def products(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    z = standard(columns)
    return z[:, 0] * z[:, 1] + z[:, 1] * z[:, 2] + z[:, 2] * z[:, 3]


def parity(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    noise = 0.01 * torch.randn(B, N, generator=generator)
    return standard(columns)[:, :3].sign().prod(1) + noise


def dense(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    weight = torch.randn(B, columns.shape[1], 1, generator=generator)
    return (standard(columns) * weight).sum(1)


def distance(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return -standard(columns)[:, :3].square().sum(1)


def effects_of_levels(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    effects = torch.randn(B, columns.shape[1], 6, generator=generator)
    return effects.gather(2, columns.long()).sum(1)


def nothing(columns: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(B, N, generator=generator)


LEARNABLE = [
    (products, "normal", 5),
    (products, "normal", 8),
    (products, "binary", 12),
    (parity, "binary", 5),
    (dense, "normal", 27),
    (dense, "binary", 27),
    (distance, "normal", 8),
    (effects_of_levels, "codes", 5),
    (effects_of_levels, "codes", 12),
]
learnable = pytest.mark.parametrize(("function", "kind", "width"), LEARNABLE)


@learnable
def test_no_structure_is_overlooked(function, kind: str, width: int) -> None:
    """What a good method learns from a hundred rows gains more than most tasks are asked for."""
    generator = torch.Generator().manual_seed(0)
    columns = drawn(kind, width, generator)
    score = function(columns, generator)
    categorical = torch.full((B, width), kind == "codes")
    labels = (score > score.median(1, keepdim=True).values).long().unsqueeze(1)
    gain = gain_over_majority(columns, labels, 2, categorical)
    assert gain.mean() > 0.3
    assert explained_variance(columns, score.unsqueeze(1), categorical).mean() > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "binary", "codes"])
@pytest.mark.parametrize("width", [3, 20])
def test_the_best_of_the_committee_sees_nothing_in_noise(kind: str, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    columns = drawn(kind, width, generator)
    categorical = torch.full((B, width), kind == "codes")
    score = nothing(columns, generator)
    labels = (score > score.median(1, keepdim=True).values).long().unsqueeze(1)
    gain = gain_over_majority(columns, labels, 2, categorical)
    assert gain.mean() < 0.15
    assert (gain > 0.24).float().mean() < 0.2
    assert explained_variance(columns, score.unsqueeze(1), categorical).mean() < 0.05


def test_codes_are_seen_as_categories_only_where_they_are_marked() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = drawn("codes", 5, generator)
    score = effects_of_levels(columns, generator)
    labels = (score > score.median(1, keepdim=True).values).long().unsqueeze(1)
    marked = gain_over_majority(columns, labels, 2, torch.ones(B, 5, dtype=torch.bool))
    assert marked.mean() > gain_over_majority(columns, labels, 2).mean() + 0.1


def test_shifting_probabilities_count_though_the_likeliest_class_stays() -> None:
    """One row in eight is of the second class, and where a column is large one in three: guessing
    the first class everywhere is nearly optimal, yet the column tells much."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(B, 2, N, generator=generator)
    chance = torch.where(columns[:, 0] > 0.5, 0.42, 0.02)
    labels = (torch.rand(B, N, generator=generator) < chance).long().unsqueeze(1)
    assert gain_over_majority(columns, labels, 2).mean() > 0.08


def test_a_demanded_gain_changes_who_is_asked_but_not_who_passes() -> None:
    columns, labels = tasks(1.5)
    demanded = torch.full((len(columns),), 0.3)
    full = gain_over_majority(columns, labels, 3)
    early = gain_over_majority(columns, labels, 3, demanded=demanded)
    assert torch.equal(full > 0.3, early > 0.3)
    assert (early <= full + 1e-6).all()


def test_units_of_a_target_do_not_matter_and_a_constant_one_explains_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = drawn("normal", 4, generator)
    score = dense(columns, generator).unsqueeze(1)
    explained = explained_variance(columns, score)
    assert explained.mean() > 0.9
    torch.testing.assert_close(
        explained_variance(columns, 1e3 * score + 50), explained, rtol=0, atol=1e-3
    )
    assert explained_variance(columns, torch.ones_like(score)).abs().max() < 1e-3
