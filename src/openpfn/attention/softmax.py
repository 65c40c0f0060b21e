"""Softmax attention: every row reads every context row (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.attention.base import ReadingEveryRow


class SoftmaxAttention(ReadingEveryRow):
    """Multi-head softmax attention, by the fused kernel. Its state holds keys and values of all
    context rows."""

    aliases: ClassVar[tuple[str, ...]] = ("original",)
    is_plain_softmax: ClassVar[bool] = True

    def with_pattern(
        self,
        rows: Float[Tensor, "G N E"],
        n_context: int,
        change: Callable[[Float[Tensor, "G H N n"]], Float[Tensor, "G H N n"]],
    ) -> Float[Tensor, "G N E"]:
        context, queries = rows[:, :n_context], rows[:, n_context:]
        key, value = self.keys_and_values(context)  # (G, H, n, K)
        ask = self.read_query if self.separate_query_weights else self.to_query
        answer = self.read_out if self.separate_query_weights else self.to_out
        q = self.asking(torch.cat([self.to_query(context), ask(queries)], dim=1), n_context)
        pattern = change((q @ key.transpose(-1, -2) * self.d_head**-0.5).softmax(dim=-1))
        taken = self.merge_heads(pattern @ value)  # (G, N, E)
        return torch.cat([self.to_out(taken[:, :n_context]), answer(taken[:, n_context:])], dim=1)
