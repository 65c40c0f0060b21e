"""`RowAttention`: how the rows of a table read its context rows."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn import registry

State = Any
"""State of a mechanism after the context rows: a NamedTuple of tensors, each with the leading axis
G, or of such states."""
LONGEST_EXPLICIT = 512
"""Context rows up to which softmax(QKᵀ)V is written out in bfloat16 on a CPU: there the fused
kernel trains 5× slower."""
ELEMENTS_AT_ONCE = 2**22
"""Keys and values gathered at once for blocks of rows; in training, tables are small and all blocks
go together."""


class RowAttention(nn.Module, ABC):
    """Attention between the rows of one column. G = tasks × columns, n context rows, Q query rows,
    width E.

    Only context rows enter the state, so a query row's answer cannot depend on which other rows are
    asked. A mechanism owns its projections. A subclass in its own file of this folder is found by
    the file's name.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names for the mechanism."""
    mixes_rows_alone: bool = True
    """Whether `mix` answers each context row from the state alone, so that rows may be mixed in any
    portions."""
    order_matters: bool = False
    """Whether the order of the context rows changes answers."""
    has_softmax_over_rows: ClassVar[bool] = False
    """Whether a softmax runs over context rows, so that `qassmax` can sharpen it."""
    is_plain_softmax: ClassVar[bool] = False
    """Whether the answers are softmax(QKᵀ/√K)V over all rows and nothing else. It is not inherited:
    a subclass may answer otherwise."""
    shows_pattern: ClassVar[bool] = False
    """Whether `with_pattern` gives the answers by way of the weight of each context row."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.is_plain_softmax = vars(cls).get("is_plain_softmax", False)
        cls.shows_pattern = "with_pattern" in vars(cls)

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        separate_query_weights: bool = False,
        layer: int = 0,
        qassmax: bool = False,
    ) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(
                f"d_model is {d_model}, not a multiple of n_heads = {n_heads}. Change one of them."
            )
        self.d_model, self.n_heads, self.d_head = d_model, n_heads, d_model // n_heads
        if qassmax and not self.has_softmax_over_rows:
            raise ValueError(
                f"qassmax sharpens a softmax over context rows, and {type(self).__name__} has none."
                " Leave qassmax off, or choose a mechanism that has one, such as softmax or"
                " hybrid."
            )
        self.separate_query_weights, self.layer, self.qassmax = (
            separate_query_weights,
            layer,
            qassmax,
        )

    @classmethod
    def build(
        cls, d_model: int, n_heads: int, options: Mapping[str, int | float | str], **shared: Any
    ) -> RowAttention:
        """The mechanism with its `options` by name. Raises ValueError for one that it does not
        have, listing those it has."""
        registry.check_options(cls, cls.options(), options)
        keywords: dict[str, Any] = {**shared, **options}
        return cls(d_model, n_heads, **keywords)

    @classmethod
    def options(cls) -> dict[str, int | float | str]:
        """The mechanism's own options with their defaults: the keywords that its constructor adds
        to these."""
        keywords = [
            p
            for p in inspect.signature(cls).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        return {
            p.name: p.default
            for p in keywords
            if p.name not in inspect.signature(RowAttention).parameters
        }

    @abstractmethod
    def summarize(self, context: Float[Tensor, "G n E"]) -> State:
        """The state of these context rows."""

    def with_pattern(
        self,
        rows: Float[Tensor, "G N E"],
        n_context: int,
        change: Callable[[Float[Tensor, "G H N n"]], Float[Tensor, "G H N n"]],
    ) -> Float[Tensor, "G N E"]:
        """The answers to all `rows`, the context first, whose weights of the context rows go
        through `change`."""
        raise TypeError(f"{type(self).__name__} has no pattern of weights to show.")

    def merge(self, a: State, b: State) -> State:
        """The state of two sets of context rows together, where sums allow it."""
        raise TypeError(
            f"{type(self).__name__} states cannot be merged: summarize all context rows at once."
        )

    @property
    def can_merge(self) -> bool:
        """Whether states of parts of the context can be merged."""
        return type(self).merge is not RowAttention.merge

    def finalize(self, state: State) -> State:
        """The state made ready for reading, once, after the last merge."""
        return state

    @abstractmethod
    def read(self, rows: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        """Return the answers to query rows."""

    @abstractmethod
    def mix(self, context: Float[Tensor, "G n E"], state: State) -> Float[Tensor, "G n E"]:
        """Return the answers to context rows."""

    def forward(
        self, rows: Float[Tensor, "G N E"], n_context: int
    ) -> tuple[Float[Tensor, "G N E"], State]:
        """Return the answers to all rows: the first `n_context` mix, the others read."""
        context, queries = rows[:, :n_context], rows[:, n_context:]
        state = self.finalize(self.summarize(context))
        return (
            torch.cat([self.mix(context, state), self.read(queries, state)], dim=1),
            state,
        )  # (G, N, E)

    def split_heads(self, rows: Float[Tensor, "G n E"]) -> Float[Tensor, "G H n K"]:
        return rows.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    def merge_heads(self, heads: Float[Tensor, "G H n K"]) -> Float[Tensor, "G n E"]:
        return heads.transpose(1, 2).flatten(2)


class ProjectedAttention(RowAttention):
    """A mechanism with the usual projections: queries, keys and values in, heads out. Subclasses
    say how heads attend.

    With `separate_query_weights` query rows ask and answer through maps of their own; keys and
    values are the context's alone.
    """

    def __init__(self, d_model: int, n_heads: int, **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        self.to_query = nn.Linear(d_model, d_model, bias=False)
        self.to_key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.to_out.weight)
        if self.separate_query_weights:
            self.read_query = nn.Linear(d_model, d_model, bias=False)
            self.read_out = nn.Linear(d_model, d_model, bias=False)
            nn.init.zeros_(self.read_out.weight)
        if self.qassmax:
            self.query_scale = QueryScale(n_heads, self.d_head)

    @abstractmethod
    def attend(self, query: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        """Return the answers to projected queries, heads merged."""

    def forward(
        self, rows: Float[Tensor, "G N E"], n_context: int
    ) -> tuple[Float[Tensor, "G N E"], State]:
        if self.separate_query_weights or not self.mixes_rows_alone:
            return super().forward(rows, n_context)
        state = self.finalize(self.summarize(rows[:, :n_context]))  # all rows ask alike: in one go
        return self.mix(rows, state), state

    def read(self, rows: Float[Tensor, "G Q E"], state: State) -> Float[Tensor, "G Q E"]:
        if not self.separate_query_weights:
            return self.to_out(self.attend(self.to_query(rows), state))
        return self.read_out(self.attend(self.read_query(rows), state))

    def mix(self, context: Float[Tensor, "G n E"], state: State) -> Float[Tensor, "G n E"]:
        return self.to_out(self.attend(self.to_query(context), state))

    def keys_and_values(
        self, context: Float[Tensor, "G n E"]
    ) -> tuple[Float[Tensor, "G H n K"], Float[Tensor, "G H n K"]]:
        key, value = self.to_key_value(context).chunk(2, dim=-1)
        return self.split_heads(key), self.split_heads(value)

    def asking(self, query: Float[Tensor, "G Q E"], n_read: int) -> Float[Tensor, "G H Q K"]:
        """Heads of projected queries that go into a softmax over `n_read` rows."""
        q = self.split_heads(query)
        return self.query_scale(q, n_read) if self.qassmax else q


class KeysAndValues(NamedTuple):
    """The state of mechanisms whose query rows read every context row: it grows with the
    context."""

    key: Float[Tensor, "G H n K"]
    value: Float[Tensor, "G H n K"]


class ReadingEveryRow(ProjectedAttention):
    """Query rows read every context row by softmax. Subclasses may let the context rows mix in a
    cheaper way."""

    has_softmax_over_rows: ClassVar[bool] = True

    def summarize(self, context: Float[Tensor, "G n E"]) -> KeysAndValues:
        return KeysAndValues(*self.keys_and_values(context))

    def merge(self, a: KeysAndValues, b: KeysAndValues) -> KeysAndValues:
        return KeysAndValues(torch.cat([a.key, b.key], dim=2), torch.cat([a.value, b.value], dim=2))

    def attend(self, query: Float[Tensor, "G Q E"], state: KeysAndValues) -> Float[Tensor, "G Q E"]:
        q = self.asking(query, state.key.shape[2])  # (G, H, Q, K)
        return self.merge_heads(softmax_average(q, state.key, state.value))


class QueryScale(nn.Module):
    """QASSMax: q · MLP(log n) · (1 + tanh MLP(q)), n the rows that a softmax runs over (TabICLv2,
    Qu et al. 2026).

    A softmax over many more rows than in training spreads thin; queries that grow with log n keep
    it as sharp. At the start it is one: nothing is scaled.
    """

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_head
        self.by_length = _constant_at_first(1, 2 * d_head, n_heads * d_head, value=1.0)
        self.by_query = _constant_at_first(d_head, 2 * d_head, d_head, value=0.0)

    def forward(self, q: Float[Tensor, "... H Q K"], n_read: int) -> Float[Tensor, "... H Q K"]:
        length = self.by_length(q.new_tensor([math.log(n_read)])).view(self.n_heads, 1, self.d_head)
        return q * length * (1 + self.by_query(q).tanh())


def _constant_at_first(d_in: int, d_hidden: int, d_out: int, value: float) -> nn.Sequential:
    out = nn.Linear(d_hidden, d_out)
    nn.init.zeros_(out.weight)
    nn.init.constant_(out.bias, value)
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), out)


def softmax_average(
    q: Float[Tensor, "*G Q K"],
    key: Float[Tensor, "*G n K"],
    value: Float[Tensor, "*G n V"],
    allowed: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*G Q V"]:
    """softmax(QKᵀ/√K)V over the `allowed` rows, by whatever is fastest."""
    if q.dtype is torch.bfloat16 and q.device.type == "cpu" and key.shape[-2] <= LONGEST_EXPLICIT:
        return short_attention(q, key, value, allowed)
    return F.scaled_dot_product_attention(q, key, value, attn_mask=allowed)


def short_attention(
    q: Float[Tensor, "*G Q K"],
    key: Float[Tensor, "*G n K"],
    value: Float[Tensor, "*G n V"],
    allowed: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*G Q V"]:
    """softmax(QKᵀ/√K)V written out, in the precision of its arguments: autocast would widen the
    softmax to float32."""
    with torch.autocast(q.device.type, enabled=False):
        scores = (q * q.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        return scores.softmax(dim=-1) @ value


def attend_in_blocks(
    q: Float[Tensor, "G H n K"],
    state: KeysAndValues,
    asking: Int[Tensor, "m s"],
    reading: Int[Tensor, "m r"],
    allowed: Bool[Tensor, "m #s r"] | None,
) -> Float[Tensor, "G H p K"]:
    """Return what rows `asking[i]` take by softmax from rows `reading[i]` where `allowed`, for each
    of m blocks; p = m·s answers in that order.

    Scores of one block at a time are all that exists: never n×n.
    """
    n_groups, n_heads, _, d_head = q.shape
    blocks_at_once = max(1, ELEMENTS_AT_ONCE // (n_groups * n_heads * d_head * reading.shape[1]))
    answers = []
    for start in range(0, len(asking), blocks_at_once):
        part = slice(start, start + blocks_at_once)
        ask, read = asking[part], reading[part]
        taken = softmax_average(
            _gather(q, ask),
            _gather(state.key, read),
            _gather(state.value, read),  # (G, H·m, s|r, K)
            None if allowed is None else allowed[part].repeat(n_heads, 1, 1),  # (H·m, s|1, r)
        )
        answers.append(taken.unflatten(1, (n_heads, len(ask))).flatten(2, 3))  # (G, H, m·s, K)
    return torch.cat(answers, dim=2)


def _gather(heads: Float[Tensor, "G H n K"], rows: Int[Tensor, "m s"]) -> Float[Tensor, "G Hm s K"]:
    return heads.index_select(2, rows.flatten()).unflatten(2, rows.shape).flatten(1, 2)


def random_order(n: int, layer: int, device: torch.device) -> Int[Tensor, " n"]:
    """The n rows in an order of the layer's own, the same in each call: the order of a table's rows
    means nothing."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(layer)).to(device)


