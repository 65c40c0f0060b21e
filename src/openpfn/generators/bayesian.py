"""`BayesianGenerator`: supervised sequences from a prior over parameters and a likelihood of
targets given inputs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from openpfn.generators.base import SequencePrior
from openpfn.generators.distributions import (
    Likelihood,
    distribution_of,
    draw_parameters,
    input_distribution,
    named_latents,
    pools_of,
)
from openpfn.randomness import draw_inputs, seeded


class BayesianGenerator(SequencePrior):
    """Draws θ from `prior` for each task, inputs from `x_distribution` (standard normal if None),
    and y from p(y | x, θ).

    The columns of x are the likelihood's `input_dim`. The latent `params` holds θ. `seq_len`,
    `n_train` and `device` are those of `SequencePrior`.

    >>> from torch.distributions import Normal
    >>> from openpfn.generators import Prior
    >>> likelihood = Likelihood(
    ...     Normal, lambda theta, x: {"loc": (theta * x).sum(-1), "scale": 0.1}, input_dim=10
    ... )
    >>> x, y = BayesianGenerator(Prior(Normal(0.0, 1.0)), likelihood).generate(seq_len=64)
    >>> x.shape, y.shape
    (torch.Size([64, 10]), torch.Size([64]))
    """

    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        prior: Any,
        likelihood: Likelihood,
        x_distribution: Distribution | None = None,
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
        self.prior, self.likelihood, self.input_dim = (
            distribution_of(prior),
            likelihood,
            likelihood.input_dim,
        )
        self.x_distribution = input_distribution(x_distribution)

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with seeded(generator) as device:
            theta = draw_parameters(self.prior, n_tasks, device)
            x = draw_inputs(self.x_distribution, n_tasks, n_rows, self.input_dim, device)
            return x, self.likelihood.draw(theta, x), named_latents("params", theta)

    def task_pools(self) -> dict[str, Tensor]:
        return pools_of("params", self.prior)
