"""`TabularPFN`: a table's context rows and query rows in, logits of the query rows' classes or
numbers out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn import registry
from openpfn.attention.base import RowAttention, State
from openpfn.batch import TaskBatch
from openpfn.configs.tabular import TabularConfig
from openpfn.heads.base import Head, Predictive, Rescaled
from openpfn.models.hooks import HookedModule, HookPoint
from openpfn.models.inputs import check_classes, check_numbers
from openpfn.models.tabular.encoders import (
    CellEncoder,
    ColumnStatistics,
    NumberEncoder,
    TargetEncoder,
    TargetScale,
)
from openpfn.models.tabular.layers import TwoWayLayer, make_norm
from openpfn.models.tabular.passes import can_go_in_passes, states_in_passes

CELLS_PER_TILE = 2**13
"""Cells embedded at once where no gradient is asked for: the features of more fall out of a CPU's
caches, and memory grows with them."""
FARTHEST = 100.0
"""Standard deviations from the context mean at which the training loss cuts a target off: one that
a small context does not foresee at all may not outweigh a whole batch."""


class TableState(NamedTuple):
    """State after the context rows: enough to predict any query row."""

    statistics: ColumnStatistics
    layers: list[State]
    columns: Bool[Tensor, "B C"] | None
    n_context: int | Float[Tensor, ""]
    """Number of context rows; a tensor only in a traced graph."""
    n_classes: Int[Tensor, " B"] | None
    scale: TargetScale | None = None
    """Centre and scale of targets that are numbers; None where they are classes."""

    def thinned(self, most: int) -> TableState:
        """This state with at most `most` single values of each column; ranks are then known to half
        of 1 / `most`."""
        return self._replace(statistics=self.statistics.thinned(most))


class TabularPFN(HookedModule):
    """The two-way table network (after Hollmann et al. 2025): each cell is a token; columns attend,
    rows attend.

    Query rows read the context and never each other. Any number of columns and rows; at most
    `config.max_classes` classes. With `config.regression_head` the network predicts numbers, too:
    the targets of a batch are numbers where its `n_classes` is None.

    >>> model = TabularPFN(TabularConfig(d_model=16, n_layers=2, d_mlp=32))
    >>> batch = TaskBatch(x=torch.randn(1, 6, 3), y=torch.tensor([[0., 1, 0, 1, 0, 0]]), n_train=4)
    >>> model(batch).shape
    torch.Size([1, 2, 10])
    >>> both = TabularConfig(d_model=16, n_layers=2, d_mlp=32, regression_head="bars")
    >>> TabularPFN(both).predictive(batch).mean
    tensor([[0.5000, 0.5000]], dtype=torch.float64, grad_fn=<AddBackward0>)
    """

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        config = with_settled_names(config)
        self.config = config
        self.cell_encoder = CellEncoder(config)
        classes, numbers = config.head is not None, config.regression_head is not None
        if classes:
            self.target_encoder = TargetEncoder(config)
        if classes and config.target_aware:
            self.hint_encoder = TargetEncoder(config)
        if config.n_thinking_rows:
            self.thinking_cells = nn.Parameter(torch.randn(config.n_thinking_rows, config.d_model))
            self.thinking_targets = nn.Parameter(
                torch.randn(config.n_thinking_rows, config.d_model)
            )
        self.layers = nn.ModuleList(
            TwoWayLayer(config, is_last=i == config.n_passes - 1, layer=i)
            for i in range(config.n_layers)
        )
        self.final_norm = make_norm(config)
        if classes:
            self.head = make_head(config, "classes")
        if numbers:
            self.number_encoder = NumberEncoder(config)
            self.number_head = make_head(config, "numbers")
        if numbers and config.target_aware:
            self.number_hint_encoder = NumberEncoder(config)
        self.hook_embed = HookPoint()
        self.hook_targets = HookPoint()

    def forward(self, batch: TaskBatch) -> Float[Tensor, "B Q outputs"]:
        """Logits of the query rows' classes, −inf for classes that a task does not have; or those
        of their standardised numbers."""
        return self.logits_and_scale(batch)[0]

    def predictive(self, batch: TaskBatch) -> Predictive:
        """The distribution of each query row's class or number, in the units of `batch.y`."""
        return self.predictive_of(*self.logits_and_scale(batch))

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Mean −log probability of the query rows' true classes, in nats, or the mean loss of the
        head of numbers for the true standardised numbers, cut off at ±`FARTHEST`."""
        logits, scale = self.logits_and_scale(batch)
        if scale is None:
            self.check_labels(batch.y_query, batch.n_classes)
            return self.head.loss(logits, batch.y_query).mean()
        check_numbers(batch.y_query)
        z = scale.standardised(batch.y_query).clamp(-FARTHEST, FARTHEST)
        return self.number_head.loss(logits, z).mean()

    def logits_and_scale(
        self, batch: TaskBatch
    ) -> tuple[Float[Tensor, "B Q outputs"], TargetScale | None]:
        """The answer of `forward`, and how the context centres and scales the targets where they
        are numbers."""
        x = self.check(batch)
        statistics = self.cell_encoder.fit(
            x[:, : batch.n_train], batch.n_features, batch.categorical
        )
        columns = present_columns(batch)
        y, scale = self.known_targets(batch)
        cells = self.embed(x, y, statistics, scale is not None)  # (B, C, T + N, E)
        n_context = batch.n_train + self.config.n_thinking_rows
        if self.is_hooked:
            targets = self.hooked(cells, columns, n_context)
        else:
            *inner, last = self.stack
            for layer in inner:
                cells, _ = layer(cells, columns, n_context)
            targets = self.final_norm(last.last(cells, columns, n_context)[0])  # (B, Q, E)
        return self.decoded(targets, batch.n_classes, scale), scale

    def predictive_of(
        self, logits: Float[Tensor, "B Q outputs"], scale: TargetScale | None = None
    ) -> Predictive:
        """The distributions that `logits` stand for: over classes, or, with the `scale` of a
        `TableState`, over numbers in the units of its context."""
        if scale is None:
            return self.head.predictive(logits)
        return Rescaled(self.number_head.predictive(logits), scale.mean, scale.std)

    def hooked(
        self, cells: Float[Tensor, "B C R E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> Float[Tensor, "B Q E"]:
        """The query rows' targets at the end, through the hook points; the last layer computes
        every cell too."""
        cells = self.hook_embed(cells)
        for layer in self.stack:
            cells = layer.hooked(cells, columns, n_context)
        return self.hook_targets(self.final_norm(cells[:, -1, n_context:]))

    def summarize(self, batch: TaskBatch, most_bytes: int | None = None) -> TableState:
        """The state that the context rows of `batch` leave; query rows, if any, are ignored.

        Without gradients a long context goes through the network a few rows at a time. Where its
        cells take more than `most_bytes`, and states are sums over rows, they are never all held.
        """
        x = self.check(batch)[:, : batch.n_train]
        statistics = self.cell_encoder.fit(x, batch.n_features, batch.categorical)
        columns = present_columns(batch)
        y, scale = self.known_targets(batch)
        numbers = scale is not None
        takes = 4 * self.config.d_model * x[:, :, 0].numel() * (x.shape[2] + 1)
        if most_bytes is not None and takes > most_bytes and can_go_in_passes(self.stack):
            tiles = partial(self.context_tiles, x, y, statistics, numbers)
            states = states_in_passes(self.stack, tiles, columns)
            return TableState(statistics, states, columns, batch.n_train, batch.n_classes, scale)
        cells = self.embed_tiled(x, y, statistics, numbers)  # (B, C, T + n, E)
        states = []
        *inner, last = self.stack
        for layer in inner:
            cells, state = layer.tiled(cells, columns)
            states.append(state)
        states.append(last.last_tiled(cells, columns))
        return TableState(statistics, states, columns, batch.n_train, batch.n_classes, scale)

    def read(self, x: Float[Tensor, "B Q D"], state: TableState) -> Float[Tensor, "B Q outputs"]:
        """Logits of the query rows `x`, whose cost does not include the context's; see
        `predictive_of`."""
        return self.decoded(self.embedded(x, state), state.n_classes, state.scale)

    def embedded(self, x: Float[Tensor, "B Q D"], state: TableState) -> Float[Tensor, "B Q E"]:
        """What the head reads of the query rows `x`: their targets after the last layer."""
        numbers = state.scale is not None
        cells = self.embed_queries(x, state.statistics, state.n_context, numbers)  # (B, C, Q, E)
        *inner, last = self.stack
        for layer, layer_state in zip(inner, state.layers, strict=False):
            cells = layer.read(cells, state.columns, layer_state)
        targets = last.last_read(cells, state.columns, state.layers[-1])  # (B, Q, E)
        return self.final_norm(targets)

    def embedded_context(self, batch: TaskBatch) -> Float[Tensor, "B n E"]:
        """The targets of the context rows of `batch` after the last layer, which has read them."""
        x = self.check(batch)[:, : batch.n_train]
        statistics = self.cell_encoder.fit(x, batch.n_features, batch.categorical)
        columns = present_columns(batch)
        y, scale = self.known_targets(batch)
        cells = self.embed_tiled(x, y, statistics, scale is not None)  # (B, C, T + n, E)
        for layer in self.stack:
            cells, _ = layer.tiled(cells, columns)
        return self.final_norm(cells[:, -1, self.config.n_thinking_rows :])

    def decoded(
        self,
        targets: Float[Tensor, "B Q E"],
        n_classes: Int[Tensor, " B"] | None,
        scale: TargetScale | None,
    ) -> Float[Tensor, "B Q outputs"]:
        return self.head(targets, n_classes) if scale is None else self.number_head(targets)

    @property
    def stack(self) -> list[TwoWayLayer]:
        """The layers in the order in which a row passes them, each once a loop."""
        return cast(list[TwoWayLayer], list(self.layers) * self.config.n_loops)

    def embed(
        self,
        x: Float[Tensor, "B N D"],
        y_context: Float[Tensor, "B n"],
        statistics: ColumnStatistics,
        numbers: bool = False,
    ) -> Float[Tensor, "B C R E"]:
        """Cells of thinking rows, context rows and query rows; the target, a class or one of
        `numbers`, is the last column."""
        n_context = y_context.shape[1]
        parts = [self.embed_context(x[:, :n_context], y_context, statistics, numbers)]
        if self.config.n_thinking_rows:
            parts.insert(0, self.thinking_rows(parts[0]))
        if x.shape[1] > n_context:
            parts.append(self.embed_queries(x[:, n_context:], statistics, n_context, numbers))
        return torch.cat(parts, dim=2)

    def embed_tiled(
        self,
        x: Float[Tensor, "B n D"],
        y: Float[Tensor, "B n"],
        statistics: ColumnStatistics,
        numbers: bool = False,
    ) -> Float[Tensor, "B C R E"]:
        """`embed` of context rows alone, a few at a time: beside the cells themselves it takes
        little memory."""
        n_tasks, n_rows, n_columns = x.shape
        size = max(1, CELLS_PER_TILE // (n_tasks * (n_columns + 1)))
        if torch.is_grad_enabled() or n_rows <= size:
            return self.embed(x, y, statistics, numbers)
        n_thinking, weight = self.config.n_thinking_rows, self.cell_encoder.embed.weight
        cells = weight.new_empty(n_tasks, n_columns + 1, n_thinking + n_rows, self.config.d_model)
        if n_thinking:
            cells[:, :, :n_thinking] = self.thinking_rows(cells)
        places = cells[:, :, n_thinking:].split(size, dim=2)
        for place, x_tile, y_tile in zip(
            places, x.split(size, dim=1), y.split(size, dim=1), strict=True
        ):
            place.copy_(self.embed_context(x_tile, y_tile, statistics, numbers))
        return cells

    def context_tiles(
        self,
        x: Float[Tensor, "B n D"],
        y: Float[Tensor, "B n"] | Int[Tensor, "B n"],
        statistics: ColumnStatistics,
        numbers: bool,
    ) -> Iterator[Float[Tensor, "B C t E"]]:
        """The cells of the thinking rows, if any, then of the context rows, a few at a time."""
        size = max(1, CELLS_PER_TILE // (x.shape[0] * (x.shape[2] + 1)))
        for i, parts in enumerate(zip(x.split(size, dim=1), y.split(size, dim=1), strict=True)):
            cells = self.embed_context(*parts, statistics, numbers)
            if i == 0 and self.config.n_thinking_rows:
                yield self.thinking_rows(cells)
            yield cells

    def embed_context(
        self,
        x: Float[Tensor, "B n D"],
        y: Float[Tensor, "B n"],
        statistics: ColumnStatistics,
        numbers: bool = False,
    ) -> Float[Tensor, "B C n E"]:
        encoder, hints = self.encoders(numbers)
        hint = None if hints is None else hints.context(y)
        return self.join(self.cell_encoder(x, statistics), encoder.context(y), hint)

    def embed_queries(
        self,
        x: Float[Tensor, "B Q D"],
        statistics: ColumnStatistics,
        n_context: int | Float[Tensor, ""],
        numbers: bool = False,
    ) -> Float[Tensor, "B C Q E"]:
        cells = self.cell_encoder(x, statistics)  # (B, D, Q, E)
        encoder, hints = self.encoders(numbers)
        hint = None if hints is None else hints.query(n_context)
        return self.join(cells, encoder.query(n_context).expand_as(cells[:, 0]), hint)

    def encoders(
        self, numbers: bool
    ) -> tuple[TargetEncoder | NumberEncoder, TargetEncoder | NumberEncoder | None]:
        """Return the encoder of targets, and the one that adds them to the cells of their row."""
        if numbers:
            hints = self.number_hint_encoder if self.config.target_aware else None
            return self.number_encoder, hints
        return self.target_encoder, self.hint_encoder if self.config.target_aware else None

    def join(
        self, cells: Float[Tensor, "B D n E"], targets: Float[Tensor, "B n E"], hints: Tensor | None
    ) -> Float[Tensor, "B C n E"]:
        if hints is not None:
            cells = cells + (hints if hints.dim() == 1 else hints[:, None])
        return torch.cat([cells, targets[:, None].to(cells.dtype)], dim=1)

    def thinking_rows(self, context: Float[Tensor, "B C n E"]) -> Float[Tensor, "B C T E"]:
        n_tasks, n_columns = context.shape[:2]
        cells = self.thinking_cells.expand(n_tasks, n_columns - 1, -1, -1)
        return torch.cat([cells, self.thinking_targets.expand(n_tasks, 1, -1, -1)], dim=1).to(
            context.dtype
        )

    def known_targets(
        self, batch: TaskBatch
    ) -> tuple[Float[Tensor, "B n"] | Int[Tensor, "B n"], TargetScale | None]:
        """The context targets as the encoders read them, and their scale where they are numbers."""
        y = batch.y_context
        if self.config.regression_head is not None and batch.n_classes is None:
            check_numbers(y)
            scale = TargetScale.of(y)
            return scale.standardised(y), scale
        self.check_labels(y, batch.n_classes)
        return y, None

    def check(self, batch: TaskBatch) -> Float[Tensor, "B N D"]:
        if batch.x is None or batch.n_columns == 0:
            raise ValueError(
                "the batch has no columns: a table network needs x with at least one column."
            )
        if batch.n_train < 1:
            raise ValueError(
                f"n_train is {batch.n_train}: a table network needs at least one context row."
            )
        if batch.n_classes is None:
            return batch.x
        if self.config.head is None:
            raise ValueError(
                "the batch holds classes (n_classes is set), but this network predicts numbers"
                " alone. Leave n_classes out, or build the network with head='categorical'."
            )
        if (most := int(batch.n_classes.max())) > self.config.max_classes:
            raise ValueError(
                f"a task has {most} classes, but this network can tell at most"
                f" {self.config.max_classes} apart. Draw tasks with fewer (max_classes of the"
                " prior), or build the network with a larger max_classes."
            )
        return batch.x

    def check_labels(self, y: Tensor, n_classes: Int[Tensor, " B"] | None) -> None:
        """Raise ValueError for labels that are no class of their task's."""
        try:
            check_classes(y, self.config.max_classes)
        except ValueError as error:
            raise ValueError(
                f"{error} For targets that are numbers, build the network with a regression_head"
                " and leave n_classes out."
            ) from None


