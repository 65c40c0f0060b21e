"""Random rows of a table: different ones within a task."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def draw_without_replacement(
    n_tasks: int, n_drawn: int, n_rows: int, generator: torch.Generator
) -> Int[Tensor, "B N"]:
    """Per task `n_drawn` of the numbers 0 … `n_rows` − 1 in random order, none twice; every choice
    is equally likely.

    Floyd's sampling (Bentley and Floyd 1987), which costs no more for a larger table, and then a
    shuffle.
    """
    device = generator.device
    uniform = torch.rand(n_tasks, n_drawn, generator=generator, device=device, dtype=torch.float64)
    drawn = torch.empty(n_tasks, n_drawn, dtype=torch.long, device=device)
    for i, last in enumerate(range(n_rows - n_drawn, n_rows)):
        candidate = (uniform[:, i] * (last + 1)).long()
        taken = (drawn[:, :i] == candidate.unsqueeze(1)).any(1)
        drawn[:, i] = torch.where(taken, last, candidate)
    return drawn.gather(
        1, torch.rand(n_tasks, n_drawn, generator=generator, device=device).argsort(1)
    )
