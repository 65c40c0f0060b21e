"""Distributions of numbers that a regressor answers with."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Predictive, Values, as_tensor
from openpfn.heads.quantiles import Quantiles

MODAL_SHARE = 0.1
"""Share of the probability whose shortest interval gives the mode."""


class PooledQuantiles(Quantiles):
    """Quantiles averaged over an ensemble.

    Its mode is the middle of the shortest interval that holds a tenth of the probability: how
    close two neighbouring quantiles of a network come is mostly noise.
    """

    @property
    def mode(self) -> Float[Tensor, "..."]:
        n = max(1, round(MODAL_SHARE * self.n_levels))
        n = min(n, self.n_levels - 1)
        starts, ends = self.values[..., :-n], self.values[..., n:]
        shortest = (ends - starts).argmin(dim=-1, keepdim=True)
        return ((starts + ends) / 2).gather(-1, shortest).squeeze(-1)


class Certain(Predictive):
    """All of the probability on one value per target: what a constant target leaves to say.

    `log_prob` is the logarithm of a probability, not of a density: 0 at the value, −inf elsewhere.

    >>> float(Certain(torch.tensor(3.0)).crps(5.0))
    2.0
    """

    def __init__(self, values: Float[Tensor, "..."]) -> None:
        self.values = values

    @property
    def shape(self) -> torch.Size:
        return self.values.shape

    @property
    def mode(self) -> Float[Tensor, "..."]:
        return self.values

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self.values

    @property
    def variance(self) -> Float[Tensor, "..."]:
        return torch.zeros_like(self.values)

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.values)
        return torch.where(y == self.values, 0.0, torch.where(y.isnan(), torch.nan, -torch.inf))

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        return (as_tensor(y, self.values) >= self.values).to(self.values.dtype)

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.values.expand(torch.broadcast_shapes(p.shape, self.shape))

    def entropy(self) -> Float[Tensor, "..."]:
        return torch.zeros_like(self.values)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        return (as_tensor(y, self.values) - self.values).abs()
