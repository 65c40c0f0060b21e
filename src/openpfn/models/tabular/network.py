"""`TabularPFN`: a table's context rows and query rows in, class logits of the query rows out."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn.attention.base import State
from openpfn.batch import TaskBatch
from openpfn.configs.tabular import TabularConfig
from openpfn.heads.categorical import Categorical, CategoricalHead
from openpfn.models.hooks import HookedModule, HookPoint
from openpfn.models.tabular.encoders import CellEncoder, ColumnStatistics, TargetEncoder
from openpfn.models.tabular.layers import TwoWayLayer, make_norm

CELLS_PER_TILE = 2**13
"""Cells embedded at once where no gradient is asked for: the features of more fall out of a CPU's
caches, and memory grows with them."""


class TableState(NamedTuple):
    """What the network keeps of the context rows: enough to predict any query row."""

    statistics: ColumnStatistics
    layers: list[State]
    columns: Bool[Tensor, "B C"] | None
    n_context: int
    n_classes: Int[Tensor, " B"] | None

    def thinned(self, most: int) -> TableState:
        """This state with at most `most` single values of each column; ranks are then known to half
        of 1 / `most`."""
        return self._replace(statistics=self.statistics.thinned(most))


class TabularPFN(HookedModule):
    """The two-way table network (after Hollmann et al. 2025): each cell is a token; columns attend,
    rows attend.

    Query rows read the context and never each other. Any number of columns and rows; at most
    `config.max_classes` classes.

    >>> model = TabularPFN(TabularConfig(d_model=16, n_layers=2, d_mlp=32))
    >>> batch = TaskBatch(x=torch.randn(1, 6, 3), y=torch.tensor([[0., 1, 0, 1, 0, 0]]), n_train=4)
    >>> model(batch).shape
    torch.Size([1, 2, 10])
    """

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        self.config = config
        self.cell_encoder = CellEncoder(config)
        self.target_encoder = TargetEncoder(config)
        if config.target_aware:
            self.hint_encoder = TargetEncoder(config)
        if config.n_thinking_rows:
            self.thinking_cells = nn.Parameter(torch.randn(config.n_thinking_rows, config.d_model))
            self.thinking_targets = nn.Parameter(
                torch.randn(config.n_thinking_rows, config.d_model)
            )
        self.layers = nn.ModuleList(
            TwoWayLayer(config, is_last=i == config.n_layers - 1, layer=i)
            for i in range(config.n_layers)
        )
        self.final_norm = make_norm(config)
        self.head = CategoricalHead(config.d_model, config.d_mlp, config.max_classes)
        self.hook_embed = HookPoint()
        self.hook_targets = HookPoint()

    def forward(self, batch: TaskBatch) -> Float[Tensor, "B Q classes"]:
        """Logits of the query rows' classes; −inf for classes that a task does not have."""
        x = self.check(batch)
        statistics = self.cell_encoder.fit(
            x[:, : batch.n_train], batch.n_features, batch.categorical
        )
        columns = present_columns(batch)
        cells = self.embed(x, batch.y_context, statistics)  # (B, C, T + N, E)
        n_context = batch.n_train + self.config.n_thinking_rows
        if self.is_hooked:
            return self.head(self.hooked(cells, columns, n_context), batch.n_classes)
        *inner, last = self.stack
        for layer in inner:
            cells, _ = layer(cells, columns, n_context)
        targets, _ = last.last(cells, columns, n_context)  # (B, Q, E)
        return self.head(self.final_norm(targets), batch.n_classes)

    def hooked(
        self, cells: Float[Tensor, "B C R E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> Float[Tensor, "B Q E"]:
        """The query rows' targets at the end, through the hook points; the last layer computes
        every cell too."""
        cells = self.hook_embed(cells)
        for layer in self.stack:
            cells = layer.hooked(cells, columns, n_context)
        return self.hook_targets(self.final_norm(cells[:, -1, n_context:]))

    def predictive(self, batch: TaskBatch) -> Categorical:
        """The distribution of each query row's class."""
        return self.head.predictive(self(batch))

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Mean −log probability of the query rows' true classes, in nats."""
        return F.cross_entropy(self(batch).flatten(0, 1), batch.y_query.flatten().long())

    def summarize(self, batch: TaskBatch) -> TableState:
        """The state that the context rows of `batch` leave; query rows, if any, are ignored.

        Without gradients a long context goes through the network a few rows at a time.
        """
        x = self.check(batch)[:, : batch.n_train]
        statistics = self.cell_encoder.fit(x, batch.n_features, batch.categorical)
        columns = present_columns(batch)
        cells = self.embed_tiled(x, batch.y_context, statistics)  # (B, C, T + n, E)
        states = []
        *inner, last = self.stack
        for layer in inner:
            cells, state = layer.tiled(cells, columns)
            states.append(state)
        states.append(last.last_tiled(cells, columns))
        return TableState(statistics, states, columns, batch.n_train, batch.n_classes)

    def read(self, x: Float[Tensor, "B Q D"], state: TableState) -> Float[Tensor, "B Q classes"]:
        """Logits of the query rows `x`, whose cost does not include the context's."""
        cells = self.embed_queries(x, state.statistics, state.n_context)  # (B, C, Q, E)
        *inner, last = self.stack
        for layer, layer_state in zip(inner, state.layers, strict=False):
            cells = layer.read(cells, state.columns, layer_state)
        targets = last.last_read(cells, state.columns, state.layers[-1])  # (B, Q, E)
        return self.head(self.final_norm(targets), state.n_classes)

    @property
    def stack(self) -> list[TwoWayLayer]:
        """The layers, first to last."""
        return cast(list[TwoWayLayer], list(self.layers))

    def embed(
        self,
        x: Float[Tensor, "B N D"],
        y_context: Float[Tensor, "B n"],
        statistics: ColumnStatistics,
    ) -> Float[Tensor, "B C R E"]:
        """Cells of thinking rows, context rows and query rows; the target is the last column."""
        n_context = y_context.shape[1]
        parts = [self.embed_context(x[:, :n_context], y_context, statistics)]
        if self.config.n_thinking_rows:
            parts.insert(0, self.thinking_rows(parts[0]))
        if x.shape[1] > n_context:
            parts.append(self.embed_queries(x[:, n_context:], statistics, n_context))
        return torch.cat(parts, dim=2)

    def embed_tiled(
        self, x: Float[Tensor, "B n D"], y: Float[Tensor, "B n"], statistics: ColumnStatistics
    ) -> Float[Tensor, "B C R E"]:
        """`embed` of context rows alone, a few at a time: beside the cells themselves it takes
        little memory."""
        n_tasks, n_rows, n_columns = x.shape
        size = max(1, CELLS_PER_TILE // (n_tasks * (n_columns + 1)))
        if torch.is_grad_enabled() or n_rows <= size:
            return self.embed(x, y, statistics)
        n_thinking, weight = self.config.n_thinking_rows, self.cell_encoder.embed.weight
        cells = weight.new_empty(n_tasks, n_columns + 1, n_thinking + n_rows, self.config.d_model)
        if n_thinking:
            cells[:, :, :n_thinking] = self.thinking_rows(cells)
        places = cells[:, :, n_thinking:].split(size, dim=2)
        for place, x_tile, y_tile in zip(
            places, x.split(size, dim=1), y.split(size, dim=1), strict=True
        ):
            place.copy_(self.embed_context(x_tile, y_tile, statistics))
        return cells

    def embed_context(
        self, x: Float[Tensor, "B n D"], y: Float[Tensor, "B n"], statistics: ColumnStatistics
    ) -> Float[Tensor, "B C n E"]:
        hint = self.hint_encoder.context(y) if self.config.target_aware else None
        return self.join(self.cell_encoder(x, statistics), self.target_encoder.context(y), hint)

    def embed_queries(
        self, x: Float[Tensor, "B Q D"], statistics: ColumnStatistics, n_context: int
    ) -> Float[Tensor, "B C Q E"]:
        cells = self.cell_encoder(x, statistics)  # (B, D, Q, E)
        hint = self.hint_encoder.query(n_context) if self.config.target_aware else None
        return self.join(cells, self.target_encoder.query(n_context).expand_as(cells[:, 0]), hint)

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

    def check(self, batch: TaskBatch) -> Float[Tensor, "B N D"]:
        if batch.x is None or batch.n_columns == 0:
            raise ValueError(
                "the batch has no columns: a table network needs x with at least one column."
            )
        if batch.n_train < 1:
            raise ValueError(
                f"n_train is {batch.n_train}: a table network needs at least one context row."
            )
        if (
            batch.n_classes is not None
            and (most := int(batch.n_classes.max())) > self.config.max_classes
        ):
            raise ValueError(
                f"a task has {most} classes, but this network can tell at most"
                f" {self.config.max_classes} apart. Draw tasks with fewer (max_classes of the"
                " prior), or build the network with a larger max_classes."
            )
        return batch.x


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
