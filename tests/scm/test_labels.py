"""Laws of the rules that turn values into classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openpfn.scm import labels as targets
from openpfn.scm.labels import (
    class_counts,
    cut,
    draw_labels,
    partition,
    relabel,
    standardise,
)
from openpfn.scm.noise import Noise


def make_noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def labels_of(
    n_tasks: int, n_rows: int, n_classes: int, seed: int = 0, clusters: int = 1, noisy: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of tasks whose scores are noise, and the scores."""
    noise = make_noise(seed)
    scores = standardise(noise.normal(n_tasks, 6, n_rows))
    ids = noise.integers(clusters, n_tasks, n_rows)
    n_clusters, k = torch.full((n_tasks,), clusters), torch.full((n_tasks,), n_classes)
    return draw_labels(scores, ids, n_clusters, k, noise, noisy), scores


@given(st.integers(2, 10), st.integers(0, 1000), st.sampled_from([1, 10]))
def test_labels_are_classes(n_classes: int, seed: int, clusters: int) -> None:
    labels, _ = labels_of(20, 50, n_classes, seed, clusters, noisy=0.5)
    assert labels.min() >= 0
    assert labels.max() < n_classes


def test_labels_carry_no_order() -> None:
    """Over many tasks every class has the same mean share of rows, and none sits higher than
    another on the score."""
    labels, scores = labels_of(4000, 60, 3)
    share = class_counts(labels, 3).float().mean(0) / 60
    assert torch.allclose(share, torch.full((3,), 1 / 3), atol=0.02)
    for k in range(3):
        assert abs(float(scores[:, 0][labels == k].mean())) < 0.05


@pytest.mark.parametrize("rule", ["cut", "bins", "argmax", "prototype"])
def test_every_rule_fills_most_classes_and_is_often_unbalanced(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "RULES", {name: float(name == rule) for name in targets.RULES})
    labels, _ = labels_of(300, 200, 4)
    counts = class_counts(labels, 4)
    assert ((counts > 0).sum(1) >= 2).float().mean() > 0.99
    assert (counts.max(1).values > 80).float().mean() > 0.2


@given(st.integers(2, 10), st.integers(0, 1000))
def test_cut_is_monotone_in_the_value(n_regions: int, seed: int) -> None:
    noise = make_noise(seed)
    values = noise.normal(5, 40).sort(1).values
    regions = cut(values, torch.full((5,), n_regions), noise)
    assert (regions.diff(dim=1) >= 0).all()
    assert regions.max() < n_regions


def test_a_balanced_cut_has_equal_shares() -> None:
    """Half of the cuts are at equal quantiles: then no region differs by more than a row from the
    others."""
    noise = make_noise()
    regions = cut(noise.normal(200, 100), torch.full((200,), 4), noise)
    spread = class_counts(regions, 4).max(1).values - class_counts(regions, 4).min(1).values
    assert 0.35 < float((spread <= 2).float().mean()) < 0.65


def test_near_regions_are_convex_around_their_prototypes() -> None:
    """Nearest-row regions in one dimension are intervals: sorted by the value, the region changes
    at most M − 1 times."""
    noise = make_noise()
    scores = noise.normal(30, 1, 80).sort(2).values
    regions = partition(scores, torch.full((30,), 5), torch.ones(30, dtype=torch.bool), noise)
    assert (regions.diff(dim=1) != 0).sum(1).max() <= 4


def test_clusters_become_classes() -> None:
    """With clusters, about `CLUSTER_SHARE` of the tasks are constant on every cluster."""
    noise = make_noise()
    scores, ids = standardise(noise.normal(600, 6, 60)), noise.integers(3, 600, 60)
    k = torch.full((600,), 3)
    labels = draw_labels(scores, ids, k, k, noise, 0.0)
    joint = class_counts(ids * 3 + labels, 9) > 0
    pure = joint.sum(1) == (class_counts(ids, 3) > 0).sum(1)
    assert abs(float(pure.float().mean()) - targets.CLUSTER_SHARE) < 0.08


def test_label_noise_contradicts_the_rule() -> None:
    noise = make_noise()
    ids, k = noise.integers(2, 400, 200), torch.full((400,), 2)
    clean = draw_labels(torch.zeros(400, 1, 200), ids, k, k, make_noise(5), 0.0)
    noisy = draw_labels(torch.zeros(400, 1, 200), ids, k, k, make_noise(5), 1.0)
    share = (clean != noisy).float().mean()
    assert 0.03 < float(share) < 0.12  # flipped with 1 … 25 %, half of them to where they were


@given(st.integers(0, 1000))
def test_relabelling_leaves_no_gaps_and_keeps_the_order(seed: int) -> None:
    labels = make_noise(seed).integers(10, 6, 7)
    compact, count = relabel(labels, 10)
    for old, new, k in zip(labels, compact, count, strict=True):
        assert torch.equal(new.unique(), torch.arange(int(k)))
        assert torch.equal(old.argsort(stable=True), new.argsort(stable=True))
