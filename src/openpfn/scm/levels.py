"""Levels of categories: how many there are, how rare they are, and which rows have which."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.scm.noise import Noise

MAX_LEVELS = 50
GROUPED_SHARE = 0.2
"""Share of the tasks with acting levels in which a level is a small group of rows."""
N_FACTORS = 3


def draw_n_levels(same: Bool[Tensor, "B 1"], n_columns: int, noise: Noise) -> Int[Tensor, "B D"]:
    """Numbers of levels 2 … 50, one for all columns of a task where `same`."""
    n_tasks = len(same)
    n_levels = noise.log_uniform(2, MAX_LEVELS + 1, n_tasks, n_columns).long()
    few = noise.flags(0.5, n_tasks, n_columns)
    n_levels = torch.where(few, n_levels.clamp(max=2 + n_levels % 7), n_levels)
    return torch.where(same, n_levels[:, :1], n_levels).clamp_(max=MAX_LEVELS)


def draw_codes(
    n_levels: Int[Tensor, " M"],
    n_rows: int,
    noise: Noise,
    values: Float[Tensor, "M N"] | None = None,
) -> Int[Tensor, "M N"]:
    """Codes 0 … n_levels − 1 of the rows: as common as each other in half of the columns, else
    some of them rare. They follow the ranks of `values` where given."""
    if values is None:
        place = noise.uniform(0, 1, len(n_levels), n_rows)
    else:
        place = (values.argsort(1).argsort(1) + 0.5) / n_rows
    power = noise.log_uniform(1.2, 4, len(n_levels), 1)
    power = torch.where(noise.flags(0.5, len(n_levels), 1), 1.0, power)
    count = n_levels.unsqueeze(1)
    return torch.minimum((place.pow(power) * count).long(), count - 1)


def share_levels(
    values: Float[Tensor, "B C N"], noise: Noise, share: float = 0.25
) -> Float[Tensor, "B C N"]:
    """Make some causes of a `share` of the tasks functions of one of a few hidden categories, in
    place.

    Causes of the same category take a vector of values for each of its levels. Where levels are
    many, rows come in groups that are alike in these causes.
    """
    chosen = noise.flags(share, len(values)).nonzero().squeeze(1)
    if not len(chosen):
        return values
    n_tasks, (n_causes, n_rows) = len(chosen), values.shape[1:]
    same = torch.zeros(n_tasks, 1, dtype=torch.bool, device=values.device)
    n_levels = draw_n_levels(same, N_FACTORS, noise)
    groups = (n_rows * noise.log_uniform(0.1, 0.5, n_tasks, N_FACTORS)).long().clamp_(min=2)
    n_levels = torch.where(noise.flags(GROUPED_SHARE, n_tasks, 1), groups, n_levels)
    codes = draw_codes(n_levels.clamp(max=n_rows).flatten(), n_rows, noise)
    codes = codes.view(n_tasks, N_FACTORS, n_rows)
    factor = noise.integers(N_FACTORS, n_tasks, n_causes)
    # Rows are exchangeable, so the first ones stand for the levels.
    like = codes.gather(1, factor.unsqueeze(2).expand(-1, -1, n_rows))
    takes = noise.flags(noise.uniform(0.1, 0.8, n_tasks, 1), n_tasks, n_causes)
    part = values[chosen]
    values[chosen] = torch.where(takes.unsqueeze(2), part.gather(2, like), part)
    return values
