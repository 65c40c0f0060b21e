"""Softmax attention written out: the reference that one can read, and that the fused kernel is
tested against."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.attention.base import KeysAndValues, ReadingEveryRow

ROWS_AT_ONCE = 128
"""Rows whose scores against the whole context exist at the same time."""


class ScratchAttention(ReadingEveryRow):
    """softmax(QKᵀ/√K)V, head by head, with the same weights and the same answers as `softmax`."""

    def attend(self, query: Float[Tensor, "G Q E"], state: KeysAndValues) -> Float[Tensor, "G Q E"]:
        answers = []
        for q in self.asking(query, state.key.shape[2]).split(ROWS_AT_ONCE, dim=2):  # (G, H, R, K)
            scores = q @ state.key.transpose(-1, -2) / self.d_head**0.5  # (G, H, R, n)
            weights = (
                scores - scores.amax(dim=-1, keepdim=True)
            ).exp()  # no overflow, same quotient
            weights = weights / weights.sum(dim=-1, keepdim=True)
            answers.append(weights.to(state.value.dtype) @ state.value)  # (G, H, R, K)
        return self.merge_heads(torch.cat(answers, dim=2))
