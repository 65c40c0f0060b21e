"""The tasks of a comparison: a file of training tasks that every run reads, and held-out tasks with contexts of any length."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import islice
from math import ceil
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.benchmark.compare_config import AttentionConfig
from openpfn.configs import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.priors_io.dump import DumpHeader, DumpWriter
from openpfn.priors_io.stream import TaskStream
from openpfn.priors_io.tasks import joined

DRAWN_TOGETHER = 128
"""Training tasks per batch of the file: drawing is four times quicker than in batches of a step's size."""
HELD_OUT_START = 2**41
"""Index of the first held-out batch in the prior's stream, far beyond any training batch."""
BATCH = 32
"""Held-out tasks that are read together."""


def write_training_tasks(config: AttentionConfig, path: Path) -> None:
    """Draw `num_steps` × `batch_size` tasks into the dump `path`, or the rest of them where a part is there."""
    header = DumpHeader(
        max_seq_len=config.tasks.max_seq_len,
        max_features=config.tasks.max_features,
        batch_size=DRAWN_TOGETHER,
        max_classes=config.tasks.max_classes,
        prior=config.prior,
        prior_config=asdict(config.tasks),
    )
    wanted = ceil(config.num_steps * config.batch_size / DRAWN_TOGETHER)
    with DumpWriter.resume(path, header) as dump:
        missing = wanted - dump.n_batches
        if missing > 0:
            stream = TaskStream(make_prior(config), DRAWN_TOGETHER, seed=0, n_workers=0, start=dump.n_batches)
            for batch in islice(stream, missing):
                dump.append(batch)


def held_out_tasks(config: AttentionConfig) -> list[TaskBatch]:
    """`config.held_out` tasks that no run is trained on, in batches of (nearly) one size and similar width.

    Their context has the greatest length asked for. A task stays out if its shortest context lacks one of its classes,
    so that every length is asked for the same tasks.
    """
    n_context = max(config.lengths) * config.longest
    n_rows = n_context + config.n_query
    share = n_context / n_rows
    shape = replace(config.tasks, min_seq_len=n_rows, max_seq_len=n_rows, min_context_share=share, max_context_share=share)
    kept: list[TaskBatch] = []
    n_missing = config.held_out
    for batch in TaskStream(make_prior(config, shape), BATCH, seed=0, n_workers=0, start=HELD_OUT_START):
        kept.append(batch.tasks(has_every_class(batch, config.longest)).tasks(slice(0, n_missing)))
        n_missing -= kept[-1].n_tasks
        if not n_missing:
            break
    tasks = joined(kept)
    assert tasks.n_features is not None
    by_width = tasks.n_features.argsort(stable=True)
    return [narrowest(tasks.tasks(index)) for index in by_width.tensor_split(ceil(config.held_out / BATCH))]


def narrowest(batch: TaskBatch) -> TaskBatch:
    """The same tasks without the columns that none of them uses."""
    assert batch.x is not None
    assert batch.n_features is not None
    width = int(batch.n_features.max())
    return replace(batch, x=batch.x[:, :, :width], categorical=None if batch.categorical is None else batch.categorical[:, :width])


def with_context(batch: TaskBatch, n_context: int) -> TaskBatch:
    """The same tasks and query rows with the first `n_context` context rows only."""
    rows = torch.cat([torch.arange(n_context), torch.arange(batch.n_train, batch.n_rows)])
    return replace(batch, x=None if batch.x is None else batch.x[:, rows], y=batch.y[:, rows], n_train=n_context)


def has_every_class(batch: TaskBatch, n_context: int) -> Bool[Tensor, " B"]:
    """Whether the first `n_context` rows hold every class that occurs in the task."""
    width = int(batch.y.max()) + 1
    seen, known = (
        torch.zeros(batch.n_tasks, width).scatter_(1, y.long(), 1.0) for y in (batch.y, batch.y[:, :n_context])
    )    # (B, K)
    return (seen == known).all(dim=1)


def make_prior(config: AttentionConfig, tasks: PriorConfig | None = None) -> TaskPrior:
    """The prior of `config`, of tasks of another shape where `tasks` says so. Raises ValueError for one of real tables."""
    found = registry.find("priors", config.prior, TaskPrior)
    if found.config_class is not PriorConfig:
        raise ValueError(
            f"the prior {config.prior!r} is made from a {found.config_class.__name__}, which cannot draw the longer contexts of the "
            "held-out tasks. Choose one that takes the options --tasks.…, such as mixture."
        )
    return found(tasks or config.tasks)
