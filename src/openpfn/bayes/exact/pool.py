"""`TaskPool`: the exact posterior when the task is one of finitely many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from openpfn.bayes.exact.base import ExactPosterior, checked_queries, checked_rows
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import GaussianMixture


@dataclass(frozen=True)
class PoolPosterior:
    """How probable each task of a pool is."""

    logits: Float[Tensor, "... M"]
    """Log-probabilities of the M tasks."""
    tasks: Float[Tensor, "M ..."]
    """The parameters of the tasks."""

    @property
    def probs(self) -> Float[Tensor, "... M"]:
        return self.logits.exp()

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Posterior mean of the parameters, (..., *parameters)."""
        return torch.tensordot(self.probs, self.tasks, dims=1)


class TaskPool(ExactPosterior):
    """The exact posterior over a finite pool `tasks` (M, …), by log-sum-exp; its predictive mean is the discrete MMSE estimate.

    `function(x, task)` gives, for all rows (N, D) of one task, the mean of y (N,) with family "gaussian" (noise of `noise_variance`),
    the log-odds of 1 (N,) with "bernoulli", or the logits (N, C) of the classes with "categorical". None is x @ task: linear regression as
    in Raventós et al. 2023, logistic regression, or softmax regression with tasks (M, D, C).
    `log_weights` (M,) are the tasks' log prior probabilities up to a constant; None makes them equal.

    Memory goes with the product of tasks, rows and M; give fewer tasks at a time for a large pool.

    >>> pool = TaskPool(torch.tensor([[-1.0], [1.0]]), noise_variance=0.5)
    >>> pool.posterior(torch.ones(1, 1), torch.zeros(1)).probs
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        tasks: Shaped[Tensor, "M ..."],
        noise_variance: float | None = None,
        function: Callable[[Tensor, Tensor], Tensor] | None = None,
        family: Literal["gaussian", "bernoulli", "categorical"] = "gaussian",
        log_weights: Float[Tensor, " M"] | None = None,
    ) -> None:
        if family not in ("gaussian", "bernoulli", "categorical"):
            raise ValueError(f"family is {family!r}; choose gaussian, bernoulli or categorical.")
        if (family == "gaussian") != (noise_variance is not None and noise_variance > 0):
            raise ValueError(f"noise_variance is {noise_variance} with family {family!r}; give a number > 0 with gaussian, else None.")
        if len(tasks) < 1:
            raise ValueError("tasks is empty; expected at least one task.")
        self.tasks = tasks.double()
        self.noise_variance, self.family = noise_variance, family
        self.function = torch.matmul if function is None else function
        weights = torch.zeros(len(tasks)) if log_weights is None else log_weights
        if weights.shape != tasks.shape[:1]:
            raise ValueError(f"log_weights has shape {tuple(weights.shape)}; expected ({len(tasks)},), one per task.")
        self.log_weights = weights.to(tasks.device, torch.float64).log_softmax(0)

    def posterior(self, x: Shaped[Tensor, "..."] | None, y: Shaped[Tensor, "..."]) -> PoolPosterior:
        rows, targets = checked_rows(x, y)
        return PoolPosterior((self._log_likelihood(rows, targets).sum(-2) + self._prior(rows)).log_softmax(-1), self.tasks.to(rows.device))

    def predictive(
        self, x: Shaped[Tensor, "..."] | None, y: Shaped[Tensor, "..."], xq: Shaped[Tensor, "..."] | None = None
    ) -> GaussianMixture | Categorical:
        """A mixture of the tasks' answers, weighted by how probable each is."""
        queries = checked_queries(x, xq)
        return self._mixed(self.posterior(x, y).logits.unsqueeze(-2), self._outputs(queries))

    def prefixes(self, x: Shaped[Tensor, "..."] | None, y: Shaped[Tensor, "..."]) -> GaussianMixture | Categorical:
        rows, targets = checked_rows(x, y)
        likelihood = self._log_likelihood(rows, targets)                                   # (..., N, M)
        before = F.pad(likelihood, (0, 0, 1, 0)).cumsum(-2)[..., :-1, :]
        return self._mixed((before + self._prior(rows)).log_softmax(-1), self._outputs(rows))

    def _prior(self, rows: Tensor) -> Float[Tensor, " M"]:
        return self.log_weights.to(rows.device)

    def _outputs(self, rows: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Means (..., N, M), or log-probabilities of classes (..., N, M, C)."""
        flat = rows.reshape(rows.shape[:-2].numel(), *rows.shape[-2:])                     # (B, N, D)
        over_pool = torch.vmap(self.function, in_dims=(None, 0), out_dims=1)               # (N, M) or (N, M, C)
        found = torch.vmap(over_pool, in_dims=(0, None))(flat, self.tasks.to(rows.device))
        wanted = 3 + (self.family == "categorical")
        if found.ndim != wanted:
            shape = tuple(found.select(2, 0).shape[1:])
            raise ValueError(f"the function gives shape {shape} for one task; expected " + ("(N, C)." if wanted == 4 else "(N,)."))
        found = found.view(*rows.shape[:-2], *found.shape[1:])
        if self.family == "bernoulli":
            return torch.stack([F.logsigmoid(-found), F.logsigmoid(found)], -1)
        return found.log_softmax(-1) if self.family == "categorical" else found

    def _log_likelihood(self, rows: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "... N M"]:
        """How probable each target is under each task; without what is the same for all tasks."""
        outputs = self._outputs(rows)
        if self.noise_variance is not None:
            return -(y.unsqueeze(-1) - outputs).square() / (2 * self.noise_variance)
        label = y.long()[..., None, None].expand(*outputs.shape[:-1], 1)
        return outputs.gather(-1, label).squeeze(-1)

    def _mixed(self, log_weights: Float[Tensor, "... N M"], outputs: Float[Tensor, "..."]) -> GaussianMixture | Categorical:
        if self.noise_variance is not None:
            log_weights, outputs = torch.broadcast_tensors(log_weights, outputs)
            return GaussianMixture(log_weights, outputs, torch.full_like(outputs, self.noise_variance))
        return Categorical((log_weights.unsqueeze(-1) + outputs).logsumexp(-2))
