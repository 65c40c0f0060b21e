"""Local attention: context rows mix within windows of a random order, query rows read every context
row."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.attention.base import KeysAndValues, ReadingEveryRow, attend_in_blocks, random_order


class LocalAttention(ReadingEveryRow):
    """Context rows stand in a random order; each reads the `window` rows before it, itself and the
    `window` rows after it by softmax, fewer at the two ends. Every layer shuffles anew, from a
    fixed seed. Query rows read all rows.

    Mixing costs n · 3 · window in place of n²: rows go in blocks of `window`, which see their two
    neighbours.
    """

    mixes_rows_alone: bool = False
    order_matters: bool = True

    def __init__(self, d_model: int, n_heads: int, *, window: int = 32, **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        if window < 1:
            raise ValueError(f"window is {window}, must be at least 1.")
        self.window = window

    def mix(self, context: Float[Tensor, "G n E"], state: KeysAndValues) -> Float[Tensor, "G n E"]:
        n = context.shape[1]
        order = random_order(n, self.layer, context.device)
        asking, reading, allowed = self.windows(n, context.device)
        q = self.asking(self.to_query(context), min(n, 2 * self.window + 1))  # (G, H, n, K)
        answers = attend_in_blocks(
            q, state, order[asking], order[reading], allowed
        )  # (G, H, m·s, K)
        return self.to_out(self.merge_heads(answers.index_select(2, order.argsort())))

    def windows(
        self, n: int, device: torch.device
    ) -> tuple[Int[Tensor, "m s"], Int[Tensor, "m r"], Bool[Tensor, "m s r"]]:
        """Places in the order that each block asks for, places that it reads, and which of those
        are in each one's window."""
        size = min(self.window, n)
        asking = torch.arange(-(-n // size) * size, device=device).view(-1, size)  # (m, s)
        reading = asking[:, :1] - size + torch.arange(3 * size, device=device)  # (m, 3·s)
        near = (asking.unsqueeze(2) - reading.unsqueeze(1)).abs() <= self.window
        there = ((reading >= 0) & (reading < n)).unsqueeze(1)
        # places past the end ask too, and are cut off: let them read something
        return (
            asking.clamp(max=n - 1),
            reading.clamp(0, n - 1),
            (near & there) | (asking.unsqueeze(2) >= n),
        )
