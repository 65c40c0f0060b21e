"""Pooled attention: learned points gather the context into a few averages, and rows read those."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.attention.base import (
    PoolSums,
    ProjectedAttention,
    merge_pools,
    pool_sums,
    pooled_mean,
    softmax_average,
)


class PooledState(NamedTuple):
    """Averages of the context rows, one per learned point."""

    key: Float[Tensor, "G H P K"]
    value: Float[Tensor, "G H P K"]


class PooledAttention(ProjectedAttention):
    """Each of `n_points` learned points averages keys and values of the context rows that it finds
    by softmax; rows read these averages by softmax.

    The averages hold data: they are soft clusters of the context's rows. The state has a constant
    size.
    """

    aliases: ClassVar[tuple[str, ...]] = ("pooling",)
    has_softmax_over_rows: ClassVar[bool] = True

    def __init__(self, d_model: int, n_heads: int, *, n_points: int = 16, **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        if n_points < 1:
            raise ValueError(f"n_points is {n_points}, must be at least 1.")
        self.points = nn.Parameter(torch.randn(n_heads, n_points, self.d_head))

    @property
    def can_merge(self) -> bool:
        return not self.qassmax  # the points' queries then depend on the number of all rows

    def summarize(self, context: Float[Tensor, "G n E"]) -> PoolSums:
        key, value = self.keys_and_values(context)  # (G, H, n, K)
        points = self.query_scale(self.points, key.shape[2]) if self.qassmax else self.points
        return pool_sums(points.unsqueeze(0), key, torch.cat([key, value], dim=-1))

    def merge(self, a: PoolSums, b: PoolSums) -> PoolSums:
        if not self.can_merge:
            return super().merge(a, b)
        return merge_pools(a, b)

    def finalize(self, state: PoolSums) -> PooledState:
        key, value = pooled_mean(state).chunk(2, dim=-1)  # (G, H, P, K)
        return PooledState(key, value)

    def attend(self, query: Float[Tensor, "G Q E"], state: PooledState) -> Float[Tensor, "G Q E"]:
        q = self.split_heads(query)  # (G, H, Q, K)
        return self.merge_heads(softmax_average(q, state.key.to(q.dtype), state.value.to(q.dtype)))
