"""`Reader` and the laws of layered random graphs: depths, widths, numbers of causes, and which
nodes are read as a table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.scm.noise import Noise

MAX_CAUSES = 24
N_SCORES = 6
"""Nodes that a target may be made from."""
N_READINGS = 2
"""Tables that are read off every graph; at most one of them is kept."""


@dataclass(frozen=True)
class Graphs:
    """The laws of one chunk of layered graphs, deepest first, and which of them are direct (their
    columns are their causes)."""

    depth: Int[Tensor, " B"]
    width: Int[Tensor, " B"]
    n_causes: Int[Tensor, " B"]
    direct: Bool[Tensor, " B"]

    @property
    def left(self) -> list[int]:
        """How many graphs have a first, a second … layer."""
        return [int((self.depth > level).sum()) for level in range(int(self.depth[0]))]

    @property
    def most_width(self) -> int:
        return int(self.width.max())

    @property
    def most_causes(self) -> int:
        return int(self.n_causes.max())


def draw_graphs(
    depths: tuple[int, int],
    widths: tuple[int, int],
    direct_share: float,
    n_columns: int,
    n_features: Int[Tensor, " B"],
    noise: Noise,
) -> Graphs:
    """Depths and widths between the given ones; a causal task has .1 … 1.5 causes for each
    column."""
    n_tasks = len(n_features)
    depth = draw_depths(*depths, n_tasks, noise)
    width = draw_widths(depth, *widths, n_columns, noise)
    direct = noise.flags(direct_share, n_tasks)
    few = (
        (noise.log_uniform(0.1, 1.5, n_tasks) * (n_features + 1))
        .ceil()
        .long()
        .clamp_(max=MAX_CAUSES)
    )
    return Graphs(depth, width, torch.where(direct, n_features, few), direct)


def draw_depths(low: int, high: int, n_tasks: int, noise: Noise) -> Int[Tensor, " B"]:
    """Numbers of hidden layers, deepest first; within a chunk they differ by at most two, so that
    every layer has work for many tasks."""
    base = noise.integers(high - low - 1, 1) + low
    return (base + noise.integers(3, n_tasks)).sort(descending=True).values


def draw_widths(
    depth: Int[Tensor, " B"], low: int, high: int, n_columns: int, noise: Noise
) -> Int[Tensor, " B"]:
    """Hidden widths: one scale for the chunk (so that little is padded), each task a share of it,
    enough nodes for all columns."""
    scale = noise.log_uniform(low, high, 1)
    width = (scale * noise.uniform(0.65, 1, len(depth))).long()
    return torch.maximum(width, (n_columns + N_SCORES) // depth + 1)


class Reader:
    """Reads the columns and scores of `N_READINGS` tables off every graph, layer by layer as the
    layers are made."""

    def __init__(self, graphs: Graphs, n_columns: int, n_rows: int, noise: Noise) -> None:
        self.n_columns, self.most_width = n_columns, graphs.most_width
        self.picks = pick_nodes(graphs, n_columns, noise)
        self.values = torch.zeros(*self.picks.shape, n_rows, device=noise.device)
        self._first = 0

    def read(self, nodes: Float[Tensor, "L W N"]) -> None:
        """Copy the picked ones of the next layer's nodes (first the causes); later layers may have
        only the first, deeper graphs."""
        n_graphs, n_places, n_rows = nodes.shape
        picks = self.picks[:n_graphs] - self._first
        self._first += n_places
        graph, slot = ((picks >= 0) & (picks < n_places)).nonzero(as_tuple=True)
        if len(graph):
            chosen = nodes.reshape(-1, n_rows).index_select(
                0, graph * n_places + picks[graph, slot]
            )
            self.values.view(-1, n_rows).index_copy_(0, graph * picks.shape[1] + slot, chosen)

    @property
    def readings(self) -> Float[Tensor, "B R P N"]:
        """Per graph and table the columns, then the scores."""
        n_graphs, n_slots, n_rows = self.values.shape
        return self.values.view(n_graphs, N_READINGS, n_slots // N_READINGS, n_rows)


def pick_nodes(graphs: Graphs, n_columns: int, noise: Noise) -> Int[Tensor, "B S"]:
    """The nodes that become the columns and then the `N_SCORES` scores of each reading, as places:
    causes, then layer by layer.

    Columns are scattered over the graph or lie side by side ("clique"); scores, never among the
    columns, lie side by side or anywhere.
    """
    depth, width, n_causes, direct = (
        v.repeat_interleave(N_READINGS).unsqueeze(1)
        for v in (graphs.depth, graphs.width, graphs.n_causes, graphs.direct)
    )
    most_causes, most_width = graphs.most_causes, graphs.most_width
    place = torch.arange(most_causes + int(depth[0]) * most_width, device=noise.device)
    is_cause = place < most_causes
    layer = torch.where(is_cause, 0, (place - most_causes) // most_width + 1)
    unit = torch.where(is_cause, place, (place - most_causes) % most_width)
    missing = (unit >= torch.where(is_cause, n_causes, width)) | (layer > depth)  # (B·R, places)
    n_tables = len(depth)

    def beside(keys: Tensor) -> Tensor:
        """Keys that fall with the distance from a random inner node."""
        start = keys.masked_fill(missing | is_cause, -1).argmax(1, keepdim=True)
        return 1 - (place - start).abs() / len(place)

    key = noise.uniform(0, 1, n_tables, len(place))
    column_key = torch.where(
        noise.flags(0.35, n_tables, 1), beside(key) + 0.02 * key, key - 0.5 * is_cause
    )
    column_key = torch.where(direct, key + 2 * is_cause, column_key).masked_fill_(missing, -9)
    columns = column_key.topk(n_columns, dim=1).indices
    key = noise.uniform(0, 1, n_tables, len(place))
    score_key = torch.where(noise.flags(0.5, n_tables, 1), beside(key), key - 0.9 * is_cause)
    score_key = torch.where(direct, score_key + 2 * (layer == depth), score_key).masked_fill_(
        missing, -9
    )
    score_key.scatter_(1, columns, -5.0)
    return torch.cat([columns, score_key.topk(N_SCORES, dim=1).indices], dim=1).view(
        len(graphs.depth), -1
    )
