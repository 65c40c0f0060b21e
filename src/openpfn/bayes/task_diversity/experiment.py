"""`Experiment`: the tasks of one run of a sweep, and the two answers that it could come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from openpfn.batch import TaskBatch
from openpfn.bayes.exact import ConjugateLinear, TaskPool
from openpfn.generators.deterministic import DeterministicGenerator
from openpfn.generators.distributions import DiscreteTask


@dataclass(frozen=True)
class Experiment:
    """Linear regression whose tasks come from a pool."""

    pool: Float[Tensor, "M D"]
    """The coefficients of each task."""
    examples: int
    """Rows of a sequence."""
    noise: float
    """Variance of the noise."""

    @property
    def task_size(self) -> int:
        return self.pool.shape[1]

    def prior(self, *, old: bool = True) -> DeterministicGenerator:
        """Sequences of the pool's tasks, or, not `old`, of new ones from N(0, I)."""
        tasks: Any = DiscreteTask(self.pool)
        if not old:
            tasks = Normal(torch.zeros(self.task_size), 1.0)
        return DeterministicGenerator(
            tasks,
            torch.mv,
            input_dim=self.task_size,
            noise_std=self.noise**0.5,
            seq_len=self.examples,
        )

    @property
    def memorising(self) -> TaskPool:
        """The Bayes answer to the pool: the discrete minimum mean squared error (dMMSE)."""
        return TaskPool(self.pool, noise_variance=self.noise)

    @property
    def generalising(self) -> ConjugateLinear:
        """The Bayes answer to all tasks: ridge regression."""
        return ConjugateLinear(noise_variance=self.noise)

    def batch(self, n_tasks: int, seed: int, *, old: bool, n_rows: int | None = None) -> TaskBatch:
        """Sequences to measure on, the same for the same seed; none of them is trained on."""
        prior = self.prior(old=old).of_length(self.examples if n_rows is None else n_rows)
        return prior.sample(n_tasks, torch.Generator().manual_seed(2**40 + seed))


def experiment_of(data: Mapping[str, Any], pool: Tensor | None = None) -> Experiment:
    """Return the experiment that a run's record describes; the `pool` comes from its checkpoint, or
    is drawn by its seed as in training."""
    if pool is None:
        draw = torch.Generator().manual_seed(2**41 + int(data["seed"]))
        pool = torch.randn(int(data["n_tasks"]), int(data["task_size"]), generator=draw)
    return Experiment(pool, int(data["examples"]), float(data["noise"]))
