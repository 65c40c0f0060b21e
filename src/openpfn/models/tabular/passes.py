"""The states of a context of any length in bounded memory: one pass over its rows per layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jaxtyping import Bool, Float
from torch import Tensor

from openpfn.attention.base import RowAttention, State
from openpfn.models.tabular.layers import TwoWayLayer


def can_go_in_passes(layers: list[TwoWayLayer]) -> bool:
    """Whether the states of all layers are sums over rows, and rows read nothing but these."""
    attentions = [layer.row_attention for layer in layers]
    return all(one.can_merge and one.mixes_rows_alone for one in attentions)


def states_in_passes(
    layers: list[TwoWayLayer],
    tiles: Callable[[], Iterable[Float[Tensor, "B C t E"]]],
    columns: Bool[Tensor, "B C"] | None,
) -> list[State]:
    """Return the state that context rows leave in each of `layers`. `tiles` yields their embedded
    cells, some rows at a time, as often as it is called.

    A layer's sums are over rows that have read the sums of the layers before it over all rows. So
    each layer takes a pass of its own, in which the cells of some rows at a time go through the
    layers before it again: L layers take (L + 1)/2 times as long as with all cells in memory.
    """
    states: list[State] = []
    for layer in layers:
        sums = _Sums(layer.row_attention)
        for tile in tiles():
            cells = tile
            for earlier, state in zip(layers, states, strict=False):
                cells = _mixed(earlier, cells, columns, state)
            sums.add(_part(layer, cells, columns, layer is layers[-1]))
        states.append(layer.row_attention.finalize(sums.total()))
    return states


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
