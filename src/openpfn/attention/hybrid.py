"""Hybrid attention: context rows mix by one mechanism, a cheap one, and query rows read the context
by another."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from openpfn import registry
from openpfn.attention.base import ProjectedAttention, RowAttention, State

PROJECTIONS = ("to_query", "to_key_value", "to_out")


class HybridState(NamedTuple):
    mixing: State
    """The state of the mechanism by which context rows mix."""
    reading: State
    """The state of the mechanism by which query rows read."""


class HybridAttention(RowAttention):
    """Context rows mix by the mechanism called `mixing` (linear), query rows read by the one called
    `reading` (softmax).

    A prediction is as good as its read: mixing costs less without losing much. With
    `separate_query_weights` both mechanisms have projections of their own, else they share one set.
    """

    has_softmax_over_rows: ClassVar[bool] = True

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        mixing: str = "linear",
        reading: str = "softmax",
        **shared: Any,
    ) -> None:
        super().__init__(d_model, n_heads, **shared)
        self.mixing = self.part("mixing", mixing, False)
        self.reading = self.part("reading", reading, self.qassmax)
        self.mixes_rows_alone, self.order_matters = (
            self.mixing.mixes_rows_alone,
            self.mixing.order_matters,
        )
        if not self.separate_query_weights:
            for name in PROJECTIONS:
                setattr(self.reading, name, getattr(self.mixing, name))

    def part(self, role: str, name: str, qassmax: bool) -> ProjectedAttention:
        found = registry.find("attention", name, RowAttention)
        if not issubclass(found, ProjectedAttention):
            raise ValueError(
                f"{role} is {name!r}, which lacks the usual projections. Choose another, such as"
                " linear or softmax."
            )
        return found(self.d_model, self.n_heads, layer=self.layer, qassmax=qassmax)

    @property
    def can_merge(self) -> bool:
        return self.mixing.can_merge and self.reading.can_merge

    def summarize(self, context: Float[Tensor, "G n E"]) -> HybridState:
        return HybridState(self.mixing.summarize(context), self.reading.summarize(context))

    def merge(self, a: HybridState, b: HybridState) -> HybridState:
        return HybridState(
            self.mixing.merge(a.mixing, b.mixing), self.reading.merge(a.reading, b.reading)
        )

    def finalize(self, state: HybridState) -> HybridState:
        return HybridState(self.mixing.finalize(state.mixing), self.reading.finalize(state.reading))

    def read(self, rows: Float[Tensor, "G Q E"], state: HybridState) -> Float[Tensor, "G Q E"]:
        return self.reading.read(rows, state.reading)

    def mix(self, context: Float[Tensor, "G n E"], state: HybridState) -> Float[Tensor, "G n E"]:
        return self.mixing.mix(context, state.mixing)
