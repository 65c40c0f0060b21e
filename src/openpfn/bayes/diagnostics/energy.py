"""`energy_distance`: how far apart two beliefs are, over many prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Predictive

PAIRS_AT_ONCE = 2**23
"""Distances of pairs that are held at once."""


@dataclass(frozen=True)
class EnergyDistance:
    """The energy distance between two beliefs, in units of what they are about."""

    by_prompt: Float[np.ndarray, " B"]
    """2 E|X − Y| − E|X − X'| − E|Y − Y'| for each prompt, without bias: below 0 by chance where
    the beliefs are the same."""
    value: float
    """The mean over prompts."""
    error: float
    """Its standard error over prompts; NaN for one prompt."""
    p_value: float
    """That both beliefs are the same, by permuting draws between them."""

    def plot(self) -> Any:
        """Return a figure of the distances by prompt."""
        from openpfn.plots.diagnostics import energy_figure

        return energy_figure(self.by_prompt, self.p_value)


def energy_distance(
    a: Any,
    b: Any,
    *,
    n_draws: int = 256,
    n_permutations: int = 199,
    generator: torch.Generator | None = None,
) -> EnergyDistance:
    """Return the energy distance between two beliefs about each of B prompts (Székely & Rizzo
    2013).

    Each is draws (B, S) of a number or (B, S, P) of several, a `MartingalePosterior`, or a
    `Predictive`, each of whose targets is a prompt and gets `n_draws` draws.
    """
    source = generator or torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    x, y = _drawn(a, n_draws, source), _drawn(b, n_draws, source)
    if len(x) != len(y) or x.shape[2] != y.shape[2]:
        raise ValueError(
            f"the draws have shapes {tuple(x.shape)} and {tuple(y.shape)}; expected the same"
            " prompts and numbers: (B, S, P)."
        )
    if len(x) == 0:
        raise ValueError("there is no prompt. Give beliefs about one at least.")
    n, m = x.shape[1], y.shape[1]
    if n < 2 or m < 2:
        raise ValueError(f"there are {n} and {m} draws for a prompt; a distance needs 2 of each.")
    weights = torch.cat([torch.full((n,), 1.0 / n), torch.full((m,), -1.0 / m)]).double()
    orders = torch.stack([torch.randperm(n + m, generator=source) for _ in range(n_permutations)])
    swapped = torch.cat([weights.unsqueeze(0), weights[orders]])  # (1 + K, S)
    by_prompt, totals = [], torch.zeros(len(swapped), dtype=torch.float64)
    for both in torch.cat([x, y], dim=1).split(max(1, PAIRS_AT_ONCE // (n + m) ** 2)):
        apart = torch.cdist(both, both)  # (b, S, S)
        totals += -torch.einsum("ki,bij,kj->k", swapped, apart, swapped)
        between = apart[:, :n, n:].mean(dim=(1, 2))
        within_x = apart[:, :n, :n].sum(dim=(1, 2)) / (n * (n - 1))
        within_y = apart[:, n:, n:].sum(dim=(1, 2)) / (m * (m - 1))
        by_prompt.append(2 * between - within_x - within_y)
    distances = torch.cat(by_prompt).numpy()
    as_far = int((totals[1:] >= totals[0]).sum())
    error = float(distances.std(ddof=1) / len(distances) ** 0.5) if len(distances) > 1 else np.nan
    return EnergyDistance(
        distances, float(distances.mean()), error, (1 + as_far) / (1 + n_permutations)
    )


def _drawn(belief: Any, n_draws: int, generator: torch.Generator) -> Float[Tensor, "B S P"]:
    if isinstance(belief, Predictive):
        with torch.no_grad():
            made = torch.stack([belief.sample(generator) for _ in range(n_draws)], dim=-1)
        draws = made.double().cpu().flatten(0, -2)
    else:
        draws = torch.as_tensor(np.asarray(getattr(belief, "samples", belief))).double()
        draws = draws.unsqueeze(0) if hasattr(belief, "horizons") and draws.dim() == 2 else draws
    draws = draws.unsqueeze(-1) if draws.dim() == 2 else draws
    if draws.dim() != 3:
        raise ValueError(f"draws have shape {tuple(draws.shape)}; expected (B, S) or (B, S, P).")
    if not bool(draws.isfinite().all()):
        raise ValueError("draws hold NaN or infinite values. Leave these prompts out.")
    return draws
