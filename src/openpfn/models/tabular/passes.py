"""The state of a context of any length in bounded memory: one pass over its rows per layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.attention.base import RowAttention, State
from openpfn.batch import TaskBatch
from openpfn.models.tabular.encoders import ColumnStatistics
from openpfn.models.tabular.layers import TwoWayLayer

if TYPE_CHECKING:
    from openpfn.models.tabular.network import TabularPFN, TableState

CELLS_PER_TILE = 2**13
"""Cells that exist at once."""


def goes_in_passes(model: TabularPFN) -> bool:
    """Whether the states of all layers are sums over rows, and rows read nothing but these."""
    attentions = [layer.row_attention for layer in model.stack]
    return all(one.can_merge and one.mixes_rows_alone for one in attentions)


def summarize_in_passes(model: TabularPFN, batch: TaskBatch) -> TableState:
    """Return what `model.summarize` does, but for rounding, from cells that are never all held.

    A layer's sums are over rows that have read the sums of the layers before it over all rows. So
    each layer takes a pass of its own, in which the cells of some rows at a time go through the
    layers before it again: L layers take (L + 1)/2 times as long as with all cells in memory.
    """
    from openpfn.models.tabular.network import TableState, present_columns

    x = model.check(batch)[:, : batch.n_train]
    statistics = model.cell_encoder.fit(x, batch.n_features, batch.categorical)
    columns = present_columns(batch)
    y, scale = model.known_targets(batch)
    states: list[State] = []
    *inner, last = model.stack
    for layer in model.stack:
        sums = _Sums(layer.row_attention)
        for cells in _tiles(model, x, y, statistics, scale is not None):
            for earlier, state in zip(inner, states, strict=False):
                cells = _mixed(earlier, cells, columns, state)
            sums.add(_part(layer, cells, columns, layer is last))
        states.append(layer.row_attention.finalize(sums.total()))
    return TableState(statistics, states, columns, batch.n_train, batch.n_classes, scale)


class _Sums:
    """Merges states of equally many tiles, as far as there are such: sums of equals lose least."""

    def __init__(self, attention: RowAttention) -> None:
        self.attention = attention
        self.parts: list[tuple[int, State]] = []

    def add(self, state: State) -> None:
        n_tiles = 1
        while self.parts and self.parts[-1][0] == n_tiles:
            state = self.attention.merge(self.parts.pop()[1], state)
            n_tiles *= 2
        self.parts.append((n_tiles, state))

    def total(self) -> State:
        state = self.parts.pop()[1]
        while self.parts:
            state = self.attention.merge(self.parts.pop()[1], state)
        return state


def _tiles(
    model: TabularPFN,
    x: Float[Tensor, "B n D"],
    y: Float[Tensor, "B n"] | Int[Tensor, "B n"],
    statistics: ColumnStatistics,
    numbers: bool,
) -> Iterator[Float[Tensor, "B C t E"]]:
    """Yield the cells of the thinking rows, if any, then of the context rows, some at a time."""
    size = max(1, CELLS_PER_TILE // (x.shape[0] * (x.shape[2] + 1)))
    is_first = True
    for x_tile, y_tile in zip(x.split(size, dim=1), y.split(size, dim=1), strict=True):
        cells = model.embed_context(x_tile, y_tile, statistics, numbers)
        if is_first and model.config.n_thinking_rows:
            yield model.thinking_rows(cells)
        is_first = False
        yield cells


def _mixed(
    layer: TwoWayLayer,
    cells: Float[Tensor, "B C t E"],
    columns: Bool[Tensor, "B C"] | None,
    state: State,
) -> Float[Tensor, "B C t E"]:
    """Return what `layer` makes of some context rows, given the state of all."""
    cells = cells + layer.column_attention(layer.column_norm(cells), columns)
    mixed = layer.row_attention.mix(layer.row_norm(cells).flatten(0, 1), state)  # (B·C, t, E)
    cells = cells + mixed.view_as(cells)
    return cells + layer.mlp(layer.mlp_norm(cells))


def _part(
    layer: TwoWayLayer,
    cells: Float[Tensor, "B C t E"],
    columns: Bool[Tensor, "B C"] | None,
    is_last: bool,
) -> State:
    """Return the state of some context rows, of their targets alone in the last layer."""
    if is_last:
        return layer.row_attention.summarize(layer.row_norm(layer.targets(cells, columns)))
    cells = cells + layer.column_attention(layer.column_norm(cells), columns)
    return layer.row_attention.summarize(layer.row_norm(cells).flatten(0, 1))
