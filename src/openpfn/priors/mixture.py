"""`MixturePrior`: tasks of several priors side by side in every batch."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.noise import Noise
from openpfn.scm.stacked import with_scores
from openpfn.scm.tasks import draw_shape, draws_numbers, joined, narrowed


class MixturePrior(TaskPrior):
    """Draws each task from one of `config.parts`, in proportion to `config.part_weights`; all tasks
    of a batch share rows and context, and are classification or regression together. A share
    `config.stacking_share` has stacked scores among its columns, by which a network learns how far
    to trust what estimators show it.

    The parts are found by name, or given as "module:Class"; each is made as
    `Class(PriorConfig(...))`.

    >>> batch = MixturePrior(PriorConfig(max_features=5, max_seq_len=60)).sample(
    ...     4, torch.Generator().manual_seed(0)
    ... )
    >>> batch.n_tasks
    4
    """

    aliases: ClassVar[tuple[str, ...]] = ("mix_scm", "mix")

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()
        self.parts = [registry.find("priors", name, TaskPrior) for name in self.config.parts]
        for name, part in zip(self.config.parts, self.parts, strict=True):
            kind = part.config_class or object
            if not (isinstance(part, type) and issubclass(kind, PriorConfig)):
                raise ValueError(
                    f"{name} is not a class made with a PriorConfig: it cannot be part of a"
                    " mixture. Give such classes."
                )

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        noise = Noise(generator)
        shape, numbers = draw_shape(self.config, noise), draws_numbers(self.config, noise)
        config = narrowed(self.config, shape, numbers)
        # Tasks come in pairs of one part: every part of a small batch costs a fixed time.
        part_of_pair = noise.choice(list(self.config.part_weights), (n_tasks + 1) // 2)
        part_of_task = part_of_pair.repeat_interleave(2)[:n_tasks]
        counts = torch.bincount(part_of_task, minlength=len(self.parts)).tolist()
        batches = [
            part(config).sample(count, generator)
            for part, count in zip(self.parts, counts, strict=True)
            if count
        ]
        batch = joined(_with_all_latents(batches)).tasks(noise.order(n_tasks))
        if not self.config.stacking_share:
            return batch
        return with_scores(batch, self.config.stacking_share, noise)


def _with_all_latents(batches: list[TaskBatch]) -> list[TaskBatch]:
    """The batches, each with the latents of all; 0 where a prior knows nothing of one."""
    like = {name: value for batch in batches for name, value in batch.latents.items()}
    return [
        replace(
            batch,
            latents={
                name: batch.latents.get(name, value.new_zeros(batch.n_tasks, *value.shape[1:]))
                for name, value in like.items()
            },
        )
        for batch in batches
    ]
