"""Questions to the networks of a sweep, which are found in their registry by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch.distributions import Normal

from openpfn import checkpoint
from openpfn.bayes.diagnostics import EnergyDistance, energy_distance
from openpfn.bayes.resampling import predictive_resample
from openpfn.bayes.task_diversity.experiment import Experiment, experiment_of
from openpfn.bayes.task_diversity.scores import row_of, scores
from openpfn.heads.base import Predictive
from openpfn.training.tracking.base import RunRecord
from openpfn.training.tracking.registry import RunRegistry

POOLS = "params"
"""What a checkpoint calls the pool of a run's tasks."""


@dataclass(frozen=True)
class FoundRun:
    """A run of a sweep, and the steps whose weights were kept."""

    registry: RunRegistry
    record: RunRecord
    steps: tuple[int, ...]

    @property
    def n_tasks(self) -> int:
        return int(self.record.data_config["n_tasks"])

    @property
    def seed(self) -> int:
        return int(self.record.data_config["seed"])

    @cached_property
    def experiment(self) -> Experiment:
        """The tasks that it was trained on, out of its checkpoint."""
        pools = self._loaded(self.steps[-1]).task_pools
        return experiment_of(self.record.data_config, pools.get(POOLS))

    def model(self, step: int | None = None) -> Any:
        """The network after `step`, by default the last. Raises ValueError for a step that was not
        kept."""
        if step is not None and step not in self.steps:
            kept = ", ".join(map(str, self.steps))
            raise ValueError(
                f"run {self.record.name} has no weights of step {step}. Kept are {kept}."
            )
        return self._loaded(self.steps[-1] if step is None else step).model

    def _loaded(self, step: int) -> checkpoint.Checkpoint:
        return checkpoint.load(self.registry.fetch(self.record, step))


def find_runs(registry: str | Path | None, **wanted: Any) -> list[FoundRun]:
    """Return the finished runs of task diversity whose record has these values (`n_tasks`,
    `task_size`, `seed`, `noise`, `examples`; None stands for any), by pool size and seed.

    Raises LookupError, with what there is, where none has.
    """
    place = RunRegistry(registry)
    every = [
        run
        for run in place.runs()
        if run.data_config.get("experiment") == "task-diversity" and run.state == "finished"
    ]
    asked = {name: value for name, value in wanted.items() if value is not None}
    runs = [
        FoundRun(place, run, tuple(one.step for one in place.checkpoints(run)))
        for run in every
        if all(run.data_config.get(name) == value for name, value in asked.items())
    ]
    runs = [run for run in runs if run.steps]
    if not runs:
        told = ", ".join(f"{name} {value}" for name, value in asked.items()) or "a checkpoint"
        names = ", ".join(sorted(run.name for run in every)[:8]) or "none"
        raise LookupError(
            f"no finished run with {told} in the registry {place.folder}. Those there: {names}."
            " Train them with openpfn sweep task-diversity."
        )
    return sorted(runs, key=lambda run: (run.n_tasks, run.seed))


def raventos(runs: Sequence[FoundRun], eval_batch: int = 1024) -> pd.DataFrame:
    """Return a row of scores for each run, as `sweep` tells them."""
    return pd.DataFrame([_score_row(run, run.steps[-1], eval_batch) for run in runs])


def losses(runs: Sequence[FoundRun], eval_batch: int = 1024) -> pd.DataFrame:
    """Return a row of scores for each kept step of each run."""
    rows = [_score_row(run, step, eval_batch) for run in runs for step in run.steps]
    return pd.DataFrame(rows)


def length(runs: Sequence[FoundRun], eval_batch: int = 512, times: float = 2.0) -> pd.DataFrame:
    """Return a row for each run, whose scores go on to sequences `times` as long as those of
    training. Raises ValueError for networks whose positions end before."""
    rows = []
    for run in runs:
        model = run.model()
        n_rows = round(times * int(run.record.data_config["examples"]))
        if model.W_pos is not None and 2 * n_rows > len(model.W_pos):
            raise ValueError(
                f"run {run.record.name} has positions for {len(model.W_pos) // 2} rows, not"
                f" {n_rows}. Train it without positions, or ask a smaller --times."
            )
        rows.append(_score_row(run, run.steps[-1], eval_batch, n_rows))
    return pd.DataFrame(rows)


def _score_row(
    run: FoundRun, step: int, eval_batch: int, n_rows: int | None = None
) -> dict[str, Any]:
    found = scores(run.model(step), run.experiment, eval_batch, run.seed, n_rows)
    return row_of(
        {
            "run": run.record.name,
            "run_id": run.record.id,
            "n_tasks": run.n_tasks,
            "seed": run.seed,
            "step": step,
            "by_row": {name: values.tolist() for name, values in found.items()},
        }
    )


@dataclass(frozen=True)
class ImpliedPrior:
    """What a network believes about coefficients before any row, at several steps."""

    steps: list[int]
    draws: Float[np.ndarray, "K S D"]
    """Least squares of rows rolled out from nothing."""
    pool: Float[np.ndarray, "M D"]
    """The tasks that it was trained on."""
    distances: pd.DataFrame
    """Energy distances to N(0, I) and to the pool, by step."""


