"""Softmax attention: every row reads every context row (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from openpfn.attention.base import ProjectedAttention

LONGEST_EXPLICIT = 512
"""Context rows up to which softmax(QKᵀ)V is written out in bfloat16 on a CPU: there the fused kernel trains 5× slower."""


class SoftmaxState(NamedTuple):
    key: Float[Tensor, "G H n K"]
    value: Float[Tensor, "G H n K"]


class SoftmaxAttention(ProjectedAttention):
    """Multi-head softmax attention. Its state holds keys and values of all context rows: it grows with the context."""

    aliases: ClassVar[tuple[str, ...]] = ("original",)

    def summarize(self, context: Float[Tensor, "G n E"]) -> SoftmaxState:
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        return SoftmaxState(self.split_heads(key), self.split_heads(value))

    def merge(self, a: SoftmaxState, b: SoftmaxState) -> SoftmaxState:
        return SoftmaxState(torch.cat([a.key, b.key], dim=2), torch.cat([a.value, b.value], dim=2))

    def attend(self, query: Float[Tensor, "G Q E"], state: SoftmaxState) -> Float[Tensor, "G Q E"]:
        q = self.split_heads(query)                                              # (G, H, Q, K)
        if q.dtype is torch.bfloat16 and q.device.type == "cpu" and state.key.shape[2] <= LONGEST_EXPLICIT:
            return self.merge_heads(short_attention(q, *state))
        return self.merge_heads(F.scaled_dot_product_attention(q, state.key, state.value))


def short_attention(
    q: Float[Tensor, "... Q K"], key: Float[Tensor, "... n K"], value: Float[Tensor, "... n K"]
) -> Float[Tensor, "... Q K"]:
    """softmax(QKᵀ/√K)V written out, in the precision of its arguments: autocast would widen the softmax to float32."""
    with torch.autocast(q.device.type, enabled=False):
        return ((q * q.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(dim=-1) @ value
