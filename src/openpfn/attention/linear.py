"""Linear attention: the context is two sums, whose size does not depend on the number of rows."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.attention.base import ProjectedAttention

FEATURES = ("elu", "relu", "learned")


class LinearState(NamedTuple):
    memory: Float[Tensor, "G H F K"]
    """Sum over context rows of φ(key) valueᵀ."""
    key_sum: Float[Tensor, "G H F"]
    """Sum over context rows of φ(key)."""


class LinearAttention(ProjectedAttention):
    """Attention with positive features φ of queries and keys in place of the softmax (Katharopoulos
    et al. 2020, eq. 6).

    `read` costs the same after ten context rows as after a million. `features` names φ: `elu` is
    elu(u) + 1, `relu` is max(u, 0) + 0.001, and `learned` is softmax(Wu) beside softmax(−Wu) with a
    matrix W per head, which can be as pointed as a softmax (Hedgehog, Zhang et al. 2024) and
    doubles the state.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    eps = 1e-6

    def __init__(self, d_model: int, n_heads: int, *, features: str = "elu", **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        if features not in FEATURES:
            raise ValueError(f"features is {features!r}, must be one of {', '.join(FEATURES)}.")
        self.features = features
        if features == "learned":
            self.feature_map = nn.Parameter(
                torch.eye(self.d_head).repeat(n_heads, 1, 1)
            )  # (H, K, K)

    def summarize(self, context: Float[Tensor, "G n E"]) -> LinearState:
        key, value = self.keys_and_values(context)
        k = self.positive(key)  # (G, H, n, F)
        return LinearState(k.transpose(-1, -2) @ value, k.sum(dim=2))

    def merge(self, a: LinearState, b: LinearState) -> LinearState:
        return LinearState(a.memory + b.memory, a.key_sum + b.key_sum)

    def attend(self, query: Float[Tensor, "G Q E"], state: LinearState) -> Float[Tensor, "G Q E"]:
        q = self.positive(self.split_heads(query))  # (G, H, Q, F)
        mass = q @ state.key_sum.to(q.dtype).unsqueeze(-1)  # (G, H, Q, 1)
        return self.merge_heads((q @ state.memory) / (mass + self.eps))

    def positive(self, heads: Float[Tensor, "G H n K"]) -> Float[Tensor, "G H n F"]:
        """φ of each row: K features, or 2K if they are learned."""
        if self.features == "elu":
            return F.elu(heads) + 1
        if self.features == "relu":
            return F.relu(heads) + 1e-3
        u = heads @ self.feature_map
        return torch.cat([u.softmax(dim=-1), (-u).softmax(dim=-1)], dim=-1).to(heads.dtype)
