"""`TreePrior`: classification tasks from random ensembles of oblivious trees, stacked into
structural causal models."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.noise import Noise, row_moments
from openpfn.scm.propagate import propagate
from openpfn.scm.tasks import draw_tasks

DEPTHS = (1, 6)
WIDTHS = (22, 113)
DIRECT_SHARE = 0.45
MAX_TREES = 16
MAX_SPLITS = 5
SAMPLE = 128


class TreePrior(TaskPrior):
    """Layers whose nodes are sums of random oblivious trees over the layer before, partly mixed
    with a linear function of it.

    A split compares a random node with its value in a random row, so splits follow the quantiles of
    the data; leaf values are normal. Nothing is fitted. Oblivious trees ask the same question in
    all nodes of a level, so that a leaf's index is a sum of bits.

    >>> batch = TreePrior(PriorConfig(max_features=5, max_seq_len=60)).sample(
    ...     2, torch.Generator().manual_seed(0)
    ... )
    >>> batch.x.shape[:2]
    torch.Size([2, 60])
    """

    aliases: ClassVar[tuple[str, ...]] = ("tree_scm", "tree")

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        return draw_tasks(
            partial(propagate, _TreeLayers, DEPTHS, WIDTHS, DIRECT_SHARE),
            self.config,
            n_tasks,
            generator,
        )


class _TreeLayers:
    """The random tree layers of a chunk of tasks: what a task keeps through all its layers is drawn
    once, here."""

    def __init__(self, n_tasks: int, width: int, noise: Noise) -> None:
        self.width, self.noise = width, noise
        # The tasks of a chunk differ little in the size of their trees, because the largest sets
        # the cost.
        self.n_trees = (
            (noise.log_uniform(1, MAX_TREES + 1, 1) * noise.uniform(0.5, 1, n_tasks))
            .ceil()
            .long()
            .clamp_(max=MAX_TREES)
        )
        self.n_splits = noise.integers(MAX_SPLITS - 1, 1) + 1 + noise.integers(2, n_tasks)
        self.linear = noise.uniform(0, 1, n_tasks, 1, 1) * noise.flags(0.5, n_tasks, 1, 1)
        self.noise_scale = noise.log_uniform(0.01, 0.4, n_tasks, 1, 1) * noise.flags(
            0.6, n_tasks, 1, 1
        )

    def step(
        self, previous: Float[Tensor, "B P N"], n_live: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W N"]:
        """The next layer's nodes, of about unit variance."""
        n_tasks, n_inputs, n_rows = previous.shape
        noise = self.noise
        nodes = self._trees(previous, n_live)
        mean, deviation = row_moments(previous[:, :, :SAMPLE])
        live = torch.arange(n_inputs, device=noise.device) < n_live.unsqueeze(1)
        scale = torch.where(live & (deviation > 1e-4), 1 / deviation.clamp(min=1e-4), 0.0)
        weight = noise.normal_rows(n_tasks * self.width, n_inputs).view(
            n_tasks, self.width, n_inputs
        )
        weight *= live.unsqueeze(1)
        weight *= scale.unsqueeze(1) * self.linear[:n_tasks] / live.sum(1).view(-1, 1, 1).sqrt()
        nodes = torch.baddbmm(nodes, weight, previous)
        nodes.sub_(weight @ mean.unsqueeze(2))
        jitter = noise.normal_rows(n_tasks * self.width, n_rows).view_as(nodes)
        return nodes.addcmul_(jitter, self.noise_scale[:n_tasks])

    def _trees(
        self, previous: Float[Tensor, "B P N"], n_live: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W N"]:
        noise = self.noise
        n_tasks, n_inputs, n_rows = previous.shape
        n_trees, n_splits = int(self.n_trees[:n_tasks].max()), int(self.n_splits[:n_tasks].max())
        asked = noise.below(n_live, n_trees, n_splits)  # (B, T, S)
        asked += torch.arange(n_tasks, device=noise.device).view(-1, 1, 1) * n_inputs
        values = previous.reshape(-1, n_rows).index_select(0, asked.flatten())  # (B·T·S, N)
        threshold = values.gather(1, noise.integers(n_rows, len(values), 1)).view(
            n_tasks, n_trees, n_splits, 1
        )
        asks = torch.arange(n_splits, device=noise.device) < self.n_splits[:n_tasks].view(-1, 1, 1)
        bits = (values.view(n_tasks, n_trees, n_splits, n_rows) > threshold) & asks.unsqueeze(3)
        leaf = bits[:, :, 0].int()
        for split in range(1, n_splits):
            leaf.add_(bits[:, :, split], alpha=1 << split)  # (B, T, N)
        leaf += (
            torch.arange(n_tasks * n_trees, device=noise.device, dtype=torch.int32) << n_splits
        ).view(n_tasks, n_trees, 1)
        table = self._leaves(n_tasks, n_trees, 1 << n_splits)
        sums = F.embedding_bag(
            leaf.transpose(1, 2).reshape(-1, n_trees), table, mode="sum"
        )  # (B·N, W)
        return sums.view(n_tasks, n_rows, self.width).transpose(1, 2).contiguous()

    def _leaves(self, n_tasks: int, n_trees: int, n_leaves: int) -> Float[Tensor, "M W"]:
        """Leaf values: each tree speaks to a random part of the nodes, trees beyond a task's number
        are silent."""
        noise = self.noise
        table = noise.normal_rows(n_tasks * n_trees * n_leaves, self.width).view(
            n_tasks, n_trees, n_leaves, self.width
        )
        tree = torch.arange(n_trees, device=noise.device).view(-1, 1)
        count = self.n_trees[:n_tasks].view(-1, 1, 1)
        speaks = noise.flags(2 / count.clamp(min=2), n_tasks, n_trees, self.width)
        home = (
            torch.arange(self.width, device=noise.device) % count == tree
        )  # every node has a tree of its own
        speaks = (speaks | home) & (tree < count)
        strength = speaks / speaks.sum(1, keepdim=True).clamp(min=1).sqrt()
        return table.mul_(strength.unsqueeze(2)).view(-1, self.width)
