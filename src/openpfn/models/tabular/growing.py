"""`GrowingContext`: a table's context to which rows are appended one at a time, where earlier rows
keep what they were."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from openpfn.attention.base import KeysAndValues, RowAttention, State
from openpfn.batch import TaskBatch
from openpfn.models.tabular.layers import TwoWayLayer
from openpfn.models.tabular.network import TableState, TabularPFN, present_columns


class GrowingContext:
    """The context of a `TabularPFN` as it was read once, and rows appended since.

    An appended row reads all rows before it, and later rows read it; but earlier rows, the
    statistics of columns and the scale of targets stay those of the context that was read. The
    answers are therefore near those of reading all rows anew, not equal. Raises ValueError for a
    mechanism of attention whose states do not merge.
    """

    def __init__(self, model: TabularPFN, batch: TaskBatch, n_new: int) -> None:
        for layer in model.stack:
            check_can_grow(layer.row_attention)
        x = model.check(batch)[:, : batch.n_train]
        self.model, self.n_context, self.n_classes = model, batch.n_train, batch.n_classes
        self.statistics = model.cell_encoder.fit(x, batch.n_features, batch.categorical)
        self.columns = present_columns(batch)
        y, self.scale = model.known_targets(batch)
        self.states: list[_Rows] = []
        cells = model.embed(x, y, self.statistics, self.scale is not None)  # (B, C, T + n, E)
        self._through(cells, [None] * len(model.stack), n_new)

    @property
    def numbers(self) -> bool:
        """Whether targets are numbers."""
        return self.scale is not None

    def append(self, x: Float[Tensor, "B m D"], y: Float[Tensor, "B m"]) -> None:
        """Take in `m` rows with their targets; they read each other as rows of one context do."""
        targets = y if self.scale is None else self.scale.standardised(y)
        cells = self.model.embed_context(x, targets, self.statistics, self.numbers)
        self._through(cells, list(self.states), 0)
        self.n_context += x.shape[1]

    def logits(self, x: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q outputs"]:
        """Return the logits of query rows."""
        layers = [rows.state for rows in self.states]
        state = TableState(
            self.statistics, layers, self.columns, self.n_context, self.n_classes, self.scale
        )
        return self.model.read(x, state)

    def _through(
        self, cells: Float[Tensor, "B C m E"], before: list[_Rows | None], n_new: int
    ) -> None:
        """Send new context rows through the layers; each layer's state takes them in."""
        states = []
        *inner, last = self.model.stack
        for layer, rows in zip(inner, before, strict=False):
            cells = cells + layer.column_attention(layer.column_norm(cells), self.columns)
            normed = layer.row_norm(cells).flatten(0, 1)  # (B·C, m, E)
            rows = _taken_in(layer, rows, normed, n_new)
            cells = cells + layer.row_attention.mix(normed, rows.state).view_as(cells)
            cells = cells + layer.mlp(layer.mlp_norm(cells))
            states.append(rows)
        normed = last.row_norm(last.targets(cells, self.columns))
        states.append(_taken_in(last, before[-1], normed, n_new))
        self.states = states


def check_can_grow(attention: RowAttention) -> None:
    """Raise ValueError where rows cannot be appended to what the mechanism keeps."""
    if not attention.can_merge or not attention.mixes_rows_alone or attention.order_matters:
        raise ValueError(
            f"{type(attention).__name__} cannot append rows to a context that it has read. Use"
            " refit='each', or a network whose attention can, such as softmax or linear."
        )


def _taken_in(
    layer: TwoWayLayer, rows: _Rows | None, normed: Float[Tensor, "G m E"], n_new: int
) -> _Rows:
    """The rows known so far and those in `normed`."""
    part = layer.row_attention.summarize(normed)
    return _Rows(layer.row_attention, part, n_new) if rows is None else rows.with_(part)


class _Rows:
    """What one layer keeps of the context. Keys and values have room for `n_new` rows more, so
    that appending copies none of the others."""

    def __init__(self, attention: RowAttention, first: State, n_new: int) -> None:
        self.attention, self.raw, self.n = attention, first, 0
        self.room: KeysAndValues | None = None
        if type(first) is KeysAndValues:
            self.n = first.key.shape[2]
            self.room = KeysAndValues(*(_with_room(part, n_new) for part in first))

    @property
    def state(self) -> State:
        """What rows read."""
        if self.room is None:
            return self.attention.finalize(self.raw)
        return self.attention.finalize(KeysAndValues(*(part[:, :, : self.n] for part in self.room)))

    def with_(self, part: State) -> _Rows:
        """Take in the state of more rows."""
        if self.room is None:
            self.raw = self.attention.merge(self.raw, part)
            return self
        end = self.n + part.key.shape[2]
        if end > self.room.key.shape[2]:
            self.room = KeysAndValues(*(_with_room(kept, end) for kept in self.room))
        self.room.key[:, :, self.n : end], self.room.value[:, :, self.n : end] = part
        self.n = end
        return self


def _with_room(part: Float[Tensor, "G H n K"], n_new: int) -> Float[Tensor, "G H more K"]:
    room = part.new_empty(*part.shape[:2], part.shape[2] + n_new, part.shape[3])
    room[:, :, : part.shape[2]] = part
    return room