class PoolSums(NamedTuple):
    """A softmax over rows as sums that can be merged: Σ exp(s − peak) and Σ exp(s − peak) v of each
    learned point."""

    peak: Float[Tensor, "G H P"]
    mass: Float[Tensor, "G H P"]
    total: Float[Tensor, "G H P V"]


def pool_sums(
    points: Float[Tensor, "#G H P K"],
    key: Float[Tensor, "G H n K"],
    value: Float[Tensor, "G H n V"],
) -> PoolSums:
    """Return the sums over the rows for each of `points`, at least in float32."""
    with torch.autocast(key.device.type, enabled=False):
        wide = torch.promote_types(key.dtype, torch.float32)
        scores = (points.to(key.dtype) * key.shape[-1] ** -0.5) @ key.transpose(
            -1, -2
        )  # (G, H, P, n)
        scores = scores.to(wide)
        peak = scores.detach().amax(dim=-1)
        weights = (scores - peak.unsqueeze(-1)).exp()
        return PoolSums(peak, weights.sum(dim=-1), (weights.to(value.dtype) @ value).to(wide))


def merge_pools(a: PoolSums, b: PoolSums) -> PoolSums:
    """The sums over the rows of both."""
    peak = torch.maximum(a.peak, b.peak)
    by_a, by_b = (a.peak - peak).exp(), (b.peak - peak).exp()
    return PoolSums(
        peak,
        a.mass * by_a + b.mass * by_b,
        a.total * by_a.unsqueeze(-1) + b.total * by_b.unsqueeze(-1),
    )


def pooled_mean(sums: PoolSums) -> Float[Tensor, "G H P V"]:
    """The softmax average that the sums stand for."""
    return sums.total / sums.mass.unsqueeze(-1)
