"""`PublishedPFN`: the post-norm table network whose weights were published as nanoTabPFN and
TinyPFN."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs.published import PublishedConfig
from openpfn.heads.categorical import Categorical, CategoricalHead
from openpfn.models.inputs import check_classes
from openpfn.models.published.attention import ATTENTIONS, PublishedAttention, RowState
from openpfn.models.tabular.network import present_columns

BYTES_PER_TILE = 2**22
"""Cells handled at once where no gradient is asked for: more fall out of a CPU's caches, and memory
grows with them."""


class PublishedStatistics(NamedTuple):
    """Statistics of the context rows, as the encoders need them."""

    mean: Float[Tensor, "B D"]
    std: Float[Tensor, "B D"]
    mean_target: Float[Tensor, " B"]


class PublishedState(NamedTuple):
    """State after the context rows: enough to predict any query row."""

    statistics: PublishedStatistics
    layers: list[RowState]
    columns: Bool[Tensor, "B C"] | None
    n_classes: Int[Tensor, " B"] | None


class PublishedPFN(nn.Module):
    """The table network of Pfefferle et al. 2025 (nanoTabPFN), and TinyPFN's variant of it with
    linear attention.

    Its classes are numbers: class 2 lies between 1 and 3, unlike in `TabularPFN`. A missing value
    counts as the context's mean, where the original answers NaN.

    >>> model = PublishedPFN(PublishedConfig(d_model=16, n_layers=2, d_mlp=32, max_classes=3))
    >>> batch = TaskBatch(x=torch.randn(1, 6, 3), y=torch.tensor([[0., 1, 0, 1, 0, 0]]), n_train=4)
    >>> model(batch).shape
    torch.Size([1, 2, 3])
    """

    reads_classes_as_numbers: ClassVar[bool] = True
    """Whether the order of the classes means something to the network."""

    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        self.config = config
        self.cell_encoder = nn.Linear(1, config.d_model)
        self.target_encoder = nn.Linear(1, config.d_model)
        self.layers: Any = nn.ModuleList(PostNormLayer(config) for _ in range(config.n_layers))
        self.head = CategoricalHead(config.d_model, config.d_mlp, config.max_classes)
        nn.init.xavier_uniform_(self.head.out.weight)

    def forward(self, batch: TaskBatch) -> Float[Tensor, "B Q classes"]:
        """Logits of the query rows' classes; −inf for classes that a task does not have."""
        if not torch.is_grad_enabled():
            state = self.summarize(batch)
            assert batch.x is not None
            return self.read(batch.x[:, batch.n_train :], state)
        x, n_context = self.check(batch), batch.n_train
        statistics = fit_statistics(x[:, :n_context], batch.y_context)
        columns = present_columns(batch)
        missing = x.shape[1] - n_context
        targets = torch.cat(
            [batch.y_context, statistics.mean_target[:, None].expand(-1, missing)], dim=1
        )
        cells = self.embed(x, targets, statistics)  # (B, C, N, E)
        for layer in self.layers[:-1]:
            cells, _ = layer(cells, columns, n_context)
        answers, _ = self.layers[-1].last(cells, columns, n_context)  # (B, Q, E)
        return self.head(answers, batch.n_classes)

    def predictive(self, batch: TaskBatch) -> Categorical:
        """The distribution of each query row's class."""
        return self.head.predictive(self(batch))

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Mean −log probability of the query rows' true classes, in nats."""
        check_classes(batch.y_query, self.config.max_classes)
        return F.cross_entropy(self(batch).flatten(0, 1), batch.y_query.flatten().long())

    def summarize(self, batch: TaskBatch) -> PublishedState:
        """The state that the context rows of `batch` leave; query rows, if any, are ignored."""
        x = self.check(batch)[:, : batch.n_train]
        statistics = fit_statistics(x, batch.y_context)
        columns = present_columns(batch)
        cells = self.embed(x, batch.y_context, statistics)  # (B, C, n, E)
        states = []
        for layer in self.layers[:-1]:
            cells, state = layer.tiled(cells, columns)
            states.append(state)
        states.append(self.layers[-1].last_state(cells, columns))
        return PublishedState(statistics, states, columns, batch.n_classes)

    def read(
        self, x: Float[Tensor, "B Q D"], state: PublishedState
    ) -> Float[Tensor, "B Q classes"]:
        """Logits of the query rows `x`, whose cost does not include the context's."""
        if torch.is_grad_enabled():
            return self.read_rows(x, state)
        bytes_per_row = 4 * self.config.d_model * x.shape[0] * (x.shape[2] + 1)
        tiles = x.split(max(1, BYTES_PER_TILE // bytes_per_row), dim=1)
        return torch.cat([self.read_rows(tile, state) for tile in tiles], dim=1)

    def read_rows(
        self, x: Float[Tensor, "B Q D"], state: PublishedState
    ) -> Float[Tensor, "B Q classes"]:
        targets = state.statistics.mean_target[:, None].expand(
            -1, x.shape[1]
        )  # a query's target is its best guess
        cells = self.embed(x, targets, state.statistics)  # (B, C, Q, E)
        for layer, layer_state in zip(self.layers[:-1], state.layers, strict=False):
            cells = layer.read(cells, state.columns, layer_state)
        return self.head(
            self.layers[-1].last_read(cells, state.columns, state.layers[-1]), state.n_classes
        )

    def embed(
        self,
        x: Float[Tensor, "B N D"],
        targets: Float[Tensor, "B N"],
        statistics: PublishedStatistics,
    ) -> Float[Tensor, "B C N E"]:
        """Cells with the target as the last column."""
        z = ((x - statistics.mean[:, None]) / statistics.std[:, None]).clamp(-100, 100)
        z = torch.where(z.isnan(), 0.0, z).transpose(1, 2)  # (B, D, N)
        return torch.cat(
            [self.cell_encoder(z.unsqueeze(-1)), self.target_encoder(targets[:, None, :, None])],
            dim=1,
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
        check_classes(batch.y_context, self.config.max_classes)
        return batch.x


class PostNormLayer(nn.Module):
    """Columns attend, rows attend, an MLP; each is added to the cells (B, C, N, E) and the sum
    normalised."""

    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        attention = ATTENTIONS[config.attention_type]
        self.column_attention = attention(config.d_model, config.n_heads)
        self.column_norm = nn.LayerNorm(config.d_model)
        self.row_attention = attention(config.d_model, config.n_heads)
        if config.separate_query_weights:
            self.query_attention = attention(config.d_model, config.n_heads)
        self.row_norm = nn.LayerNorm(config.d_model)
        self.hidden = nn.Linear(config.d_model, config.d_mlp)
        self.out = nn.Linear(config.d_mlp, config.d_model)
        self.mlp_norm = nn.LayerNorm(config.d_model)

    def forward(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> tuple[Float[Tensor, "B C N E"], RowState]:
        """Context (the first `n_context` rows) and query rows together; also the state that the
        context leaves."""
        cells = self.columns(cells, columns)
        rows = cells.flatten(0, 1)  # (B·C, N, E)
        context = rows[:, :n_context]
        asked = self.for_queries.summarize(context)
        if self.for_queries is self.row_attention:
            return self.rows(rows, asked).view_as(cells), asked
        mixed = self.rows(context, self.row_attention.summarize(context), self.row_attention)
        read = self.rows(rows[:, n_context:], asked)
        return torch.cat([mixed, read], dim=1).view_as(cells), asked

    def tiled(
        self, cells: Float[Tensor, "B C n E"], columns: Bool[Tensor, "B C"] | None
    ) -> tuple[Float[Tensor, "B C n E"], RowState]:
        """`forward` for context rows alone, a few rows at a time where no gradient is asked for."""
        n_context = cells.shape[2]
        if torch.is_grad_enabled():
            return self(cells, columns, n_context)
        size = max(1, n_context * BYTES_PER_TILE // (4 * cells.numel()))
        for tile in cells.split(size, dim=2):
            tile.copy_(self.columns(tile, columns))
        rows = cells.flatten(0, 1)
        state, asked = self.row_attention.summarize(rows), self.for_queries.summarize(rows)
        for tile in rows.split(size, dim=1):
            tile.copy_(self.rows(tile, state, self.row_attention))
        return cells, asked

    def read(
        self, cells: Float[Tensor, "B C Q E"], columns: Bool[Tensor, "B C"] | None, state: RowState
    ) -> Float[Tensor, "B C Q E"]:
        """Query rows alone, given the state of the context."""
        cells = self.columns(cells, columns)
        return self.rows(cells.flatten(0, 1), state).view_as(cells)

    def last(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> tuple[Float[Tensor, "B Q E"], RowState]:
        """What `forward` gives for the query rows' targets, without computing the cells that nobody
        reads."""
        targets = self.targets(cells, columns)  # (B, N, E)
        state = self.for_queries.summarize(targets[:, :n_context])
        return self.rows(targets[:, n_context:], state), state

    def last_state(
        self, cells: Float[Tensor, "B C n E"], columns: Bool[Tensor, "B C"] | None
    ) -> RowState:
        return self.for_queries.summarize(self.targets(cells, columns))

    def last_read(
        self, cells: Float[Tensor, "B C Q E"], columns: Bool[Tensor, "B C"] | None, state: RowState
    ) -> Float[Tensor, "B Q E"]:
        """`read`, for the targets only."""
        return self.rows(self.targets(cells, columns), state)

    def columns(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None
    ) -> Float[Tensor, "B C N E"]:
        return self.column_norm(cells + self.column_attention.between_columns(cells, columns))

    def targets(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None
    ) -> Float[Tensor, "B N E"]:
        attended = self.column_attention.between_columns(cells, columns, last_column_only=True)
        return self.column_norm(cells[:, -1] + attended.squeeze(1))

    @property
    def for_queries(self) -> PublishedAttention:
        """The attention by which query rows read the context."""
        return getattr(self, "query_attention", self.row_attention)

    def rows(
        self,
        rows: Float[Tensor, "G N E"],
        state: RowState,
        attention: PublishedAttention | None = None,
    ) -> Float[Tensor, "G N E"]:
        """Rows that have read the context by `attention`, by default that of query rows."""
        rows = self.row_norm(rows + (attention or self.for_queries).read(rows, state))
        return self.mlp_norm(rows + self.out(F.gelu(self.hidden(rows))))


def fit_statistics(x: Float[Tensor, "B n D"], y: Float[Tensor, "B n"]) -> PublishedStatistics:
    """Mean and standard deviation (n − 1) of the present context values, and the mean target."""
    present = ~x.isnan()
    n_present = present.sum(dim=1)  # (B, D)
    mean = torch.where(present, x, 0.0).sum(dim=1) / n_present.clamp(min=1)
    square = torch.where(present, x - mean[:, None], 0.0).square().sum(dim=1)
    std = (
        square / (n_present - 1).clamp(min=1)
    ).sqrt() + 1e-20  # as published: constant columns blow up
    return PublishedStatistics(mean, std, y.mean(dim=1))


def build(config: PublishedConfig) -> PublishedPFN:
    """The network of `config`, for `openpfn.models.PFN`."""
    return PublishedPFN(config)
