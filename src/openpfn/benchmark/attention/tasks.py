"""The tasks of a comparison: a file of training tasks that every run reads, and held-out tasks with
contexts of any length."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.configs import PriorConfig
from openpfn.configs.real_table import RealTableConfig
from openpfn.data.dump_reader import DumpHeader, DumpWriter
from openpfn.data.stream import TaskStream
from openpfn.priors.base import TaskPrior
from openpfn.scm.tasks import joined

DRAWN_TOGETHER = 128
"""Training tasks per batch of the file: drawing is four times quicker than in batches of a step's
size."""
HELD_OUT_START = 2**41
"""Index of the first held-out batch in the prior's stream, far beyond any training batch."""
BATCH = 32
"""Held-out tasks that are read together."""
MOST_DRAWN = 50
"""Held-out tasks that are drawn for one that is kept, at most."""


class TaskSource:
    """The prior that a comparison trains on, and the shape of its tasks.

    Raises ValueError for a prior made from other options than --tasks.… or --table.…, and for more
    classes than the network has.
    """

    def __init__(self, config: AttentionConfig) -> None:
        self.name, self.lengths = config.prior, config.lengths
        self.found = registry.find("priors", config.prior, TaskPrior)
        if self.found.config_class is RealTableConfig:
            self.config: Any = config.table
            self.n_rows, self.longest = config.table.total_rows, config.table.train_rows
        elif self.found.config_class is PriorConfig:
            self.config = config.tasks
            self.n_rows, self.longest = (
                config.tasks.max_seq_len,
                round(config.tasks.max_context_share * config.tasks.max_seq_len),
            )
        else:
            raise ValueError(
                f"the prior {config.prior!r} is made from"
                f" {getattr(self.found.config_class, '__name__', 'Python objects')}, which a"
                " comparison cannot give it. Choose one that is made from a PriorConfig, such as"
                " mixture, or real_tables."
            )
        self.prior: Any = self.found(self.config)
        self.max_features = getattr(self.prior, "n_features", config.tasks.max_features)
        self.max_classes = getattr(self.prior, "n_classes", config.tasks.max_classes)
        if self.max_classes > config.network.max_classes:
            raise ValueError(
                f"the tasks have up to {self.max_classes} classes, but the network tells"
                f" {config.network.max_classes} apart. Raise --network.max-classes, or draw tasks"
                " with fewer."
            )

    def with_longest_contexts(self) -> TaskPrior:
        """The prior of the held-out tasks: the greatest length asked for, then as many query rows
        as in training (8 at least)."""
        n_context = max(self.lengths) * self.longest
        n_rows = n_context + max(8, self.n_rows - self.longest)
        if isinstance(self.config, PriorConfig):
            share = n_context / n_rows
            shape = {
                "min_seq_len": n_rows,
                "max_seq_len": n_rows,
                "min_context_share": share,
                "max_context_share": share,
            }
            return self.found(replace(self.config, **shape))
        try:
            return self.found(
                replace(self.config, total_rows=n_rows, train_rows=n_context)
            ).for_evaluation()
        except ValueError as error:
            longer = f"contexts of {max(self.lengths)} × {self.longest} rows"
            raise ValueError(f"{longer}: {error} Or give other --lengths, such as 1.") from error


def write_training_tasks(config: AttentionConfig, path: Path) -> None:
    """Draw `num_steps` × `batch_size` tasks into the dump `path`, or the rest of them where a part
    is there."""
    source = TaskSource(config)
    header = DumpHeader(
        max_seq_len=source.n_rows,
        max_features=source.max_features,
        batch_size=DRAWN_TOGETHER,
        max_classes=source.max_classes,
        prior=source.name,
        prior_config=asdict(source.config),
    )
    wanted = ceil(config.num_steps * config.batch_size / DRAWN_TOGETHER)
    with DumpWriter.resume(path, header) as dump:
        missing = wanted - dump.n_batches
        if missing > 0:
            stream = TaskStream(
                source.prior, DRAWN_TOGETHER, seed=0, n_workers=0, start=dump.n_batches
            )
            for batch in islice(stream, missing):
                dump.append(batch)


def held_out_tasks(config: AttentionConfig) -> list[TaskBatch]:
    """`config.held_out` tasks that no run is trained on, in batches of (nearly) one size and
    similar width.

    Their context has the greatest length asked for. A task stays out if its shortest context lacks
    one of its classes, so that every length is asked for the same tasks.
    """
    source = TaskSource(config)
    kept: list[TaskBatch] = []
    n_missing, n_drawn = config.held_out, 0
    for batch in TaskStream(
        source.with_longest_contexts(), BATCH, seed=0, n_workers=0, start=HELD_OUT_START
    ):
        kept.append(batch.tasks(has_every_class(batch, source.longest)).tasks(slice(0, n_missing)))
        n_missing -= kept[-1].n_tasks
        n_drawn += BATCH
        if not n_missing:
            break
        if n_drawn > MOST_DRAWN * config.held_out + BATCH:
            raise ValueError(
                f"only {config.held_out - n_missing} of {n_drawn} tasks have all their classes in"
                f" the first {source.longest} rows. Draw tasks with fewer classes or longer"
                " contexts."
            )
    tasks = joined(kept)
    assert tasks.n_features is not None
    by_width = tasks.n_features.argsort(stable=True)
    return [
        narrowest(tasks.tasks(index))
        for index in by_width.tensor_split(ceil(config.held_out / BATCH))
    ]


def narrowest(batch: TaskBatch) -> TaskBatch:
    """Return the same tasks without the columns that none of them uses."""
    assert batch.x is not None
    assert batch.n_features is not None
    width = int(batch.n_features.max())
    return replace(
        batch,
        x=batch.x[:, :, :width],
        categorical=None if batch.categorical is None else batch.categorical[:, :width],
    )


def with_context(batch: TaskBatch, n_context: int) -> TaskBatch:
    """Return the same tasks and query rows with the first `n_context` context rows only."""
    rows = torch.cat([torch.arange(n_context), torch.arange(batch.n_train, batch.n_rows)])
    return replace(
        batch,
        x=None if batch.x is None else batch.x[:, rows],
        y=batch.y[:, rows],
        n_train=n_context,
    )


def has_every_class(batch: TaskBatch, n_context: int) -> Bool[Tensor, " B"]:
    """Return whether the first `n_context` rows hold every class that occurs in the task."""
    width = int(batch.y.max()) + 1
    seen, known = (
        torch.zeros(batch.n_tasks, width).scatter_(1, y.long(), 1.0)
        for y in (batch.y, batch.y[:, :n_context])
    )  # (B, K)
    return (seen == known).all(dim=1)
