"""Softmax attention: every row reads every context row (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from openpfn.attention.base import ReadingEveryRow


class SoftmaxAttention(ReadingEveryRow):
    """Multi-head softmax attention, by the fused kernel. Its state holds keys and values of all
    context rows."""

    aliases: ClassVar[tuple[str, ...]] = ("original",)
