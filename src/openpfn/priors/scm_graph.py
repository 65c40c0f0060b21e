"""`GraphPrior`: tasks from random directed graphs whose nodes follow from their parents by many
kinds of mechanisms."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.causes import draw_causes
from openpfn.scm.graphs import Graphs, Reader, draw_graphs
from openpfn.scm.mechanisms import MECHANISMS
from openpfn.scm.noise import Noise, row_moments
from openpfn.scm.tasks import Nodes, Shape, draw_tasks

DEPTHS = (1, 5)
WIDTHS = (10, 48)
DIRECT_SHARE = 0.25
SIZES = (1, 2, 3, 4, 6)
"""Values that a node of a chunk of graphs may have."""
MOST_PARENTS = 3
N_IN_USE = 3
"""Mechanisms among which the nodes of one level choose: every call works on many nodes."""
JOINS = {"beside": 0.45, "sum": 0.2, "product": 0.15, "max": 0.1, "logsumexp": 0.1}
"""How several parents become the inputs of a node."""
SAMPLE = 128
LARGEST = 6.0


class GraphPrior(TaskPrior):
    """Nodes are vectors; each follows from one to three earlier nodes by a mechanism of its own:
    linear, neural, quadratic, a product, trees, a smooth function, or levels of a category that act
    each in their own way.

    Which nodes are parents follows Cauchy graphs (Qu et al. 2026, TabICLv2): an edge has the log
    odds a + b_parent + c_child with Cauchy numbers a, b and c, so that some graphs are dense, some
    sparse, and some nodes are parents of many. Columns and target are values of nodes anywhere in
    the graph. Mechanisms are drawn level by level for a whole chunk of graphs, a parent may lie in
    any earlier level. The construction is our own.

    >>> batch = GraphPrior(PriorConfig(max_features=5, max_seq_len=60)).sample(
    ...     2, torch.Generator().manual_seed(0)
    ... )
    >>> batch.x.shape[:2]
    torch.Size([2, 60])
    """

    aliases: ClassVar[tuple[str, ...]] = ("graph_scm", "graph")

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        return draw_tasks(
            partial(_nodes, self.config.categorical_share), self.config, n_tasks, generator
        )


def _nodes(
    categorical_share: float,
    shape: Shape,
    n_features: Int[Tensor, " B"],
    n_classes: Int[Tensor, " B"],
    noise: Noise,
) -> Nodes:
    """The nodes of one random graph per task; columns that are levels of a category say so in a
    share of the tasks."""
    graphs = draw_graphs(DEPTHS, WIDTHS, DIRECT_SHARE, shape.most, n_features, noise)
    causes = draw_causes(graphs.most_causes, shape.n_rows, n_classes, noise)
    reader = Reader(graphs, shape.most, shape.n_rows, noise)
    reader.read(causes.values)
    levels = _Levels(graphs, causes.values, noise)
    is_level = [torch.zeros_like(causes.values[:, :, 0], dtype=torch.bool)]
    for n_left in graphs.left:
        nodes, from_levels = levels.step(n_left)
        reader.read(nodes)
        padding = len(n_features) - n_left
        is_level.append(torch.nn.functional.pad(from_levels, (0, 0, 0, padding)))
    told = noise.flags(1 - (1 - categorical_share) ** 2, len(n_features), 1)
    picked = (torch.cat(is_level, dim=1) & told).gather(1, reader.picks)
    readings = reader.readings
    return Nodes(
        readings,
        shape.most,
        causes.clusters,
        causes.n_clusters,
        graphs.width.float(),
        graphs.depth.float(),
        picked.view(readings.shape[:3])[:, :, : shape.most],
    )


class _Levels:
    """The levels of a chunk of graphs: all nodes so far, and how the next ones follow from them."""

    def __init__(self, graphs: Graphs, causes: Float[Tensor, "B C N"], noise: Noise) -> None:
        n_tasks, self.n_causes, n_rows = causes.shape
        self.noise, self.width, self.live_causes = noise, graphs.most_width, graphs.n_causes
        self.size = SIZES[int(noise.integers(len(SIZES), 1))]
        self.n_nodes = -(-self.width // self.size)  # of each level
        self.n_first = -(-self.n_causes // self.size)
        depth = int(graphs.depth[0])
        n_values = self.n_causes + depth * self.n_nodes * self.size
        self.values = torch.empty(n_tasks, n_values, n_rows, device=causes.device)
        self.values[:, : self.n_causes] = causes
        self.level = 0
        n_all = self.n_first + depth * self.n_nodes
        self.sparsity = _cauchy(noise, n_tasks, 1, 1)
        self.popularity = _cauchy(noise, n_tasks, 1, n_all)
        self.noise_scale = noise.log_uniform(0.01, 0.4, n_tasks, 1, 1) * noise.flags(
            0.6, n_tasks, 1, 1
        )
        self.same = noise.flags(0.25, n_tasks, 1)

    def step(self, n_left: int) -> tuple[Float[Tensor, "L W N"], Bool[Tensor, "L W"]]:
        """The next level of the first `n_left` graphs, and which of its values stand for levels of
        a category."""
        noise, size = self.noise, self.size
        n_rows = self.values.shape[2]
        parents, n_parents = self._parents(n_left)
        inputs, n_inputs = self._joined(parents, n_parents)  # (L·M, P·V, N), (L·M)
        in_use = noise.choice([share for share, _ in MECHANISMS.values()], N_IN_USE)
        pick = noise.integers(N_IN_USE, n_left, self.n_nodes)
        pick = torch.where(self.same[:n_left], pick[:, :1], pick)  # one mechanism in some graphs
        kind = in_use[pick].flatten()
        nodes = torch.empty(n_left * self.n_nodes, size, n_rows, device=noise.device)
        for number, (_, mechanism) in enumerate(MECHANISMS.values()):
            chosen = (kind == number).nonzero().squeeze(1)
            if len(chosen):
                made = mechanism(inputs[chosen], n_inputs[chosen], size, noise)
                nodes.index_copy_(0, chosen, made)
        nodes = nodes.view(n_left, self.n_nodes * size, n_rows)
        mean, deviation = row_moments(nodes[:, :, :SAMPLE])
        scale = torch.where(deviation > 1e-4, 1 / deviation.clamp(min=1e-4), 0.0).unsqueeze(2)
        nodes.sub_(mean.unsqueeze(2)).mul_(scale).clamp_(-LARGEST, LARGEST)
        is_level = (kind == list(MECHANISMS).index("levels")).view(n_left, -1, 1)
        is_level = is_level.expand(-1, -1, size).flatten(1)
        jitter = noise.normal_rows(n_left * self.n_nodes * size, n_rows).view_as(nodes)
        nodes.addcmul_(jitter, self.noise_scale[:n_left] * ~is_level.unsqueeze(2))
        first = self.n_causes + self.level * self.n_nodes * size
        self.values[:n_left, first : first + nodes.shape[1]] = nodes
        self.level += 1
        return nodes[:, : self.width], is_level[:, : self.width]

    def _parents(self, n_left: int) -> tuple[Int[Tensor, "L M P"], Int[Tensor, "L M"]]:
        """Earlier nodes that each node follows from, the first ones its parents, and how many of
        them are."""
        noise = self.noise
        n_known = self.n_first + self.level * self.n_nodes
        odds = self.sparsity[:n_left] + self.popularity[:n_left, :, :n_known]
        odds = odds + _cauchy(noise, n_left, self.n_nodes, 1)
        is_edge = noise.flags(odds.sigmoid(), n_left, self.n_nodes, n_known)
        # a node without an edge follows from one of the last level, most often
        last = torch.arange(n_known, device=noise.device) >= n_known - self.n_nodes
        key = noise.uniform(0, 1, n_left, self.n_nodes, n_known) + 0.5 * last + 2 * is_edge
        most = min(MOST_PARENTS, n_known)
        parents = key.topk(most, dim=2).indices
        return parents, is_edge.gather(2, parents).sum(2).clamp(min=1)

    def _joined(
        self, parents: Int[Tensor, "L M P"], n_parents: Int[Tensor, "L M"]
    ) -> tuple[Float[Tensor, "X I N"], Int[Tensor, " X"]]:
        """The inputs of every node: its parents' values beside each other, or joined value by
        value."""
        n_left, _, most = parents.shape
        size, n_rows = self.size, self.values.shape[2]
        offset = torch.arange(size, device=parents.device)
        first = (parents * size).unsqueeze(3) + offset  # (L, M, P, V)
        causes = first % self.live_causes[:n_left].view(-1, 1, 1, 1)
        later = self.n_causes + first - self.n_first * size
        place = torch.where((parents < self.n_first).unsqueeze(3), causes, later)
        place += self.values.shape[1] * torch.arange(n_left, device=parents.device).view(
            -1, 1, 1, 1
        )
        values = self.values.view(-1, n_rows).index_select(0, place.flatten())
        values = values.view(-1, most, size, n_rows)  # (X, P, V, N)
        n_parents = n_parents.flatten()
        join = self.noise.choice(list(JOINS.values()), len(values))
        join = torch.where(n_parents == 1, 0, join)
        for number, name in enumerate(JOINS):
            chosen = (join == number).nonzero().squeeze(1)
            if number and len(chosen):
                values[chosen, 0] = _join(values[chosen], n_parents[chosen], name)
        n_inputs = torch.where(join == 0, n_parents, 1) * size
        return values.flatten(1, 2), n_inputs


def _join(
    values: Float[Tensor, "R P V N"], n_parents: Int[Tensor, " R"], name: str
) -> Float[Tensor, "R V N"]:
    """The values of several parents as those of one."""
    n_slots = values.shape[1]
    absent = torch.arange(n_slots, device=values.device) >= n_parents.unsqueeze(1)
    absent = absent.view(len(values), n_slots, 1, 1)
    if name == "sum":
        return values.masked_fill(absent, 0.0).sum(1) / n_parents.view(-1, 1, 1).sqrt()
    if name == "product":
        return values.masked_fill(absent, 1.0).prod(1)
    if name == "max":
        return values.masked_fill(absent, float("-inf")).amax(1)
    assert name == "logsumexp"
    return values.masked_fill(absent, float("-inf")).logsumexp(1)


def _cauchy(noise: Noise, *shape: int) -> Tensor:
    return (3.1415926 * noise.uniform(-0.49, 0.49, *shape)).tan_()
