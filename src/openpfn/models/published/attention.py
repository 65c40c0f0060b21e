"""The two attentions of the published table networks: one set of projections, between columns or
between rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openpfn.attention.base import LONGEST_EXPLICIT, short_attention


class KeysAndValues(NamedTuple):
    """State of softmax attention after the context rows."""

    key: Float[Tensor, "G H n K"]
    value: Float[Tensor, "G H n K"]


class Sums(NamedTuple):
    """State of linear attention after the context rows."""

    memory: Float[Tensor, "G H K K"]
    key_sum: Float[Tensor, "G H K"]


RowState = Any
"""KeysAndValues or Sums."""


class PublishedAttention(nn.Module, ABC):
    """Multi-head attention with biases, used between the columns of a row and between the rows of a
    column."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.to_query = nn.Linear(d_model, d_model)
        self.to_key_value = nn.Linear(d_model, 2 * d_model)
        self.to_out = nn.Linear(d_model, d_model)

    def between_columns(
        self,
        cells: Float[Tensor, "B C N E"],
        columns: Bool[Tensor, "B C"] | None,
        last_column_only: bool = False,
    ) -> Float[Tensor, "B A N E"]:
        """Return what the cells of each row take from each other; padded columns are never read."""
        asking = cells[:, -1:] if last_column_only else cells  # (B, A, N, E)
        key, value = self.to_key_value(cells).chunk(2, dim=-1)
        heads = self.attend_columns(
            self.by_row(self.to_query(asking)),  # (B, N, H, A, K)
            self.by_row(key),
            self.by_row(value),
            columns,  # (B, N, H, C, K)
        )
        return self.to_out(heads.permute(0, 3, 1, 2, 4).flatten(3))  # (B, A, N, E)

    def by_row(self, cells: Float[Tensor, "B C N E"]) -> Float[Tensor, "B N H C K"]:
        return cells.unflatten(-1, (self.n_heads, self.d_head)).permute(0, 2, 3, 1, 4)

    def split_heads(self, rows: Float[Tensor, "G n E"]) -> Float[Tensor, "G H n K"]:
        return rows.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    @abstractmethod
    def attend_columns(
        self,
        query: Float[Tensor, "B N H A K"],
        key: Float[Tensor, "B N H C K"],
        value: Float[Tensor, "B N H C K"],
        columns: Bool[Tensor, "B C"] | None,
    ) -> Float[Tensor, "B N H A K"]:
        """Return what the columns A take from the columns C."""

    @abstractmethod
    def summarize(self, context: Float[Tensor, "G n E"]) -> RowState:
        """The state of these context rows."""

    @abstractmethod
    def read(self, rows: Float[Tensor, "G N E"], state: RowState) -> Float[Tensor, "G N E"]:
        """Return what any rows, context or query, take from the context."""


class PublishedSoftmax(PublishedAttention):
    """softmax(QKᵀ/√K)V, as in nanoTabPFN."""

    def attend_columns(self, query, key, value, columns):
        if columns is None:
            return short_attention(query, key, value)
        scores = (query * self.d_head**-0.5) @ key.transpose(-1, -2)  # (B, N, H, A, C)
        scores = scores.masked_fill(~columns[:, None, None, None, :], -torch.inf)
        return scores.softmax(dim=-1) @ value

    def summarize(self, context):
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        return KeysAndValues(self.split_heads(key), self.split_heads(value))

    def read(self, rows, state):
        query = self.split_heads(self.to_query(rows))  # (G, H, N, K)
        is_short = (
            query.dtype is torch.bfloat16
            and query.device.type == "cpu"
            and state.key.shape[2] <= LONGEST_EXPLICIT
        )
        heads = (
            short_attention(query, *state)
            if is_short
            else F.scaled_dot_product_attention(query, *state)
        )
        return self.to_out(heads.transpose(1, 2).flatten(2))


class PublishedLinear(PublishedAttention):
    """Linear attention with the positive features relu(u/√K) + 1e-6, as in TinyPFN."""

    def attend_columns(self, query, key, value, columns):
        k = self.features(key)
        if columns is not None:
            k = k * columns[:, None, None, :, None]
        return self.divide(self.features(query), k.transpose(-1, -2) @ value, k.sum(dim=-2))

    def summarize(self, context):
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        k = self.features(self.split_heads(key))  # (G, H, n, K)
        return Sums(k.transpose(-1, -2) @ self.split_heads(value), k.sum(dim=2))

    def read(self, rows, state):
        query = self.features(self.split_heads(self.to_query(rows)))  # (G, H, N, K)
        return self.to_out(self.divide(query, *state).transpose(1, 2).flatten(2))

    def features(self, heads: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
        return F.relu(heads * self.d_head**-0.5) + 1e-6

    def divide(
        self,
        query: Float[Tensor, "... A K"],
        memory: Float[Tensor, "... K K"],
        key_sum: Float[Tensor, "... K"],
    ) -> Float[Tensor, "... A K"]:
        mass = query @ key_sum.to(query.dtype).unsqueeze(-1)  # (..., A, 1)
        return (query @ memory.to(query.dtype)) / (mass + 1e-8)


ATTENTIONS: dict[str, type[PublishedAttention]] = {
    "softmax": PublishedSoftmax,
    "linear": PublishedLinear,
}
