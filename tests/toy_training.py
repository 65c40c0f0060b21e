"""A network with dropout and a prior, both as small as can be, that the tests train; and a way to
kill a training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.priors.base import TaskPrior


@dataclass(frozen=True)
class ToyConfig:
    """Width and dropout of the toy."""

    d_hidden: int = 8
    dropout: float = 0.1


class ToyNetwork(nn.Module):
    """Tells the sign of the first column from three; its dropout makes a run depend on torch's
    random state."""

    def __init__(self, config: ToyConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config or ToyConfig()
        torch.manual_seed(seed)
        d = self.config.d_hidden
        self.encoder = nn.Linear(3, d)
        self.layers = nn.ModuleList(
            [nn.Linear(d, d), nn.Linear(d, 2 * d, bias=False), nn.Linear(2 * d, d)]
        )
        self.dropout = nn.Dropout(self.config.dropout)
        self.decoder = nn.Linear(d, 2)

    def forward(self, batch: TaskBatch) -> Tensor:
        assert batch.x is not None
        hidden = self.encoder(batch.x[:, batch.n_train :])
        for layer in self.layers:
            hidden = torch.tanh(self.dropout(layer(hidden)))
        return self.decoder(hidden)

    def loss(self, batch: TaskBatch) -> Tensor:
        return F.cross_entropy(self(batch).flatten(0, 1), batch.y_query.flatten().long())


class ToyPrior(TaskPrior):
    """Tasks of 3 columns whose class is the sign of the first; `delay` seconds make it slow,
    `fails_at` makes it fail or die."""

    def __init__(self, delay: float = 0.0, fails_at: int | None = None, how: str = "error") -> None:
        self.delay, self.fails_at, self.how, self.drawn = delay, fails_at, how, 0

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        time.sleep(self.delay)
        if self.drawn == self.fails_at:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("the dice fell off the table")
        self.drawn += 1
        x = torch.randn(n_tasks, 12, 3, generator=generator)
        latents = {"shift": torch.rand(n_tasks, generator=generator)}
        return TaskBatch(
            x=x,
            y=(x[..., 0] > 0).float(),
            n_train=4,
            n_classes=torch.full((n_tasks,), 2),
            latents=latents,
        )


def batches_of(prior: TaskPrior, n_batches: int, n_tasks: int) -> list[TaskBatch]:
    """The same few batches every time."""
    return [prior.sample(n_tasks, torch.Generator().manual_seed(i)) for i in range(n_batches)]


class Seekable:
    """A source of batches that is no prior but knows its position."""

    def __init__(self, batches: list[TaskBatch]) -> None:
        self.batches, self.position = batches, 0

    def __iter__(self) -> Iterator[TaskBatch]:
        while True:
            batch = self.batches[self.position % len(self.batches)]
            self.position += 1
            yield batch


def killed_after(seconds: float, folder: Path, training: Callable[[], Any]) -> None:
    """Run `training` in a process of its own and kill it, -9, `seconds` after its first checkpoint
    in `folder`."""
    process = multiprocessing.get_context("fork").Process(target=training)
    process.start()
    while not (folder / "latest.safetensors").exists() and process.is_alive():
        time.sleep(0.001)
    time.sleep(seconds)
    if process.is_alive() and process.pid:
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks agree in every bit."""
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )
