"""Laws of the learnability filter."""

from __future__ import annotations

import torch

from openpfn.scm.learnability import gain_over_majority


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


def test_gain_grows_with_separation() -> None:
    gains = [float(gain_over_majority(*tasks(s), 3).mean()) for s in (0.0, 0.7, 1.5, 3.0, 6.0)]
    assert gains == sorted(gains)


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
