"""`draw_labels`: values of inner nodes to classes, by several rules whose labels carry no order."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.noise import Noise, row_moments

RULES = {"cut": 0.4, "bins": 0.12, "argmax": 0.18, "prototype": 0.3}
"""Rules and their weights; a clustered task takes its clusters as classes with `CLUSTER_SHARE`
instead."""
CLUSTER_SHARE = 0.55
MAX_REGIONS = 20


def draw_labels(
    scores: Float[Tensor, "B T N"],
    clusters: Int[Tensor, "B N"],
    n_clusters: Int[Tensor, " B"],
    n_classes: Int[Tensor, " B"],
    noise: Noise,
    noisy_share: float = 0.2,
) -> Int[Tensor, "B N"]:
    """One labelling 0 … n_classes − 1 of every task's rows; some classes may have no rows.

    `scores` are standardised values of T neighbouring inner nodes. Rules: `cut` the first at
    quantiles (balanced or not), cut it into more `bins` than classes and deal the bins out to the
    classes, `argmax` over random linear functions of the scores, the nearest of some `prototype`
    rows, and the cluster of the row's causes where there are clusters. In a share of the tasks
    labels are wrong at random.
    """
    n_tasks = len(scores)
    rule = noise.choice(list(RULES.values()), n_tasks)
    from_clusters = noise.flags(CLUSTER_SHARE, n_tasks) & (n_clusters >= n_classes)
    scalar = (rule <= 1) & ~from_clusters
    regions = clusters.clone()
    n_regions = n_clusters.clone()
    chosen = scalar.nonzero().squeeze(1)
    if len(chosen):
        extra = torch.where(rule[chosen] == 0, 0, 1 + noise.below(n_classes[chosen] + 1))
        n_regions[chosen] = n_classes[chosen] + extra
        regions[chosen] = cut(scores[chosen, 0], n_regions[chosen], noise)
    chosen = (~scalar & ~from_clusters).nonzero().squeeze(1)
    if len(chosen):
        near = rule[chosen] == 3
        many = near & noise.flags(0.5, len(chosen))
        n_regions[chosen] = n_classes[chosen] * (1 + many.long())
        regions[chosen] = partition(scores[chosen], n_regions[chosen], near, noise)
    labels = _deal(regions, n_classes, noise)
    return _flip(labels, n_classes, noise, noisy_share)


def cut(
    values: Float[Tensor, "B N"], n_regions: Int[Tensor, " B"], noise: Noise
) -> Int[Tensor, "B N"]:
    """The region of each value between thresholds at quantiles: equal shares in half of the tasks,
    random shares in the rest."""
    shares = 0.15 + noise.uniform(1e-6, 1, len(values), MAX_REGIONS).log_().neg_()
    shares = torch.where(noise.flags(0.5, len(values), 1), 1.0, shares)
    shares = shares * (torch.arange(MAX_REGIONS, device=values.device) < n_regions.unsqueeze(1))
    quantiles = (shares / shares.sum(1, keepdim=True)).cumsum(1)[:, :-1]
    ranked = (
        values[:, :256].sort(1).values
    )  # rows are exchangeable: some of them tell the quantiles well enough
    place = (quantiles * ranked.shape[1]).long().clamp_(max=ranked.shape[1] - 1)
    inner = torch.arange(MAX_REGIONS - 1, device=values.device) < n_regions.unsqueeze(1) - 1
    thresholds = ranked.gather(1, place).masked_fill_(~inner, float("inf"))
    return torch.searchsorted(thresholds, values.contiguous(), right=True).clamp_(
        max=MAX_REGIONS - 1
    )


def partition(
    scores: Float[Tensor, "B T N"], n_regions: Int[Tensor, " B"], near: Tensor, noise: Noise
) -> Int[Tensor, "B N"]:
    """The region of each row: of the nearest of some rows where `near`, else of the largest of some
    random linear functions."""
    n_tasks, n_scores, n_rows = scores.shape
    width = int(n_regions.max())
    used = torch.where(noise.flags(0.5, n_tasks), noise.integers(n_scores, n_tasks) + 1, n_scores)
    used = torch.where(near, used, used.clamp(min=min(2, n_scores)))
    scores = scores * (torch.arange(n_scores, device=scores.device) < used.unsqueeze(1)).unsqueeze(
        2
    )
    rows = noise.integers(n_rows, n_tasks, 1, width).expand(-1, n_scores, -1)
    prototypes = scores.gather(2, rows).transpose(1, 2)  # (B, M, T)
    slopes = torch.where(
        near.view(-1, 1, 1), 2 * prototypes, noise.normal(n_tasks, width, n_scores)
    )
    offsets = torch.where(
        near.view(-1, 1),
        -prototypes.square().sum(2),
        noise.normal(n_tasks, width) * noise.uniform(0, 1, n_tasks, 1),
    )
    outside = torch.arange(width, device=scores.device) >= n_regions.unsqueeze(1)
    offsets = offsets.masked_fill(outside, float("-inf"))
    return torch.baddbmm(offsets.unsqueeze(2), slopes, scores).argmax(1)


def _deal(
    regions: Int[Tensor, "B N"], n_classes: Int[Tensor, " B"], noise: Noise
) -> Int[Tensor, "B N"]:
    """Deal the regions out to the classes in random order, every class at least one."""
    n_tasks = len(regions)
    to_class = torch.arange(MAX_REGIONS, device=regions.device) % n_classes.unsqueeze(1)
    first = torch.arange(MAX_REGIONS, device=regions.device) < n_classes.unsqueeze(1)
    order = torch.where(first, noise.uniform(0, 1, n_tasks, MAX_REGIONS), 2.0).argsort(
        1
    )  # a permutation of the first n_classes
    return order.gather(1, to_class).gather(1, regions)


def _flip(
    labels: Int[Tensor, "B N"], n_classes: Int[Tensor, " B"], noise: Noise, share: float
) -> Int[Tensor, "B N"]:
    chosen = noise.flags(share, len(labels)).nonzero().squeeze(1)
    if len(chosen):
        wrong = noise.flags(noise.uniform(0.01, 0.25, len(chosen), 1), len(chosen), labels.shape[1])
        labels[chosen] = torch.where(
            wrong, noise.below(n_classes[chosen], labels.shape[1]), labels[chosen]
        )
    return labels


def class_counts(labels: Int[Tensor, "B N"], width: int) -> Int[Tensor, "B width"]:
    """How many rows each class has."""
    counts = torch.zeros(len(labels), width, dtype=torch.long, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels))


def relabel(labels: Int[Tensor, "B N"], width: int) -> tuple[Int[Tensor, "B N"], Int[Tensor, " B"]]:
    """The labels without gaps, and how many classes have rows: classes that have none are dropped,
    the others keep their order."""
    present = class_counts(labels, width) > 0
    return (present.cumsum(1) - 1).gather(1, labels), present.sum(1)


def standardise(scores: Float[Tensor, "B T N"]) -> Float[Tensor, "B T N"]:
    mean, deviation = row_moments(scores)
    return (scores - mean.unsqueeze(2)) / deviation.clamp(min=1e-4).unsqueeze(2)
