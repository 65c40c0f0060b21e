"""Softmax attention: every row reads every context row (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.attention.base import RowAttention

LONGEST_EXPLICIT = 512
"""Context rows up to which softmax(QKᵀ)V is written out in bfloat16 on a CPU: there the fused kernel trains 5× slower."""


class SoftmaxState(NamedTuple):
    key: Float[Tensor, "G H n K"]
    value: Float[Tensor, "G H n K"]


class SoftmaxAttention(RowAttention):
    """Multi-head softmax attention. Its state holds keys and values of all context rows: it grows with the context."""

    aliases: ClassVar[tuple[str, ...]] = ("original",)

    def __init__(self, d_model: int, n_heads: int, *, separate_query_weights: bool = False) -> None:
        super().__init__(d_model, n_heads, separate_query_weights=separate_query_weights)
        self.to_query = nn.Linear(d_model, d_model, bias=False)
        self.to_key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.to_out.weight)
        if separate_query_weights:
            self.read_query = nn.Linear(d_model, d_model, bias=False)
            self.read_out = nn.Linear(d_model, d_model, bias=False)
            nn.init.zeros_(self.read_out.weight)

    def summarize(self, context: Float[Tensor, "G n E"]) -> SoftmaxState:
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        return SoftmaxState(self.split_heads(key), self.split_heads(value))

    def merge(self, a: SoftmaxState, b: SoftmaxState) -> SoftmaxState:
        return SoftmaxState(torch.cat([a.key, b.key], dim=2), torch.cat([a.value, b.value], dim=2))

    def read(self, rows: Float[Tensor, "G Q E"], state: SoftmaxState) -> Float[Tensor, "G Q E"]:
        if not self.separate_query_weights:
            return self.mix(rows, state)
        return self.read_out(self.attend(self.read_query(rows), state))

    def mix(self, context: Float[Tensor, "G n E"], state: SoftmaxState) -> Float[Tensor, "G n E"]:
        return self.to_out(self.attend(self.to_query(context), state))

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
