"""Induced attention: learned points read the context and think, and rows read the points (Lee et
al. 2019, ISAB)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
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


class InducedState(NamedTuple):
    """Keys and values of the points, after they have read the context."""

    key: Float[Tensor, "G H P K"]
    value: Float[Tensor, "G H P K"]


class InducedAttention(ProjectedAttention):
    """H = MAB(I, X), then rows read H (Lee et al. 2019, eq. 7–9): `n_points` learned points I
    attend to the context X by multi-head softmax and pass through an MLP, both with a residual;
    rows attend to the result.

    The second MAB's residual and MLP are those of the layer around. The state has a constant size.
    """

    aliases: ClassVar[tuple[str, ...]] = ("isab",)
    has_softmax_over_rows: ClassVar[bool] = True

    def __init__(self, d_model: int, n_heads: int, *, n_points: int = 16, **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        if n_points < 1:
            raise ValueError(f"n_points is {n_points}, must be at least 1.")
        self.points = nn.Parameter(torch.randn(n_points, d_model))
        self.point_query = nn.Linear(d_model, d_model, bias=False)
        self.point_out = nn.Linear(d_model, d_model, bias=False)
        self.point_hidden = nn.Linear(d_model, 2 * d_model)
        self.point_mlp_out = nn.Linear(2 * d_model, d_model)
        self.point_key_value = nn.Linear(d_model, 2 * d_model, bias=False)

    @property
    def can_merge(self) -> bool:
        return not self.qassmax  # the points' queries then depend on the number of all rows

    def summarize(self, context: Float[Tensor, "G n E"]) -> PoolSums:
        key, value = self.keys_and_values(context)  # (G, H, n, K)
        return pool_sums(
            self.asking(self.point_query(self.points).unsqueeze(0), key.shape[2]), key, value
        )

    def merge(self, a: PoolSums, b: PoolSums) -> PoolSums:
        if not self.can_merge:
            return super().merge(a, b)
        return merge_pools(a, b)

    def finalize(self, state: PoolSums) -> InducedState:
        read = self.merge_heads(pooled_mean(state).to(self.points.dtype))  # (G, P, E)
        points = self.points + self.point_out(read)
        points = points + self.point_mlp_out(F.gelu(self.point_hidden(normed(points))))
        key, value = self.point_key_value(normed(points)).chunk(2, dim=-1)
        return InducedState(self.split_heads(key), self.split_heads(value))  # (G, H, P, K)

    def attend(self, query: Float[Tensor, "G Q E"], state: InducedState) -> Float[Tensor, "G Q E"]:
        return self.merge_heads(softmax_average(self.split_heads(query), state.key, state.value))


def normed(points: Float[Tensor, "G P E"]) -> Float[Tensor, "G P E"]:
    return F.rms_norm(points, points.shape[-1:])
