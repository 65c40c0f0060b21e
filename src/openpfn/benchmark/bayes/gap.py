"""The gap between a network trained for some processor minutes and the exact posterior predictive
of its prior."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli, Beta, Normal

from openpfn.batch import TaskBatch
from openpfn.bayes.exact import GP, BetaBernoulli, ConjugateLinear, ExactPosterior
from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.configs.sequence import RegressionConfig, UnsupervisedConfig
from openpfn.configs.training import TrainingConfig
from openpfn.data.stream import task_generator
from openpfn.generators.base import SequencePrior
from openpfn.generators.deterministic import DeterministicGenerator
from openpfn.generators.distributions import Likelihood, Prior
from openpfn.generators.unsupervised import UnsupervisedBayesian
from openpfn.heads.bars import BarDistribution
from openpfn.heads.base import Predictive
from openpfn.training import train

CALIBRATION_STEPS = 12
"""Steps that are timed to find out how many fit into the budget; the first third warms up."""
SHARE_PLANNED = 0.95
"""Fraction of the time budget planned for; leaves slack for slow steps."""
MOST_OF_BUDGET = 1.05
"""Fraction of the time budget beyond which a training has not reached its bar."""
TASKS_AT_ONCE = 256
BUCKETS_REACH = 12
"""Standard deviations of the targets that buckets cover. Products such as w · x are far out at
times, where tails as narrow as a bucket cost hundreds of nats."""


@dataclass(frozen=True)
class Problem:
    """A prior and the truth under it."""

    title: str
    """Description for the tables of results."""
    seq_len: int
    """Rows of a sequence."""
    minutes: float
    """Processor minutes of training, unless the caller says otherwise."""
    bar: float
    """The gap to reach, nats per point."""
    prior: Callable[[], SequencePrior]
    """Makes the prior."""
    exact: Callable[[], ExactPosterior]
    """Makes its exact posterior."""
    spread: float | None = None
    """Standard deviation of the targets; None where they are tokens."""
    input_dim: int = 1
    """Columns of x."""


class GaussianProcessTasks(SequencePrior):
    """Functions drawn from a Gaussian process, read at points that are uniform on [−1, 1]."""

    def __init__(self, gp: GP, *, seq_len: int = 64) -> None:
        super().__init__(seq_len=seq_len)
        self.gp = gp

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        x = 2 * torch.rand(n_tasks, n_rows, 1, generator=generator) - 1
        return x, self.gp.sample(x, generator).float(), {}


def smooth() -> GP:
    return GP("rbf", lengthscale=0.5, outputscale=1.0, noise_variance=0.04)


def lines(d: int) -> DeterministicGenerator:
    return DeterministicGenerator(Normal(torch.zeros(d), 1.0), torch.mv, input_dim=d, noise_std=0.5)


def flips() -> UnsupervisedBayesian:
    return UnsupervisedBayesian(
        Prior(Beta(1.0, 1.0)), Likelihood(Bernoulli, lambda theta, x: {"probs": theta}, input_dim=1)
    )


def truth_of_lines() -> ConjugateLinear:
    return ConjugateLinear(noise_variance=0.25, prior_variance=1.0)


PROBLEMS: dict[str, Problem] = {
    "linear_1": Problem(
        "linear regression, D = 1, T = 16",
        16,
        5.0,
        0.01,
        lambda: lines(1),
        truth_of_lines,
        1.25**0.5,
    ),
    "linear_4": Problem(
        "linear regression, D = 4, T = 32",
        32,
        10.0,
        0.03,
        lambda: lines(4),
        truth_of_lines,
        4.25**0.5,
        input_dim=4,
    ),
    "gp": Problem(
        "Gaussian process, RBF, D = 1, T = 16",
        16,
        10.0,
        0.03,
        lambda: GaussianProcessTasks(smooth()),
        smooth,
        1.04**0.5,
    ),
    "coin": Problem("coin flips, Beta(1, 1), T = 32", 32, 2.0, 0.005, flips, BetaBernoulli),
}


def measured_gap(name: str, config: BayesConfig) -> dict[str, Any]:
    """Train a network on the problem `name` within the budget; a row with its gap to the exact
    predictive and what that is made of."""
    problem = PROBLEMS[name]
    model, effort = trained_within(
        problem, problem.minutes if config.minutes is None else config.minutes, config
    )
    gap, floor = gaps(problem, model, config)
    value = float(gap.mean())
    in_time = effort["processor_minutes"] <= MOST_OF_BUDGET * effort["budget"]
    return {
        "name": name,
        "kind": "gap",
        "what": problem.title,
        "value": value,
        "unit": "nats a point",
        "bar": problem.bar,
        "better": "lower",
        "reached": value <= problem.bar and in_time,
        "standard_error": float(gap.mean(1).std() / len(gap) ** 0.5),
        "floor": float(floor.mean()),
        "by_row": [round(each, 5) for each in gap.mean(0).tolist()],
        **effort,
    }


def network(problem: Problem, config: BayesConfig) -> RegressionConfig | UnsupervisedConfig:
    """A small network for the problem."""
    sizes: dict[str, Any] = {
        "d_model": config.d_model,
        "n_layers": config.n_layers,
        "n_ctx": 2 * problem.seq_len,
    }
    if problem.spread is None:
        return UnsupervisedConfig(**sizes, d_vocab=2)
    reach = problem.spread * (2 if config.head == "mixture" else BUCKETS_REACH)
    values: dict[str, Any] = {
        "bucket_type": config.head,
        "d_vocab": config.d_vocab,
        "y_min": -reach,
        "y_max": reach,
    }
    return RegressionConfig(**sizes, **values, input_dim=problem.input_dim)


class Watched:
    """A prior, and the processor seconds spent in it."""

    def __init__(self, prior: SequencePrior) -> None:
        self.prior, self.seconds = prior, 0.0

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        began = time.process_time()
        batch = self.prior.sample(n_tasks, generator)
        self.seconds += time.process_time() - began
        return batch


def trained_within(
    problem: Problem, minutes: float, config: BayesConfig
) -> tuple[Any, dict[str, Any]]:
    """The network after as many steps as fit into `minutes` of processor time, and what they
    took."""
    n_steps = max(1, int(SHARE_PLANNED * 60 * minutes / seconds_per_step(problem, config)))
    prior, began = Watched(problem.prior().of_length(problem.seq_len)), time.process_time()
    model = train(prior, network(problem, config), training(problem, config, n_steps))
    seconds = time.process_time() - began
    effort = {
        "budget": minutes,
        "processor_minutes": seconds / 60,
        "steps": n_steps,
        "drawing_share": prior.seconds / seconds,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
    return model, effort


def training(problem: Problem, config: BayesConfig, n_steps: int) -> TrainingConfig:
    """Warm-up and cosine over `n_steps`; everything in this process, nothing written."""
    return TrainingConfig(
        num_steps=n_steps,
        batch_size=config.batch_size,
        seq_len=problem.seq_len,
        schedule="cosine",
        seed=config.seed,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        muon_learning_rate=config.muon_learning_rate,
        warmup_steps=config.warmup_steps,
        log_every=max(1, n_steps // 20),
        n_workers=0,
        save_checkpoint=False,
        device="cpu",
    )


def seconds_per_step(problem: Problem, config: BayesConfig) -> float:
    """Processor seconds of a training step, its tasks included."""
    at: list[float] = []

    class Clock:
        def on_step(self, event: Any) -> None:
            at.append(time.process_time())

    prior = problem.prior().of_length(problem.seq_len)
    train(
        prior,
        network(problem, config),
        training(problem, config, CALIBRATION_STEPS),
        callbacks=[Clock()],
    )
    skipped = CALIBRATION_STEPS // 3
    return (at[-1] - at[skipped]) / (len(at) - 1 - skipped)


@torch.no_grad()
def gaps(
    problem: Problem, model: Any, config: BayesConfig
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Exact log-probability of each target given the rows before it, less the network's; and less
    that of its buckets at their best."""
    prior, exact = problem.prior().of_length(problem.seq_len), problem.exact()
    gap, floor = [], []
    for start in range(0, config.eval_tasks, TASKS_AT_ONCE):
        generator = task_generator(config.seed + 1, start)  # training draws under another seed
        batch = prior.sample(min(TASKS_AT_ONCE, config.eval_tasks - start), generator)
        truth = exact.prefixes(batch.x, batch.y)
        best = truth.log_prob(batch.y)
        gap.append(best - model.prefixes(batch).log_prob(batch.y))
        floor.append(
            torch.zeros_like(best)
            if model.borders is None
            else best - in_buckets(truth, model).log_prob(batch.y)
        )
    return torch.cat(gap), torch.cat(floor)


def in_buckets(truth: Predictive, model: Any) -> BarDistribution:
    """The best that the network's buckets can say: the exact probability of each."""
    borders = model.borders.double()
    edges = borders.clone()
    if model.config.bucket_support == "unbounded":
        edges[0], edges[-1] = -torch.inf, torch.inf  # the tails hold everything beyond
    below = truth.cdf(edges.view(-1, *[1] * len(truth.shape)))  # (K + 1, B, N)
    mass = below.diff(dim=0).movedim(0, -1).clamp(min=1e-300)  # (B, N, K)
    return BarDistribution(mass.log(), borders, model.config.bucket_support)
