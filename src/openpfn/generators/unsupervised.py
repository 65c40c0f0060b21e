"""`UnsupervisedBayesian`: sequences without inputs from a prior over parameters and a
likelihood."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from openpfn.generators.base import SequencePrior
from openpfn.generators.distributions import (
    Likelihood,
    distribution_of,
    draw_parameters,
    named_latents,
    pools_of,
)
from openpfn.randomness import seeded


class UnsupervisedBayesian(SequencePrior):
    """Draws θ from `prior` for each sequence and its values from the likelihood, which sees zeros
    (N, input_dim) as inputs.

    Values that are whole numbers serve as tokens. The latent `params` holds θ.
    `seq_len`, `n_train` and `device` are those of `SequencePrior`.

    >>> from torch.distributions import Bernoulli, Beta
    >>> from openpfn.generators import Likelihood, Prior
    >>> coin = Likelihood(Bernoulli, lambda theta, x: {"probs": theta}, input_dim=1)
    >>> flips = UnsupervisedBayesian(Prior(Beta(1.0, 1.0)), coin).generate(seq_len=64)
    >>> flips.shape
    torch.Size([64])
    """

    aliases: ClassVar[tuple[str, ...]] = ("unsupervised_bayesian",)

    def __init__(
        self,
        prior: Any,
        likelihood: Likelihood,
        *,
        device: torch.device | str | None = None,
        seq_len: int = 64,
        n_train: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, n_train=n_train, device=device)
        if not isinstance(likelihood, Likelihood):
            raise TypeError(
                f"likelihood is a {type(likelihood).__name__}; expected a Likelihood of"
                " openpfn.bayes."
            )
        self.prior, self.likelihood = distribution_of(prior), likelihood

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[None, Tensor, dict[str, Tensor]]:
        with seeded(generator) as device:
            theta = draw_parameters(self.prior, n_tasks, device)
            no_inputs = torch.zeros(n_tasks, n_rows, self.likelihood.input_dim, device=device)
            return None, self.likelihood.draw(theta, no_inputs), named_latents("params", theta)

    def task_pools(self) -> dict[str, Tensor]:
        return pools_of("params", self.prior)
