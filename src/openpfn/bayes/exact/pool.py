"""`TaskPool`: the exact posterior when the task is one of finitely many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from openpfn.bayes.exact.base import ExactPosterior, Rows, checked_queries, checked_rows
from openpfn.bayes.exact.streamed import StreamedMixture
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import GaussianMixture

LARGEST_WHOLE = 2**24
"""Answers of tasks for rows (128 MB) up to which a pool stands in memory whole, in some ten arrays
of that size."""
LARGEST_PART = 2**21
"""Answers in each part of a larger one."""


@dataclass(frozen=True)
class PoolPosterior:
    """Probability of each task of a pool."""

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
    """The exact posterior over a finite pool `tasks` (M, …), by log-sum-exp; its predictive mean is
    the discrete MMSE estimate.

    `function(x, task)` gives, for all rows (N, D) of one task, the mean of y (N,) with family
    "gaussian" (noise of `noise_variance`), the log-odds of 1 (N,) with "bernoulli", or the logits
    (N, C) of the classes with "categorical". None is x @ task: linear regression as in Raventós et
    al. 2023, logistic regression, or softmax regression with tasks (M, D, C). `log_weights` (M,)
    are the tasks' log prior probabilities up to a constant; None makes them equal.

    The function runs under `torch.vmap` over rows of tasks and the pool. A pool too large for
    memory goes part by part: the answer is then a `StreamedMixture`, whose moments, log-densities
    and cdf cost one pass over the pool each.

    >>> pool = TaskPool(torch.tensor([[-1.0], [1.0]]), noise_variance=0.5)
    >>> pool.posterior(torch.ones(1, 1), torch.zeros(1)).probs
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        tasks: Shaped[Tensor, "M ..."] | Shaped[np.ndarray, "M ..."],
        noise_variance: float | None = None,
        function: Callable[[Tensor, Tensor], Tensor] | None = None,
        family: Literal["gaussian", "bernoulli", "categorical"] = "gaussian",
        log_weights: Float[Tensor, " M"] | None = None,
    ) -> None:
        if family not in ("gaussian", "bernoulli", "categorical"):
            raise ValueError(f"family is {family!r}; choose gaussian, bernoulli or categorical.")
        if (family == "gaussian") != (noise_variance is not None and noise_variance > 0):
            raise ValueError(
                f"noise_variance is {noise_variance} with family {family!r}; give a number > 0 with"
                " gaussian, else None."
            )
        if tasks.ndim < 1 or len(tasks) < 1 or (function is None and tasks.ndim < 2):
            raise ValueError(
                f"tasks has shape {tuple(tasks.shape)}; expected at least one task, (M, D), or (M,"
                " …) with a function."
            )
        self.tasks = torch.as_tensor(tasks).double()
        self.noise_variance, self.family = noise_variance, family
        self.function = torch.matmul if function is None else function
        weights = torch.zeros(len(tasks)) if log_weights is None else log_weights
        if weights.shape != tasks.shape[:1]:
            raise ValueError(
                f"log_weights has shape {tuple(weights.shape)}; expected ({len(tasks)},), one per"
                " task."
            )
        self.log_weights = weights.to(self.tasks.device, torch.float64).log_softmax(0)
        if bool(self.log_weights.isnan().any()):
            raise ValueError(
                "log_weights holds NaN or +∞, or −∞ alone; expected log-probabilities, one of them"
                " finite at least."
            )

    def posterior(self, x: Rows | None, y: Rows) -> PoolPosterior:
        rows, targets = self._checked(x, y)
        found = [
            self._log_likelihood(part, rows, targets)[0].sum(-2) + self._log_weights(part, rows)
            for part in self._parts(rows)
        ]
        return PoolPosterior(torch.cat(found, -1).log_softmax(-1), self.tasks.to(rows.device))

    def predictive(
        self, x: Rows | None, y: Rows, xq: Rows | None = None
    ) -> GaussianMixture | StreamedMixture | Categorical:
        """A mixture of the tasks' answers, weighted by how probable each is."""
        queries, posterior = checked_queries(x, xq), self.posterior(x, y).logits

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for part in self._parts(queries):
                yield posterior[..., None, part], self._outputs(part, queries)

        return self._mixed(parts, queries)

    def prefixes(self, x: Rows | None, y: Rows) -> GaussianMixture | StreamedMixture | Categorical:
        rows, targets = self._checked(x, y)

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for part in self._parts(rows):
                likelihood, outputs = self._log_likelihood(part, rows, targets)  # (..., N, m)
                before = F.pad(likelihood, (0, 0, 1, 0)).cumsum(-2)[..., :-1, :]
                yield before + self._log_weights(part, rows), outputs

        return self._mixed(parts, rows)

    def _checked(self, x: Rows | None, y: Rows) -> tuple[Tensor, Tensor]:
        rows, targets = checked_rows(x, y)
        if self.function is torch.matmul and rows.shape[-1] != self.tasks.shape[1]:
            raise ValueError(
                f"x has {rows.shape[-1]} columns, but the tasks {self.tasks.shape[1]} coefficients."
                " Make them agree."
            )
        return rows, targets

    def _parts(self, rows: Tensor) -> list[slice]:
        """The pool in parts of so many tasks that their answers for all rows fit into memory."""
        n_rows, n_tasks = max(1, rows.shape[:-1].numel()), len(self.tasks)
        size = n_tasks if n_rows * n_tasks <= LARGEST_WHOLE else max(1, LARGEST_PART // n_rows)
        return [slice(first, first + size) for first in range(0, n_tasks, size)]

    def _log_weights(self, part: slice, rows: Tensor) -> Float[Tensor, " m"]:
        return self.log_weights[part].to(rows.device)

    def _outputs(self, part: slice, rows: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Means (..., N, m) under the m tasks of a part, or log-probabilities of classes (..., N,
        m, C)."""
        flat = rows.reshape(rows.shape[:-2].numel(), *rows.shape[-2:])  # (B, N, D)
        over_pool = torch.vmap(self.function, in_dims=(None, 0), out_dims=1)  # (N, m) or (N, m, C)
        found = torch.vmap(over_pool, in_dims=(0, None))(flat, self.tasks[part].to(rows.device))
        wanted = 3 + (self.family == "categorical")
        if found.ndim != wanted:
            shape = tuple(found.select(2, 0).shape[1:])
            raise ValueError(
                f"the function gives shape {shape} for one task; expected "
                + ("(N, C)." if wanted == 4 else "(N,).")
            )
        found = found.view(*rows.shape[:-2], *found.shape[1:])
        if self.family == "bernoulli":
            return torch.stack([F.logsigmoid(-found), F.logsigmoid(found)], -1)
        return found.log_softmax(-1) if self.family == "categorical" else found

    def _log_likelihood(
        self, part: slice, rows: Float[Tensor, "..."], y: Float[Tensor, "..."]
    ) -> tuple[Tensor, Tensor]:
        """How probable each target is under each task (..., N, m), without what is the same for all
        tasks; and the tasks' answers."""
        outputs = self._outputs(part, rows)
        if self.noise_variance is not None:
            return -(y.unsqueeze(-1) - outputs).square() / (2 * self.noise_variance), outputs
        n_classes = outputs.shape[-1]
        if bool(((y < 0) | (y >= n_classes) | (y != y.floor())).any()):
            raise ValueError(
                f"y must hold whole numbers from 0 to {n_classes - 1}: the classes that the tasks"
                " tell apart."
            )
        label = y.long()[..., None, None].expand(*outputs.shape[:-1], 1)
        return outputs.gather(-1, label).squeeze(-1), outputs

    def _mixed(
        self, parts: Callable[[], Iterator[tuple[Tensor, Tensor]]], rows: Tensor
    ) -> GaussianMixture | StreamedMixture | Categorical:
        """The mixture of the parts' answers by their log weights, which are up to one constant for
        all parts."""
        if self.noise_variance is None:
            logits = [
                (log_weights.unsqueeze(-1) + outputs).logsumexp(-2)
                for log_weights, outputs in parts()
            ]
            return Categorical(torch.stack(logits).logsumexp(0).log_softmax(-1))
        if len(self._parts(rows)) > 1:
            return StreamedMixture(parts, self.noise_variance)
        ((log_weights, outputs),) = parts()
        log_weights, outputs = torch.broadcast_tensors(log_weights.log_softmax(-1), outputs)
        return GaussianMixture(log_weights, outputs, torch.full_like(outputs, self.noise_variance))
