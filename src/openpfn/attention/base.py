"""`RowAttention`: how the rows of a table read its context rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = Any
"""What a mechanism keeps of the context rows: a NamedTuple of tensors, each with the leading axis G."""


class RowAttention(nn.Module, ABC):
    """Attention between the rows of one column. G = tasks × columns, n context rows, Q query rows, width E.

    Only context rows enter the state, so a query row's answer cannot depend on which other rows are asked.
    A mechanism owns its projections. A subclass in its own file of this folder is found by the file's name.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names for the mechanism."""
    mixes_rows_alone: ClassVar[bool] = True
    """Whether `mix` answers each context row from the state alone, so that rows may be mixed in any portions."""
    order_matters: ClassVar[bool] = False
    """Whether the order of the context rows changes answers."""

    def __init__(self, d_model: int, n_heads: int, *, separate_query_weights: bool = False) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model is {d_model}, not a multiple of n_heads = {n_heads}. Change one of them.")
        self.d_model, self.n_heads, self.d_head = d_model, n_heads, d_model // n_heads
        self.separate_query_weights = separate_query_weights

    @abstractmethod
    def summarize(self, context: Float[Tensor, "G n E"]) -> State:
        """The state of these context rows."""

    def merge(self, a: State, b: State) -> State:
        """The state of two sets of context rows together, where sums allow it."""
        raise TypeError(f"{type(self).__name__} states cannot be merged: summarize all context rows at once.")

    @property
    def can_merge(self) -> bool:
        """Whether states of parts of the context can be merged."""
        return type(self).merge is not RowAttention.merge

    def finalize(self, state: State) -> State:
        """The state made ready for reading, once, after the last merge."""
        return state

    @abstractmethod
    def read(self, rows: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        """What query rows take from the context."""

    @abstractmethod
    def mix(self, context: Float[Tensor, "G n E"], state: State) -> Float[Tensor, "G n E"]:
        """What the context rows take from each other."""

    def forward(self, rows: Float[Tensor, "G N E"], n_context: int) -> tuple[Float[Tensor, "G N E"], State]:
        """Context and query rows in one pass: the first `n_context` rows mix, the others read."""
        context, queries = rows[:, :n_context], rows[:, n_context:]
        state = self.finalize(self.summarize(context))
        return torch.cat([self.mix(context, state), self.read(queries, state)], dim=1), state    # (G, N, E)

    def split_heads(self, rows: Float[Tensor, "G n E"]) -> Float[Tensor, "G H n K"]:
        return rows.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    def merge_heads(self, heads: Float[Tensor, "G H n K"]) -> Float[Tensor, "G n E"]:
        return heads.transpose(1, 2).flatten(2)


class ProjectedAttention(RowAttention):
    """A mechanism with the usual projections: queries, keys and values in, heads out. Subclasses say how heads attend.

    With `separate_query_weights` query rows ask and answer through maps of their own; keys and values are the context's alone.
    """

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

    @abstractmethod
    def attend(self, query: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        """What projected queries take from the state, heads merged."""

    def forward(self, rows: Float[Tensor, "G N E"], n_context: int) -> tuple[Float[Tensor, "G N E"], State]:
        if self.separate_query_weights:
            return super().forward(rows, n_context)
        state = self.finalize(self.summarize(rows[:, :n_context]))      # all rows ask alike: in one go
        return self.mix(rows, state), state

    def read(self, rows: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        if not self.separate_query_weights:
            return self.mix(rows, state)
        return self.read_out(self.attend(self.read_query(rows), state))

    def mix(self, context: Float[Tensor, "G n E"], state: State) -> Float[Tensor, "G n E"]:
        return self.to_out(self.attend(self.to_query(context), state))
