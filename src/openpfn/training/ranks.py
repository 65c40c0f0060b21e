"""`Ranks`: the processes that train one network together, started by torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from openpfn.device import pick_device

LONGEST_WAIT = timedelta(minutes=30)
"""How long ranks wait for one that does not answer, for instance while rank 0 evaluates."""


class RankLost(RuntimeError):
    """Another rank of the run has ended, so that this one cannot go on."""


class Ranks:
    """`size` processes that train one network; this one is number `rank`, 0 alone writes files.

    One process, the default, shares nothing: every method then leaves things as they are.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self.contact_seconds = 0.0
        """Time spent in what the ranks do together, waiting for each other included."""
        self._groups: dict[int, Any] = {}

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes, evaluates and tells."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device of this rank: of several CUDA devices, each rank has its own."""
        picked = pick_device(name)
        if self.size == 1 or picked.type == "cpu":
            return picked
        if picked.type != "cuda":
            if name == "auto":
                return torch.device("cpu")
            raise ValueError(
                f"device is {name!r}, which {self.size} ranks cannot share. Choose 'cuda' or 'cpu'."
            )
        if ":" in name:
            raise ValueError(
                f"device is {name!r}, but {self.size} ranks need a device each. Choose 'cuda'."
            )
        return pick_device(f"cuda:{self.local_rank}")

    def agree(self, model: nn.Module, step: int) -> None:
        """Give every rank the weights of rank 0. Raises ValueError where ranks stand at different
        steps, because they read different files."""
        if self.size == 1:
            return
        steps = self.gathered(step)
        if len(set(steps)) > 1:
            raise ValueError(
                f"the ranks stand at steps {', '.join(map(str, steps))}: they read different"
                " checkpoints. Put the run's folder where all machines see it."
            )
        with self._contact():
            for tensor in [*model.parameters(), *model.buffers()]:
                dist.broadcast(tensor.detach(), 0)

    def sum_gradients(self, parameters: Sequence[Tensor], figures: Tensor) -> Tensor:
        """Add up each gradient over the ranks, and return `figures`, a vector, summed likewise.

        A parameter that has no gradient on any rank keeps none.
        """
        if self.size == 1:
            return figures
        sizes = [parameter.numel() for parameter in parameters]
        n = sum(sizes)
        flat = torch.zeros(n + len(sizes) + len(figures), device=figures.device)
        for number, (parameter, part) in enumerate(
            zip(parameters, flat[:n].split(sizes), strict=True)
        ):
            if parameter.grad is not None:
                part.copy_(parameter.grad.flatten())
                flat[n + number] = 1
        flat[n + len(sizes) :] = figures
        with self._contact():
            dist.all_reduce(flat)
        have_one = flat[n : n + len(sizes)].tolist()
        for parameter, part, n_ranks in zip(
            parameters, flat[:n].split(sizes), have_one, strict=True
        ):
            if n_ranks:
                parameter.grad = part.view_as(parameter).to(parameter.dtype)
        return flat[n + len(sizes) :]

    def gathered_vectors(self, vector: Tensor) -> list[Tensor]:
        """Return the vectors of all ranks, which have one length and type."""
        found = [torch.empty_like(vector) for _ in range(self.size)]
        with self._contact():
            dist.all_gather(found, vector)
        return found

    def gathered(self, value: Any, n_teams: int = 1) -> list[Any]:
        """Return the value of every rank of this rank's team: of the `n_teams` teams, rank r is in
        number r mod `n_teams`."""
        if n_teams == self.size:
            return [value]
        found = [None] * (self.size // n_teams)
        with self._contact():
            dist.all_gather_object(found, value, group=self._team(n_teams))
        return found

    def wait_for_all(self) -> None:
        """Wait until every rank comes here."""
        if self.size > 1:
            with self._contact():
                dist.barrier()

    def _team(self, n_teams: int) -> Any:
        if n_teams == 1:
            return None
        if n_teams not in self._groups:  # every rank has to make every group
            groups = [dist.new_group(range(k, self.size, n_teams)) for k in range(n_teams)]
            self._groups[n_teams] = groups[self.rank % n_teams]
        return self._groups[n_teams]

    @contextmanager
    def _contact(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
            self.contact_seconds += time.perf_counter() - began
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RankLost(
                f"rank {self.rank} of {self.size} lost the others ({reason[:160]}). Look above for"
                " the rank that failed first; the run continues with --resume, on any number of"
                " ranks."
            ) from error


ALONE = Ranks()


def n_ranks() -> int:
    """Return how many ranks torchrun (or another launcher that sets the same variables) started;
    1 without it."""
    variables = os.environ
    return int(variables["WORLD_SIZE"]) if {"RANK", "WORLD_SIZE"} <= variables.keys() else 1


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """The ranks that torchrun started, connected inside by gloo and, where they compute on CUDA
    devices, nccl; a single rank without torchrun.

    >>> with joined() as ranks:    # doctest: +SKIP
    ...     model = train(prior, preset("nano"), config, ranks=ranks)
    """
    if n_ranks() == 1:
        yield ALONE
        return
    place = os.environ
    ranks = Ranks(
        int(place["RANK"]), int(place["WORLD_SIZE"]), int(place.get("LOCAL_RANK", place["RANK"]))
    )
    own = ranks.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def seed_of_batch(seed: int, index: int) -> int:
    """Return the seed of what is random in the loss of batch `index`, whichever rank trains on
    it."""
    state = np.random.SeedSequence(seed, spawn_key=(1, index)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
