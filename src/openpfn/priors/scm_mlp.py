"""`MLPPrior`: classification tasks from random multilayer perceptrons read as structural causal
models."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.activations import KINDS, Activations
from openpfn.scm.noise import SPARSITY, Noise, row_moments
from openpfn.scm.propagate import propagate
from openpfn.scm.tasks import draw_tasks

DEPTHS = (2, 8)
WIDTHS = (22, 113)
DIRECT_SHARE = 0.3
SAMPLE = 128
LINEAR_SHARE = 0.28
IDENTITY = list(KINDS).index("identity")


class MLPPrior(TaskPrior):
    """Random perceptrons: every node is an activation of a weighted sum of the layer before, plus
    noise.

    Causal tasks read columns and target from inner nodes anywhere in the network; direct tasks take
    the causes as columns and read the target from the last layer. All tasks of a chunk run through
    the same batched products, narrower and shallower ones masked. The family follows TabPFN
    (Hollmann et al. 2023, section 4) and TabICL (Qu et al. 2025, appendix); the construction is our
    own.

    >>> batch = MLPPrior(PriorConfig(max_features=5, max_seq_len=60)).sample(
    ...     2, torch.Generator().manual_seed(0)
    ... )
    >>> batch.x.shape[:2]
    torch.Size([2, 60])
    """

    aliases: ClassVar[tuple[str, ...]] = ("mlp_scm", "mlp")

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        return draw_tasks(
            partial(propagate, _Layers, DEPTHS, WIDTHS, DIRECT_SHARE),
            self.config,
            n_tasks,
            generator,
        )


class _Layers:
    """The random layers of a chunk of tasks: what a task keeps through all its layers is drawn
    once, here."""

    def __init__(self, n_tasks: int, width: int, noise: Noise) -> None:
        self.width, self.noise = width, noise
        self.activations = Activations(noise)
        self.palette = self.activations.draw(n_tasks, 3)
        self.palette = torch.where(
            noise.flags(0.4, n_tasks, 1), self.palette[:, :1], self.palette
        )  # one kind only in some
        self.palette[noise.flags(LINEAR_SHARE, n_tasks)] = IDENTITY
        self.sparsity = (
            noise.integers(2 * len(SPARSITY), n_tasks).sub_(len(SPARSITY)).clamp_(min=0)
        )  # dense in half of the tasks
        self.n_blocks = noise.choice([0.75, 0.1, 0.08, 0.07], n_tasks) + 1
        self.slope = noise.log_uniform(0.3, 2, n_tasks, 1)
        self.offset = noise.uniform(0, 1.2, n_tasks, 1)
        self.noise_scale = noise.log_uniform(0.01, 0.5, n_tasks, 1) * noise.flags(0.6, n_tasks, 1)

    def step(
        self, previous: Float[Tensor, "B P N"], n_live: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W N"]:
        """The next layer's nodes. Sums have about unit variance, because the previous nodes are
        standardised inside the weights."""
        n_tasks, n_inputs, n_rows = previous.shape
        noise, width = self.noise, self.width
        mean, deviation = row_moments(previous[:, :, :SAMPLE])
        live = torch.arange(n_inputs, device=noise.device) < n_live.unsqueeze(1)
        scale = torch.where(live & (deviation > 1e-4), 1 / deviation.clamp(min=1e-4), 0.0)
        weight = self._weights(n_tasks, n_inputs)
        norm = torch.linalg.vector_norm(weight, dim=2) * (n_live.unsqueeze(1) / n_inputs).sqrt()
        slope = self.slope[:n_tasks] * noise.uniform(0.5, 1.5, n_tasks, width)
        weight.mul_((slope / norm.clamp_(min=1e-2)).unsqueeze(2)).mul_(scale.unsqueeze(1))
        bias = (noise.normal(n_tasks, width) * self.offset[:n_tasks]).unsqueeze(2)
        bias = torch.baddbmm(bias, weight, mean.unsqueeze(2), alpha=-1)
        z = torch.baddbmm(bias, weight, previous).view(n_tasks * width, n_rows)
        amount = self.noise_scale[:n_tasks].expand(-1, width).reshape(-1, 1)
        noisy = (amount.squeeze(1) > 0).nonzero().squeeze(1)
        if len(noisy):
            z.index_add_(0, noisy, noise.normal_rows(len(noisy), n_rows).mul_(amount[noisy]))
        self.activations.apply(
            z, self.palette[:n_tasks].gather(1, noise.integers(3, n_tasks, width)).flatten()
        )
        return z.view(n_tasks, width, n_rows)

    def _weights(self, n_tasks: int, n_inputs: int) -> Float[Tensor, "B W P"]:
        """Normal weights, some dropped at random, some zero between blocks of nodes."""
        noise, width = self.noise, self.width
        weight = noise.sparse_rows(self.sparsity[:n_tasks].repeat_interleave(width), n_inputs).view(
            n_tasks, width, n_inputs
        )
        blocked = (self.n_blocks[:n_tasks] > 1).nonzero().squeeze(1)
        if len(blocked):
            blocks = self.n_blocks[blocked].unsqueeze(1)
            target = torch.arange(width, device=noise.device) * blocks // width
            source = torch.arange(n_inputs, device=noise.device) * blocks // n_inputs
            weight[blocked] *= target.unsqueeze(2) == source.unsqueeze(1)
        return weight
