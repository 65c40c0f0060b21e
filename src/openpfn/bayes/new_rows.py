"""Where the inputs of drawn rows come from: the given rows again, or a distribution."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.models.sequence.generation import draw_x

ROLLOUTS_PER_BLOCK = 256
"""Rollouts whose randomness comes from one seed: draws do not depend on how much memory there
is."""


def check_x_sampler(x_sampler: Any, n_context: int, is_table: bool) -> None:
    """Raise ValueError or TypeError where inputs cannot come from `x_sampler`."""
    if isinstance(x_sampler, str):
        if x_sampler not in ("bootstrap", "empirical"):
            raise ValueError(
                f"x_sampler is {x_sampler!r}, must be 'bootstrap', 'empirical', a distribution or a"
                " function (n_sequences, n_rows, generator)."
            )
        if n_context == 0:
            raise ValueError(
                f"x_sampler is {x_sampler!r}, but the context is empty: there is no row to draw"
                " again. Give a distribution of x, such as torch.distributions.Normal(0.0, 1.0)."
            )
        return
    if is_table:
        raise ValueError(
            "x is a DataFrame, whose rows can only be drawn again. Use x_sampler='bootstrap', or"
            " give x as an array of numbers."
        )
    if not isinstance(x_sampler, torch.distributions.Distribution) and not callable(x_sampler):
        raise TypeError(
            f"x_sampler is a {type(x_sampler).__name__}; expected 'bootstrap', 'empirical', a"
            " torch.distributions.Distribution or a function (n_sequences, n_rows, generator)."
        )


def rows_drawn_again(
    kind: str, n_sequences: int, n_context: int, n_new: int, generator: torch.Generator
) -> Int[Tensor, "S T"]:
    """Return places of context rows.

    "bootstrap" draws from all rows so far, those drawn before included: Pólya's urn, whose limit is
    the Bayesian bootstrap (Rubin 1981). "empirical" draws from the context rows alone, so that
    their distribution is taken for known.
    """
    uniform = torch.rand(n_sequences, n_new, generator=generator, dtype=torch.float64)
    if kind == "empirical":
        return (uniform * n_context).long().clamp(max=n_context - 1)
    urn = torch.arange(n_context).expand(n_sequences, -1)
    urn = torch.cat([urn, urn.new_zeros(n_sequences, n_new)], dim=1)  # (S, n + T)
    for t in range(n_new):
        size = n_context + t
        drawn = (uniform[:, t] * size).long().clamp(max=size - 1)
        urn[:, size] = urn.gather(1, drawn.unsqueeze(1)).squeeze(1)
    return urn[:, n_context:]


def rows_of_distribution(
    x_sampler: Any, n_sequences: int, n_new: int, n_columns: int, generator: torch.Generator
) -> Float[Tensor, "S T D"]:
    """Return rows from a distribution or a function; all randomness comes from `generator`."""
    rows = draw_x(x_sampler, n_sequences, n_new, n_columns, generator).double().cpu()
    if not bool(rows.isfinite().all()):
        raise ValueError("x_sampler gave NaN or infinite values of x.")
    return rows
