"""Sparse attention: context rows mix within random blocks and a few others, query rows read every
context row."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.attention.base import KeysAndValues, ReadingEveryRow, attend_in_blocks, random_order


class SparseAttention(ReadingEveryRow):
    """Context rows are dealt into random blocks of √n rows, at most `block_rows`; each block reads
    itself and `n_random_blocks` others by softmax (after Zaheer et al. 2020, BigBird). Every layer
    deals anew, from a fixed seed. Query rows read all rows.

    Mixing n rows costs n · (1 + n_random_blocks) · min(√n, block_rows) in place of n²: it is sparse
    at 30 rows as at 30,000.
    """

    mixes_rows_alone: bool = False
    order_matters: bool = True

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        block_rows: int = 64,
        n_random_blocks: int = 2,
        **shared: Any,
    ) -> None:
        super().__init__(d_model, n_heads, **shared)
        if block_rows < 1 or n_random_blocks < 0:
            raise ValueError(
                f"block_rows is {block_rows} (at least 1), n_random_blocks is {n_random_blocks} (at"
                " least 0): change them."
            )
        self.block_rows, self.n_random_blocks = block_rows, n_random_blocks

    def mix(self, context: Float[Tensor, "G n E"], state: KeysAndValues) -> Float[Tensor, "G n E"]:
        n = context.shape[1]
        asking, reading, allowed = self.blocks(n, context.device)
        q = self.asking(self.to_query(context), min(n, reading.shape[1]))  # (G, H, n, K)
        answers = attend_in_blocks(q, state, asking, reading, allowed)  # (G, H, m·s, K)
        # answer p is for row asking[p]; the padding at the end is for none
        place = asking.flatten()[:n].argsort()
        return self.to_out(self.merge_heads(answers.index_select(2, place)))

    def blocks(
        self, n: int, device: torch.device
    ) -> tuple[Int[Tensor, "m s"], Int[Tensor, "m r"], Bool[Tensor, "m 1 r"] | None]:
        """Rows of each block, rows that it reads, and which of those are not padding (None: all).

        Block i also reads the blocks i + o for a few random offsets o: blocks are random sets of
        rows, so offsets are as random as drawing them for each, and every row is read equally
        often.
        """
        n_blocks = -(-n // min(self.block_rows, math.isqrt(n - 1) + 1))  # √n, rounded up
        size = -(-n // n_blocks)
        order = random_order(n, self.layer, device)
        padding = n_blocks * size - n
        asking = torch.cat([order, order.new_zeros(padding)]).view(n_blocks, size)
        offsets = torch.zeros(1, dtype=torch.long)
        if n_blocks > 1:
            others = (
                random_order(n_blocks - 1, self.layer, torch.device("cpu"))[: self.n_random_blocks]
                + 1
            )
            offsets = torch.cat([offsets, others])
        neighbours = (
            (torch.arange(n_blocks)[:, None] + offsets).remainder(n_blocks).to(device)
        )  # (m, 1 + others)
        if not padding:
            return asking, asking[neighbours].flatten(1), None
        real = (torch.arange(n_blocks * size, device=device) < n).view(n_blocks, size)
        return asking, asking[neighbours].flatten(1), real[neighbours].flatten(1).unsqueeze(1)