def with_settled_names(config: TabularConfig) -> TabularConfig:
    """`config` with one name for each part that goes by several."""
    names = {
        "attention_type": ("attention", RowAttention),
        "column_attention_type": ("attention", RowAttention),
        "head": ("heads", Head),
        "regression_head": ("heads", Head),
    }
    settled = {
        field: registry.settled_name(folder, name, base)
        for field, (folder, base) in names.items()
        if isinstance(name := getattr(config, field), str)
    }
    return replace(config, **settled)


def make_head(config: TabularConfig, predicts: str) -> Head:
    """The head of "classes" or of "numbers" that `config` names."""
    of_classes = predicts == "classes"
    name = config.head if of_classes else config.regression_head
    found: type[Head] = registry.find("heads", name, Head)
    if found.predicts != predicts:
        field, other = ("head", "regression_head")[:: 1 if of_classes else -1]
        raise ValueError(
            f"{field} is {name!r}, which predicts {found.predicts}. Set {other}={name!r}, and"
            f" {field} to a head of {predicts} or None."
        )
    if of_classes:
        return found.build(config.d_model, config.d_mlp, {}, config.max_classes)
    return found.build(config.d_model, config.d_mlp, config.regression_head_options)


def present_columns(batch: TaskBatch) -> Bool[Tensor, "B C"] | None:
    """Which columns are not padding, the target's included; None when all are."""
    if batch.n_features is None or bool((batch.n_features == batch.n_columns).all()):
        return None
    within = (
        torch.arange(batch.n_columns, device=batch.y.device) < batch.n_features[:, None]
    )  # (B, D)
    return F.pad(within, (0, 1), value=True)  # (B, C)


def build(config: TabularConfig) -> TabularPFN:
    """The network of `config`, for `openpfn.models.PFN`."""
    return TabularPFN(config)
