"""`draw_causes`: the exogenous variables of structural causal models, from plain noise to clusters
and levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.levels import share_levels
from openpfn.scm.noise import Noise, change_rows, row_moments

KINDS = {"normal": 0.4, "uniform": 0.2, "heavy": 0.1, "skewed": 0.1, "steps": 0.12, "binary": 0.08}
MAX_CLUSTERS = 16


@dataclass(frozen=True)
class Causes:
    """Standardised causes of B tasks and the cluster that each row belongs to (all 0 where a task
    has no clusters)."""

    values: Float[Tensor, "B C N"]
    clusters: Int[Tensor, "B N"]
    n_clusters: Int[Tensor, " B"]


def draw_causes(
    n_causes: int,
    n_rows: int,
    n_classes: Int[Tensor, " B"],
    noise: Noise,
    clustered_share: float = 0.5,
    mixed_share: float = 0.4,
) -> Causes:
    """Causes of one task per entry of `n_classes`; a clustered task has at least one cluster for
    each class."""
    n_tasks = len(n_classes)
    values = noise.normal_rows(n_tasks * n_causes, n_rows)
    values = _mix(values.view(n_tasks, n_causes, n_rows), noise, mixed_share).reshape(
        n_tasks * n_causes, n_rows
    )
    kind = noise.choice(list(KINDS.values()), n_tasks, n_causes)
    same = noise.flags(0.5, n_tasks, 1)  # half of the tasks have causes of one kind only
    kind = torch.where(same, kind[:, :1], kind).flatten()
    for number, name in enumerate(KINDS):
        if name != "normal":
            change_rows(
                values,
                (kind == number).nonzero().squeeze(1),
                lambda z, name=name: _shape(z, name, noise),
            )
    values = values.view(n_tasks, n_causes, n_rows)
    clusters, n_clusters = _clusters(values, n_classes, noise, clustered_share)
    values = share_levels(values, noise)
    mean, deviation = row_moments(values)
    values.sub_(mean.unsqueeze(2)).div_(deviation.clamp(min=1e-3).unsqueeze(2))
    return Causes(values, clusters, n_clusters)


def _mix(values: Float[Tensor, "B C N"], noise: Noise, share: float) -> Float[Tensor, "B C N"]:
    """Correlate the causes of a `share` of the tasks by a few common factors."""
    n_tasks, n_causes, n_rows = values.shape
    chosen = noise.flags(share, n_tasks).nonzero().squeeze(1)
    if n_causes == 1 or not len(chosen):
        return values
    n_factors = min(4, n_causes)
    factors = noise.normal_rows(len(chosen) * n_factors, n_rows).view(-1, n_factors, n_rows)
    strength = noise.uniform(0, 2.5, len(chosen), 1, 1) / n_factors**0.5
    loadings = noise.normal(len(chosen), n_causes, n_factors) * strength
    values[chosen] = torch.baddbmm(values[chosen], loadings, factors)
    return values


def _shape(z: Float[Tensor, "R N"], kind: str, noise: Noise) -> Float[Tensor, "R N"]:
    if kind == "uniform":
        return torch.special.ndtr(z)
    if kind == "heavy":
        return z.abs().pow_(noise.uniform(1.5, 3, len(z), 1)).copysign_(z)
    if kind == "skewed":
        return (z * noise.uniform(0.4, 1.2, len(z), 1)).clamp_(max=5).exp_()
    if kind == "binary":
        return (z > noise.uniform(-1, 1, len(z), 1)).float()
    assert kind == "steps"
    return (z * noise.uniform(0.6, 3, len(z), 1)).floor_()


def _clusters(
    values: Float[Tensor, "B C N"], n_classes: Int[Tensor, " B"], noise: Noise, share: float
) -> tuple[Tensor, Tensor]:
    """Shift the causes of a `share` of the tasks by the centre of each row's cluster, in place."""
    n_tasks, n_causes, n_rows = values.shape
    per_class = noise.choice([0.6, 0.25, 0.15], n_tasks) + 1
    clustered = noise.flags(share, n_tasks)
    n_clusters = torch.where(clustered, (n_classes * per_class).clamp(max=MAX_CLUSTERS), 1)
    weights = (
        noise.uniform(0, 1, n_tasks, MAX_CLUSTERS).log_().neg_()
    )  # Dirichlet(1) before normalising
    weights = torch.where(
        noise.flags(0.6, n_tasks, 1), 1 + 0.2 * weights, weights + 0.1
    )  # most are nearly balanced
    weights = weights * (torch.arange(MAX_CLUSTERS, device=noise.device) < n_clusters.unsqueeze(1))
    bounds = (weights / weights.sum(1, keepdim=True)).cumsum(1)
    clusters = torch.searchsorted(bounds, noise.uniform(0, 1, n_tasks, n_rows))
    clusters = torch.minimum(clusters, n_clusters.unsqueeze(1) - 1)
    chosen = clustered.nonzero().squeeze(1)
    if len(chosen):
        separation = noise.log_uniform(0.8, 8, len(chosen), 1, 1) / n_causes**0.25
        centres = noise.normal(len(chosen), n_causes, MAX_CLUSTERS) * separation
        centres *= noise.flags(noise.uniform(0.3, 1.3, len(chosen), 1, 1), len(chosen), n_causes, 1)
        index = clusters[chosen].unsqueeze(1).expand(-1, n_causes, -1)
        spread = 1 + noise.uniform(-0.6, 0.6, len(chosen), 1, MAX_CLUSTERS) * noise.flags(
            0.4, len(chosen), 1, 1
        )
        part = values[chosen] * spread.expand(-1, n_causes, -1).gather(2, index)
        values[chosen] = part.add_(centres.gather(2, index))
    return clusters, n_clusters
