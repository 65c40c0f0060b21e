"""Linear attention: the context is two sums, whose size does not depend on the number of rows."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from openpfn.attention.base import ProjectedAttention


class LinearState(NamedTuple):
    memory: Float[Tensor, "G H K K"]
    """Sum over context rows of φ(key) valueᵀ."""
    key_sum: Float[Tensor, "G H K"]
    """Sum over context rows of φ(key)."""


class LinearAttention(ProjectedAttention):
    """Attention with the positive features φ(u) = elu(u) + 1 in place of the softmax (Katharopoulos et al. 2020, eq. 6).

    `read` costs the same after ten context rows as after a million.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    eps = 1e-6

    def summarize(self, context: Float[Tensor, "G n E"]) -> LinearState:
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        k = F.elu(self.split_heads(key)) + 1                                # (G, H, n, K), positive features
        return LinearState(k.transpose(-1, -2) @ self.split_heads(value), k.sum(dim=2))

    def merge(self, a: LinearState, b: LinearState) -> LinearState:
        return LinearState(a.memory + b.memory, a.key_sum + b.key_sum)

    def attend(self, query: Float[Tensor, "G Q E"], state: LinearState) -> Float[Tensor, "G Q E"]:
        q = F.elu(self.split_heads(query)) + 1                              # (G, H, Q, K)
        mass = q @ state.key_sum.to(q.dtype).unsqueeze(-1)                  # (G, H, Q, 1)
        return self.merge_heads((q @ state.memory) / (mass + self.eps))