def prior_recovery(
    run: FoundRun,
    steps: Sequence[int] | None = None,
    *,
    n_samples: int = 1000,
    horizon: int = 64,
    seed: int = 0,
) -> ImpliedPrior:
    """Return the network's implied prior by predictive resampling from an empty context, beside
    the true prior N(0, I) and the actual tasks."""
    experiment = run.experiment
    pool = experiment.pool.double()
    chosen = list(run.steps if steps is None else steps)
    generator = torch.Generator().manual_seed(seed)
    draws, rows = [], []
    for step in chosen:
        drawn = _resampled(run.model(step), None, None, n_samples, horizon, seed).samples
        draws.append(drawn)
        true = torch.randn(n_samples, experiment.task_size, generator=generator).double()
        old = pool[torch.randint(len(pool), (n_samples,), generator=generator)]
        for name, other in (("N(0, I)", true), ("the tasks", old)):
            apart = energy_distance(drawn[None], other[None], generator=generator)
            rows.append({"step": step, "to": name, "value": apart.value, "p_value": apart.p_value})
    return ImpliedPrior(chosen, np.stack(draws), pool.numpy(), pd.DataFrame(rows))


@dataclass(frozen=True)
class PosteriorBelief:
    """What a network believes about coefficients after some rows, beside the Bayes answers."""

    draws: Float[np.ndarray, "B S D"]
    """The network's, for each prompt."""
    ridge: Float[np.ndarray, "B S D"]
    """Draws of the exact posterior under N(0, I)."""
    dmmse: Float[np.ndarray, "B S D"]
    """Draws of the exact posterior under the pool."""
    truth: Float[np.ndarray, "B D"]
    """The coefficients behind each prompt."""
    to_ridge: EnergyDistance
    to_dmmse: EnergyDistance


def posterior(
    run: FoundRun,
    *,
    n_context: int = 8,
    prompts: int = 10,
    n_samples: int = 500,
    horizon: int = 64,
    old: bool = False,
    seed: int = 0,
) -> PosteriorBelief:
    """Return the martingale posterior of the coefficients given prompts of new tasks (or `old`
    ones), and its energy distances to the exact posteriors."""
    experiment = run.experiment
    batch = experiment.batch(prompts, seed, old=old, n_rows=n_context)
    generator = torch.Generator().manual_seed(seed)
    drawn = _resampled(run.model(), batch.x, batch.y, n_samples, horizon, seed).samples
    exact = experiment.generalising.posterior(batch.x, batch.y)
    ridge = exact.sample(n_samples, generator).transpose(0, 1)
    weights = experiment.memorising.posterior(batch.x, batch.y).probs
    places = torch.multinomial(weights, n_samples, replacement=True, generator=generator)
    dmmse = experiment.pool.double()[places]  # (B, S, D)
    return PosteriorBelief(
        drawn,
        ridge.numpy(),
        dmmse.numpy(),
        batch.latents["params"].double().numpy(),
        energy_distance(drawn, ridge, generator=generator),
        energy_distance(drawn, dmmse, generator=generator),
    )


@dataclass(frozen=True)
class PromptBelief:
    """Predictive densities of the next target after each of several prompts."""

    y: Float[np.ndarray, " G"]
    network: Float[np.ndarray, "B G"]
    ridge: Float[np.ndarray, "B G"]
    dmmse: Float[np.ndarray, "B G"]
    truth: Float[np.ndarray, " B"]
    """The target that came."""


@torch.no_grad()
def prompt(
    run: FoundRun, *, n_context: int = 8, prompts: int = 6, old: bool = False, seed: int = 0
) -> PromptBelief:
    """Return what the network, ridge and dMMSE expect after prompts of `n_context` rows."""
    experiment, model = run.experiment, run.model()
    batch = experiment.batch(prompts, seed, old=old, n_rows=n_context + 1)
    assert batch.x is not None
    x, y, xq = batch.x[:, :n_context], batch.y[:, :n_context], batch.x[:, n_context:]
    reach = 3.5 * (experiment.task_size + experiment.noise) ** 0.5
    grid = torch.linspace(-reach, reach, 400, dtype=torch.float64)

    def density(belief: Predictive) -> Float[np.ndarray, "B G"]:
        values = belief.log_prob(grid.view(-1, 1, 1)).exp()[..., 0]  # (G, B)
        return values.T.double().numpy()

    return PromptBelief(
        grid.numpy(),
        density(model.predictive_of(model(x, y, xq))),
        density(experiment.generalising.predictive(x, y, xq)),
        density(experiment.memorising.predictive(x, y, xq)),
        batch.y[:, n_context].double().numpy(),
    )


def _resampled(model: Any, x: Any, y: Any, n_samples: int, horizon: int, seed: int) -> Any:
    return predictive_resample(
        model,
        x,
        y,
        "ols",
        n_samples=n_samples,
        horizon=horizon,
        x_sampler=Normal(0.0, 1.0),
        n_trace=1,
        generator=torch.Generator().manual_seed(seed),
    )
