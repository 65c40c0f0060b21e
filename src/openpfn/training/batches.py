"""`Batches`: what one rank of a run trains on, out of the run's one stream of batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.data.stream import TaskStream, packed, unpacked
from openpfn.training.ranks import Ranks
from openpfn.training.sources import is_prior, seek


class Share(NamedTuple):
    """A batch of the stream, or one rank's part of it."""

    batch: TaskBatch
    """The tasks; there may be none where a batch has fewer tasks than ranks."""
    weight: float
    """Share of the batch's tasks that these are."""
    index: int
    """The batch's number in the stream."""


class Batches:
    """The batches of a run that this rank trains on, `per_step` of them, or of its parts of them,
    in every optimizer step.

    A step takes `accumulation` batches of the run's stream, however many ranks there are. Rank r of
    W draws batches r, r + W, r + 2W, …: tasks of its own. Where `accumulation` is a multiple of W,
    it trains on what it draws. Otherwise the ranks form gcd(`accumulation`, W) teams, whose members
    show each other what they drew, and each takes its part of the tasks of every batch.
    """

    def __init__(
        self, source: Any, config: TrainingConfig, device: torch.device, ranks: Ranks
    ) -> None:
        self.config, self.device, self.ranks = config, device, ranks
        self.n_teams = math.gcd(config.accumulation, ranks.size)
        self.team_size = ranks.size // self.n_teams
        self.per_step = config.accumulation // self.n_teams
        self.is_owned = is_prior(source)
        self.source = source
        if self.is_owned:
            self.source = TaskStream(
                source,
                config.batch_size,
                seed=config.seed,
                device=device,
                n_workers=config.n_workers,
                prefetch=config.prefetch_factor,
                pin_memory=config.pin_memory,
            )
        self._begin(getattr(self.source, "position", None))

    @property
    def position(self) -> int | None:
        """Index in the stream of the run's next batch, told at the end of a step; None where the
        source does not tell."""
        if self.ranks.size == 1 or self._first is None:
            return getattr(self.source, "position", None)
        return self._first + self._taken

    def seek(self, position: int | None) -> None:
        """Move to `position`. Raises ValueError if the source cannot."""
        seek(self.source, position)
        self._begin(position)

    def next(self, n_done: int) -> Share:
        """Return the next share; `n_done` steps were done, for the message where the source
        ends."""
        if not self._shares:
            self._shares = self._drawn(n_done)
        self._taken += self.n_teams
        return self._shares.pop(0)

    def close(self) -> None:
        """End the processes that draw tasks."""
        if self.is_owned:
            self.source.close()

    def _begin(self, position: int | None) -> None:
        ranks = self.ranks
        self._first, self._taken = position, 0
        self._shares: list[Share] = []
        self._batches: Iterator[TaskBatch] | None = None
        self._to_skip = ranks.rank
        if ranks.size > 1 and hasattr(self.source, "stride"):
            self.source.stride = ranks.size
            self.source.position = (position or 0) + ranks.rank
            self._to_skip = 0

    def _drawn(self, n_done: int) -> list[Share]:
        """Return the shares of the batch that this rank draws now, or of those that its team
        draws."""
        ranks, member = self.ranks, self.ranks.rank // self.n_teams
        for _ in range(self._to_skip):
            self._next(n_done)
        own = self._next(n_done)
        if ranks.size > 1 and not hasattr(self.source, "stride"):
            self._to_skip = ranks.size - 1
        index = (self._first or 0) + self._taken + ranks.rank % self.n_teams
        if self.team_size == 1:
            return [Share(own.to(self.device), 1.0, index)]
        shares = []
        for number, message in enumerate(ranks.gathered(packed(own), self.n_teams)):
            batch = unpacked(message)
            low = member * batch.n_tasks // self.team_size
            high = (member + 1) * batch.n_tasks // self.team_size
            part = batch.tasks(slice(low, high)).to(self.device)
            weight = (high - low) / batch.n_tasks
            shares.append(Share(part, weight, index + number * self.n_teams))
        return shares

    def _next(self, n_done: int) -> TaskBatch:
        batch = None if self._batches is None else next(self._batches, None)
        if batch is None:
            self._batches = iter(self.source)
            batch = next(self._batches, None)
        if batch is None:
            raise ValueError(
                f"the tasks ended after {n_done} of {self.config.num_steps} steps. "
                "Give a longer source or one that can be iterated again, or lower num_steps."
            )
        if not isinstance(batch, TaskBatch):
            raise TypeError(
                f"the source of tasks gave a {type(batch).__name__}, expected a TaskBatch:"
                " TaskBatch(x, y, n_train=0)."
            )
        return batch
