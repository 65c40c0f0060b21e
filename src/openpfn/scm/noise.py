"""`Noise`: cheap random numbers for priors, all drawn from one generator and made on its device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

POOL_SIZE = 1 << 15
SPARSE_POOL_SIZE = 1 << 14
SPARSITY = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9)


class Noise:
    """Random tensors from one generator.

    Drawing normal numbers is dear on a CPU (8 ns each, fifty times a multiplication), so
    `normal_rows` cuts slices at random offsets out of one pool of them. Two slices may overlap,
    shifted against each other, which no task can notice.

    >>> noise = Noise(torch.Generator().manual_seed(0))
    >>> noise.normal_rows(3, 5).shape
    torch.Size([3, 5])
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.device = generator.device
        self._pool: Tensor | None = None
        self._sparse_pool: Tensor | None = None

    def normal(self, *shape: int) -> Tensor:
        """Independent standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(shape, device=self.device).uniform_(low, high, generator=self.generator)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.uniform(math.log(low), math.log(high), *shape).exp_()

    def integers(self, high: int, *shape: int) -> Tensor:
        """Integers 0 … `high` − 1."""
        return torch.randint(high, shape, generator=self.generator, device=self.device)

    def below(self, limit: Int[Tensor, "..."], *trailing: int) -> Tensor:
        """An integer 0 … limit − 1 for every entry of `limit`, with `trailing` further axes."""
        limit = limit.reshape(*limit.shape, *(1 for _ in trailing))
        draws = torch.rand(
            (*limit.shape[: limit.dim() - len(trailing)], *trailing),
            generator=self.generator,
            device=self.device,
        )
        return torch.minimum((draws * limit).long(), limit - 1)

    def order(self, n: int) -> Int[Tensor, " n"]:
        """0 … `n` − 1 in random order."""
        return torch.randperm(n, generator=self.generator, device=self.device)

    def flags(self, probability: float | Tensor, *shape: int) -> Tensor:
        """True with `probability` (a number, or a tensor that broadcasts to `shape`)."""
        return torch.rand(shape, generator=self.generator, device=self.device) < probability

    def choice(self, weights: list[float], *shape: int) -> Tensor:
        """Indices into `weights`, each in proportion to its weight."""
        *inner, total = itertools.accumulate(weights)
        return torch.bucketize(
            self.uniform(0, total, *shape), torch.tensor(inner, device=self.device), right=True
        )

    def normal_rows(self, n_rows: int, length: int) -> Float[Tensor, "n_rows length"]:
        """Rows of standard normal numbers, cut out of the pool; the result owns its memory."""
        if self._pool is None or self._pool.numel() < 2 * length:
            self._pool = self.normal(max(POOL_SIZE, 4 * length))
        starts = self.integers(self._pool.numel() - length + 1, n_rows)
        return self._pool.unfold(0, length, 1).index_select(0, starts)

    def sparse_rows(self, level: Int[Tensor, " R"], length: int) -> Float[Tensor, "R length"]:
        """Rows of normal numbers, a share `SPARSITY[level]` of which is zero; `level` holds one
        entry per row."""
        if self._sparse_pool is None:
            normal = self.normal(SPARSE_POOL_SIZE)
            kept = self.uniform(0, 1, SPARSE_POOL_SIZE) >= torch.tensor(
                SPARSITY, device=self.device
            ).unsqueeze(1)
            self._sparse_pool = (normal * kept).flatten()
        starts = level * SPARSE_POOL_SIZE + self.integers(SPARSE_POOL_SIZE - length + 1, len(level))
        return self._sparse_pool.unfold(0, length, 1).index_select(0, starts)


def change_rows(
    values: Tensor, index: Int[Tensor, " R"], function: Callable[[Tensor], Tensor]
) -> None:
    """Replace the rows `index` of `values` (rows, N) by `function` of them, in place."""
    if index.numel():
        values.index_copy_(0, index, function(values.index_select(0, index)))


def row_moments(
    values: Float[Tensor, "... N"], mask: Bool[Tensor, "... N"] | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation along the last axis (of the entries in `mask`); one pass each,
    much faster than `torch.var_mean`."""
    if mask is None:
        mean = values.mean(-1)
        square = torch.linalg.vector_norm(values, dim=-1).square() / values.shape[-1]
    else:
        count = mask.sum(-1).clamp(min=1)
        kept = values * mask
        mean, square = kept.sum(-1) / count, kept.square().sum(-1) / count
    return mean, (square - mean.square()).clamp(min=0).sqrt()
