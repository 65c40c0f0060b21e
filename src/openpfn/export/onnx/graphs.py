"""What an ONNX file computes: context and query rows in, answers out; or each of these two steps
alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openpfn.models.published.network import PublishedPFN, PublishedState, fit_statistics
from openpfn.models.tabular.encoders import TargetScale
from openpfn.models.tabular.layers import TwoWayLayer
from openpfn.models.tabular.network import TableState, TabularPFN

Targets = Literal["classes", "numbers"]
LEVELS = tuple(k / 20 for k in range(1, 20))
"""Levels of the quantiles that a network of numbers answers."""
ANSWERS: dict[Targets, tuple[str, ...]] = {
    "classes": ("logits",),
    "numbers": ("target_mean", "target_quantiles"),
}
"""Names of the outputs, by what is predicted."""


class Given(NamedTuple):
    """The state after the context rows, with their number as a tensor: a graph knows no other."""

    table: TableState | PublishedState
    n_context: Float[Tensor, ""]


class Passes(nn.Module):
    """A network's two steps without its checks, which a graph cannot make: context rows to a
    state, query rows to answers. One task at a time, the axis B of one."""

    def __init__(self, model: nn.Module, targets: Targets) -> None:
        super().__init__()
        self.model = model
        self.targets: Targets = targets

    def given(
        self,
        x: Float[Tensor, "B n D"],
        y: Float[Tensor, "B n"],
        categorical: Bool[Tensor, "B D"],
    ) -> Given:
        n_context = torch.ones_like(y[0]).sum()
        if isinstance(self.model, PublishedPFN):
            return Given(published_state(self.model, x, y), n_context)
        assert isinstance(self.model, TabularPFN)
        return Given(tabular_state(self.model, x, y, categorical, self.targets), n_context)

    def answers(self, x: Float[Tensor, "B Q D"], given: Given) -> tuple[Tensor, ...]:
        """Logits of classes (B, Q, classes), −inf beyond the largest class of the context; or
        means (B, Q) and quantiles (B, Q, levels) in the targets' units."""
        if isinstance(self.model, PublishedPFN):
            assert isinstance(given.table, PublishedState)
            return (self.model.read_rows(x, given.table),)
        assert isinstance(self.model, TabularPFN)
        assert isinstance(given.table, TableState)
        state = given.table._replace(n_context=given.n_context)
        logits = self.model.read(x, state)
        if self.targets == "classes":
            return (logits,)
        predictive = self.model.predictive_of(logits, state.scale)
        quantiles = predictive.icdf(torch.tensor(LEVELS)[:, None, None])  # (levels, B, Q)
        return predictive.mean, quantiles.movedim(0, -1)


class WholePass(Passes):
    """Context and query rows in, answers out."""

    def forward(
        self,
        x_context: Float[Tensor, "B n D"],
        y_context: Float[Tensor, "B n"],
        x_query: Float[Tensor, "B Q D"],
        categorical: Bool[Tensor, "B D"],
    ) -> tuple[Tensor, ...]:
        return self.answers(x_query, self.given(x_context, y_context, categorical))


class FitPass(Passes):
    """Context rows in, the tensors of the state out."""

    def forward(
        self,
        x_context: Float[Tensor, "B n D"],
        y_context: Float[Tensor, "B n"],
        categorical: Bool[Tensor, "B D"],
    ) -> tuple[Tensor, ...]:
        given = self.given(x_context, y_context, categorical)
        return tuple(tensor for _, tensor in named_tensors(given))


class PredictPass(Passes):
    """Query rows and the tensors of a state like `example` in, answers out."""

    def __init__(self, model: nn.Module, targets: Targets, example: Given) -> None:
        super().__init__(model, targets)
        self.example = example

    def forward(self, x_query: Float[Tensor, "B Q D"], *state: Tensor) -> tuple[Tensor, ...]:
        return self.answers(x_query, rebuilt(self.example, iter(state)))


def tabular_state(
    model: TabularPFN, x: Tensor, y: Tensor, categorical: Tensor, targets: Targets
) -> TableState:
    """`TabularPFN.summarize` of whole columns, all rows at once."""
    statistics = model.cell_encoder.fit(x, None, categorical)
    scale = n_classes = None
    if targets == "numbers":
        scale = TargetScale.of(y)
        y = scale.standardised(y)
    else:
        n_classes = y.amax(dim=1).long() + 1
    cells = model.embed(x, y, statistics, scale is not None)  # (B, C, T + n, E)
    states = []
    *inner, last = model.stack
    for layer in inner:
        cells, state = mixed(layer, cells)
        states.append(state)
    rows = last.row_norm(last.targets(cells, None))  # (B, T + n, E)
    states.append(last.row_attention.finalize(last.row_attention.summarize(rows)))
    return TableState(statistics, states, None, 0, n_classes, scale)


def mixed(layer: TwoWayLayer, cells: Float[Tensor, "B C n E"]) -> tuple[Tensor, Any]:
    """`TwoWayLayer.forward` for context rows alone."""
    cells = cells + layer.column_attention(layer.column_norm(cells), None)
    rows, attention = layer.row_norm(cells).flatten(0, 1), layer.row_attention
    state = attention.finalize(attention.summarize(rows))
    cells = cells + attention.mix(rows, state).view_as(cells)
    return cells + layer.mlp(layer.mlp_norm(cells)), state


def published_state(model: PublishedPFN, x: Tensor, y: Tensor) -> PublishedState:
    """`PublishedPFN.summarize`, all rows at once."""
    statistics = fit_statistics(x, y)
    cells = model.embed(x, y, statistics)  # (B, C, n, E)
    states = []
    for layer in model.layers[:-1]:
        cells = layer.columns(cells, None)
        rows = cells.flatten(0, 1)
        states.append(layer.for_queries.summarize(rows))
        alone = layer.row_attention.summarize(rows)
        cells = layer.rows(rows, alone, layer.row_attention).view_as(cells)
    states.append(model.layers[-1].last_state(cells, None))
    return PublishedState(statistics, states, None, y.amax(dim=1).long() + 1)


def named_tensors(tree: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a state, each with the path that leads to it, such as
    `state_table_layers_0_key`."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, tuple | list):
        names = getattr(tree, "_fields", range(len(tree)))
        for part, value in zip(names, tree, strict=True):
            yield from named_tensors(value, f"{name}_{part}")


def rebuilt(example: Any, tensors: Iterator[Tensor]) -> Any:
    """A state like `example` out of the tensors that `named_tensors` gives."""
    if isinstance(example, Tensor):
        return next(tensors)
    if not isinstance(example, tuple | list):
        return example
    make = getattr(type(example), "_make", type(example))
    return make(map(partial(rebuilt, tensors=tensors), example))
