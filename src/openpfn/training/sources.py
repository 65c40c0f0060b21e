"""Where the tasks of a training come from: a prior, an object that generates sequences, or ready
batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig


def task_source(given: Any, seq_len: int) -> Any:
    """`given` as a source of tasks of `seq_len` rows: something with `.sample(n_tasks, generator)`,
    or an iterable of batches.

    A prior that decides about its rows itself stays as it is. An object of your own with
    `.generate(seq_len) -> (x, y)`, or y alone, is called once per sequence. Raises TypeError for
    anything else.
    """
    if hasattr(given, "sample"):
        return given.of_length(seq_len) if hasattr(given, "of_length") else given
    if hasattr(given, "generate"):
        return GeneratedTasks(given, seq_len)
    if isinstance(given, str | dict | Tensor) or not hasattr(given, "__iter__"):
        raise TypeError(
            f"tasks cannot come from a {type(given).__name__}. Give a TaskPrior such as a"
            " DeterministicGenerator, an object with .generate(seq_len), or an iterable of"
            " TaskBatch."
        )
    return given


def is_prior(source: Any) -> bool:
    """Return whether tasks are drawn from `source` with `.sample`, rather than by iterating over
    it."""
    return hasattr(source, "sample")


def task_pools(source: Any) -> dict[str, Tensor]:
    """Return the finite pools that `source` draws its tasks from, by name; none where every task is
    new."""
    return dict(source.task_pools()) if hasattr(source, "task_pools") else {}


def seek(batches: Any, position: int | None) -> None:
    """Move a source of batches to `position`. Raises ValueError if it cannot."""
    if position is None or not hasattr(batches, "position"):
        raise ValueError(
            f"cannot resume on a {type(batches).__name__}: give a prior, or an iterable with a"
            " settable position."
        )
    batches.position = position


def with_steps_of(source: Any, config: TrainingConfig) -> TrainingConfig:
    """Return `config` with the number of steps in which a loader with `num_steps` gives its
    batches once, where `config` leaves its own number at the default."""
    n_batches = getattr(source, "num_steps", None)
    if not isinstance(n_batches, int) or config.num_steps != TrainingConfig.num_steps:
        return config
    return replace(config, num_steps=max(1, n_batches // config.accumulation))


class GeneratedTasks:
    """Tasks of `seq_len` rows from an object that generates one sequence per call, drawing from
    torch's global random state."""

    def __init__(self, source: Any, seq_len: int) -> None:
        self.source, self.seq_len = source, seq_len

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sequences = [_pair(self.source.generate(self.seq_len)) for _ in range(n_tasks)]
        x = (
            None
            if sequences[0][0] is None
            else torch.stack([x for x, _ in sequences if x is not None]).float()
        )
        return TaskBatch(x=x, y=torch.stack([y for _, y in sequences]).float(), n_train=0)

    def task_pools(self) -> dict[str, Tensor]:
        return task_pools(self.source)


def _pair(sequence: Any) -> tuple[Tensor | None, Tensor]:
    return sequence if isinstance(sequence, tuple) else (None, sequence)
