"""Torch's randomness out of one generator: random rows of a table, draws of distributions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, Normal


def draw_without_replacement(
    n_tasks: int, n_drawn: int, n_rows: int, generator: torch.Generator
) -> Int[Tensor, "B N"]:
    """Return per task `n_drawn` of the numbers 0 … `n_rows` − 1 in random order, none twice; every
    choice is equally likely.

    Floyd's sampling (Bentley and Floyd 1987), which costs no more for a larger table, and then a
    shuffle.
    """
    device = generator.device
    uniform = torch.rand(n_tasks, n_drawn, generator=generator, device=device, dtype=torch.float64)
    drawn = torch.empty(n_tasks, n_drawn, dtype=torch.long, device=device)
    for i, last in enumerate(range(n_rows - n_drawn, n_rows)):
        candidate = (uniform[:, i] * (last + 1)).long()
        taken = (drawn[:, :i] == candidate.unsqueeze(1)).any(1)
        drawn[:, i] = torch.where(taken, last, candidate)
    return drawn.gather(
        1, torch.rand(n_tasks, n_drawn, generator=generator, device=device).argsort(1)
    )


def fresh_generator(device: torch.device) -> torch.Generator:
    """Return a generator seeded from torch's global random state."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**63 - 1, ())))


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[torch.device]:
    """Inside, torch's global random numbers depend on `generator` alone; afterwards they go on as
    if none had been drawn.

    `torch.distributions` know no generator of their own; this lends them one. Gives the generator's
    device. Not for several threads at a time, since torch's global state is one for all.
    """
    device = generator.device
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield device


def draw_inputs(
    distribution: Distribution, n_tasks: int, n_rows: int, input_dim: int, device: torch.device
) -> Float[Tensor, "B N D"]:
    """Return inputs of B tasks: `distribution` gives a single value, drawn anew for each column, or
    a whole row of `input_dim` values.

    Raises ValueError when it gives anything else.
    """
    shape = tuple(distribution.batch_shape + distribution.event_shape)
    if shape not in ((), (input_dim,)):
        raise ValueError(
            f"x_distribution gives values of shape {shape}; expected () or ({input_dim},), a value"
            " or a row of input_dim."
        )
    columns = () if shape else (input_dim,)
    return drawn_from(distribution, torch.Size((n_tasks, n_rows, *columns))).to(
        device, torch.float32
    )


def drawn_from(distribution: Distribution, size: torch.Size) -> Tensor:
    """`distribution.sample(size)`: the same numbers, sooner where it is a Normal, whose own draws
    look at every standard deviation."""
    if type(distribution) is not Normal:
        return distribution.sample(size)
    shape = size + distribution.batch_shape
    return (
        torch.randn(shape, dtype=distribution.loc.dtype, device=distribution.loc.device)
        .mul_(distribution.scale)
        .add_(distribution.loc)
    )
