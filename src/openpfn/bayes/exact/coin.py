"""`BetaBernoulli`: coin flips with an unknown probability."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Beta

from openpfn.bayes.exact.base import ExactPosterior, Rows, doubled
from openpfn.heads.categorical import Categorical


class BetaBernoulli(ExactPosterior):
    """The exact posterior of flips y ∈ {0, 1} whose probability of 1 is drawn from Beta(alpha,
    beta). There are no inputs: x is None.

    After s ones among n flips the next is 1 with probability (alpha + s) / (alpha + beta + n),
    Laplace's rule of succession.

    >>> round(float(BetaBernoulli().predictive(None, torch.tensor([1.0, 1.0])).probs[0, 1]), 6)
    0.75
    """

    def __init__(self, alpha: float = 1.0, beta: float = 1.0) -> None:
        if not (alpha > 0 and beta > 0):
            raise ValueError(f"got alpha={alpha} and beta={beta}; both must be greater than 0.")
        self.alpha, self.beta = float(alpha), float(beta)

    def posterior(self, x: Rows | None, y: Rows) -> Beta:
        """The probability of 1, as a `torch.distributions.Beta` of batch shape `...`."""
        flips = _flips(y)
        ones = flips.sum(-1)
        return Beta(self.alpha + ones, self.beta + flips.shape[-1] - ones)

    def predictive(self, x: Rows | None, y: Rows, xq: Rows | None = None) -> Categorical:
        """The distribution of a flip after those in `y` (..., N): logits (..., Q, 2), with as many
        rows as `xq` (..., Q, D), or one."""
        posterior = self.posterior(x, y)
        counts = torch.stack([posterior.concentration0, posterior.concentration1], -1)  # (..., 2)
        n_queries = 1 if xq is None else xq.shape[-2]
        return _coin(counts.unsqueeze(-2).expand(*counts.shape[:-1], n_queries, 2))

    def prefixes(self, x: Rows | None, y: Rows) -> Categorical:
        flips = _flips(y)
        ones = flips.cumsum(-1) - flips  # before each flip
        before = torch.arange(flips.shape[-1], dtype=flips.dtype, device=flips.device)
        return _coin(torch.stack([self.beta + before - ones, self.alpha + ones], -1))


def _coin(counts: Float[Tensor, "... 2"]) -> Categorical:
    return Categorical((counts / counts.sum(-1, keepdim=True)).log())


def _flips(y: Rows) -> Float[Tensor, "..."]:
    flips = doubled(y)[0]
    if bool(((flips != 0) & (flips != 1)).any()):
        raise ValueError("y must hold 0 and 1 alone: the outcomes of flips.")
    return flips
