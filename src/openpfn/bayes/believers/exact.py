"""Exact posteriors as believers: what a perfectly trained network would roll out."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.believers.base import Believer, Choose
from openpfn.bayes.exact import BetaBernoulli, ConjugateLinear, ExactPosterior, TaskPool
from openpfn.heads.base import Predictive
from openpfn.heads.gaussian import Gaussian
from openpfn.models.inputs import check_finite


class ExactBeliever(Believer):
    """An `ExactPosterior`."""

    reads_prefixes: ClassVar[bool] = True

    def __init__(self, exact: ExactPosterior) -> None:
        self.exact = exact
        self.reads_x = not isinstance(exact, BetaBernoulli)  # pyright: ignore[reportAttributeAccessIssue]
        if not self.reads_x or (isinstance(exact, TaskPool) and exact.family == "bernoulli"):
            self.n_classes = 2
        elif isinstance(exact, TaskPool) and exact.family == "categorical":
            like = exact.tasks[:1]
            self.n_classes = int(exact.function(like.new_zeros(1, like.shape[1]), like[0]).shape[1])

    def ask(self, x: Tensor | None, y: Tensor, x_query: Tensor | None) -> Predictive:
        return self.exact.predictive(x, y, x_query)

    def roll(
        self,
        x: Float[Tensor, "S N D"] | None,
        y: Float[Tensor, "S P"],
        n_new: int,
        choose: Choose,
    ) -> Float[Tensor, "S N"]:
        if isinstance(self.exact, ConjugateLinear) and x is not None:
            return rolled_lines(self.exact, x, y, n_new, choose)
        return super().roll(x, y, n_new, choose)

    def joint_log_prob(
        self, x: Float[Tensor, "S N D"] | None, y: Float[Tensor, "S N"], n_given: int
    ) -> Float[Tensor, " S"]:
        return self.exact.prefixes(x, y).log_prob(y)[:, n_given:].sum(-1)

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        found = super().features(rows)
        check_finite(x=found)
        return found

    def bytes_per_rollout(self, n_rows: int, n_columns: int) -> int:
        pool = len(self.exact.tasks) if isinstance(self.exact, TaskPool) else 0
        kernel = 0 if pool else n_rows * n_rows
        return 8 * (4 * n_rows * (n_columns + pool) + 4 * kernel + 8 * n_columns * n_columns)


def rolled_lines(
    exact: ConjugateLinear,
    x: Float[Tensor, "S N D"],
    y: Float[Tensor, "S P"],
    n_new: int,
    choose: Choose,
) -> Float[Tensor, "S N"]:
    """Rollouts of linear regression, whose posterior takes each row in by a rank-one update
    (Kalman 1960) in place of a new inference."""
    n = y.shape[1]
    known = exact.posterior(x[:, :n], y)
    mean, covariance = known.mean, known.covariance.clone()
    rows = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1) if exact.with_bias else x
    y = torch.cat([y.double(), y.new_zeros(len(y), n_new).double()], dim=1)
    for step in range(n_new):
        row = rows[:, n + step].double()  # (S, D)
        along = (covariance @ row.unsqueeze(-1)).squeeze(-1)
        variance = (row * along).sum(-1) + exact.noise_variance
        expected = (row * mean).sum(-1)
        y[:, n + step] = choose(step, Gaussian(expected, variance))
        gain = along / variance.unsqueeze(-1)
        mean = mean + gain * (y[:, n + step] - expected).unsqueeze(-1)
        covariance -= gain.unsqueeze(-1) * along.unsqueeze(-2)
    return y
