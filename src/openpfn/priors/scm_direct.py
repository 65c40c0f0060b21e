"""`DirectPrior`: tables whose columns are drawn first, and targets that are random functions of
them."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.causes import draw_causes
from openpfn.scm.effects import draw_effects
from openpfn.scm.graphs import N_READINGS, N_SCORES
from openpfn.scm.levels import draw_codes, draw_n_levels
from openpfn.scm.noise import Noise
from openpfn.scm.tasks import Nodes, Shape, draw_tasks

N_VIEWS = 4
"""Random effects that each level of a category has: scores pick among them."""


class DirectPrior(TaskPrior):
    """Columns of every kind, and targets made of products, parities, rules, counts, distances,
    dense linear and smooth functions of them.

    Random graphs seldom give a target that several columns act on only together, one that many
    columns act on a little, or categories whose levels act each in its own way; this prior draws
    them by design.

    >>> batch = DirectPrior(PriorConfig(max_features=5, max_seq_len=60)).sample(
    ...     2, torch.Generator().manual_seed(0)
    ... )
    >>> batch.x.shape[:2]
    torch.Size([2, 60])
    """

    aliases: ClassVar[tuple[str, ...]] = ("direct",)

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        return draw_tasks(
            partial(_nodes, self.config.categorical_share), self.config, n_tasks, generator
        )


def _nodes(
    categorical_share: float,
    shape: Shape,
    n_features: Int[Tensor, " B"],
    n_classes: Int[Tensor, " B"],
    noise: Noise,
) -> Nodes:
    """One table per task and, for each reading, other scores of the same structure."""
    causes = draw_causes(shape.most, shape.n_rows, n_classes, noise)
    values = causes.values
    is_level, views = _views(values, categorical_share, noise)
    scores = draw_effects(views, n_features, N_READINGS * N_SCORES, noise)
    readings = [torch.cat([views[:, 0], score], dim=1) for score in scores.chunk(N_READINGS, dim=1)]
    return Nodes(
        torch.stack(readings, dim=1),
        shape.most,
        causes.clusters,
        torch.ones_like(causes.n_clusters),  # targets come from scores alone
        n_features.float(),
        torch.ones(len(n_features), device=noise.device),
        is_level.unsqueeze(1).expand(-1, N_READINGS, -1),
    )


def _views(
    values: Float[Tensor, "B D N"], categorical_share: float, noise: Noise
) -> tuple[Bool[Tensor, "B D"], Float[Tensor, "B F D N"]]:
    """Which columns hold levels, and the views of all columns that scores look at.

    A table is as its causes are, or binary, or of categories, or mixed. Codes follow the ranks of
    the causes, so that correlated causes make correlated categories.
    """
    n_tasks, n_columns, n_rows = values.shape
    binary = noise.flags(0.12, n_tasks, 1)
    threshold = 0.5 * noise.normal(n_tasks, n_columns, 1)
    cut = (values > threshold).to(values.dtype)
    values = torch.where(binary.unsqueeze(2), _standard(cut), values)
    # Twice the chance of the other priors' tables: there, categories seldom act.
    has_levels = noise.flags(1 - (1 - categorical_share) ** 2, n_tasks, 1)
    share = noise.uniform(0.1, 1, n_tasks, 1)
    share = torch.where(noise.flags(0.4, n_tasks, 1), 1.0, share)
    is_level = has_levels & noise.flags(share, n_tasks, n_columns)
    views = values.unsqueeze(1).repeat(1, N_VIEWS, 1, 1)
    task, column = is_level.nonzero(as_tuple=True)
    if len(task):
        n_levels = draw_n_levels(noise.flags(0.4, n_tasks, 1), n_columns, noise)[task, column]
        codes = draw_codes(n_levels, n_rows, noise, values[task, column])  # (M, N)
        width = int(n_levels.max())
        effects = noise.normal(len(task), N_VIEWS, width)
        # In some columns a few levels act and the others are alike, in all views but the first.
        few = noise.flags(0.25, len(task), 1, 1) & ~noise.flags(0.3, len(task), 1, width)
        effects[:, 1:] = effects[:, 1:].masked_fill(few, 0.0)
        levels = effects.gather(2, codes.unsqueeze(1).expand(-1, N_VIEWS, -1))
        views[task, :, column] = levels
    return is_level, views


def _standard(values: Float[Tensor, "B D N"]) -> Float[Tensor, "B D N"]:
    mean = values.mean(2, keepdim=True)
    return (values - mean) / values.std(2, keepdim=True, correction=0).clamp(min=0.1)
