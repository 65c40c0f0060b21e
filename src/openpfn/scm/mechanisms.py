"""`MECHANISMS`: random functions by which nodes of a graph follow from their parents, many nodes at
a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.activations import Activations
from openpfn.scm.levels import MAX_LEVELS
from openpfn.scm.noise import Noise

Mechanism = Callable[[Tensor, Tensor, int, Noise], Tensor]
"""(inputs (R, I, N), n_inputs (R), d, noise) -> outputs (R, d, N): d values of R nodes. The first
`n_inputs` inputs of each node are about standardised; it does not see the others."""

N_WAVES = 16
MAX_TREES, MAX_SPLITS = 6, 4


def linear(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Weighted sums."""
    return torch.bmm(weights(inputs, n_inputs, d, noise), inputs)


def neural(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Activations of weighted sums."""
    slope = noise.log_uniform(0.5, 2, len(inputs), 1, 1)
    offset = noise.normal(len(inputs), d, 1)
    z = torch.baddbmm(offset, weights(inputs, n_inputs, d, noise) * slope, inputs)
    activations = Activations(noise)
    kinds = activations.draw(len(inputs), 1).expand(-1, d).flatten()
    flat = z.view(-1, z.shape[2])
    activations.apply(flat, kinds)
    return flat.view_as(z)


def quadratic(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Quadratic forms of rank one, with a linear part in half of the nodes."""
    both = torch.bmm(weights(inputs, n_inputs, 2 * d, noise), inputs)
    first, second = both[:, :d], both[:, d:]
    share = noise.uniform(0, 1, len(inputs), 1, 1) * noise.flags(0.5, len(inputs), 1, 1)
    return first * (second + share)


def product(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Products of two inputs, or of three."""
    n_nodes, width, n_rows = inputs.shape
    picked = noise.below(n_inputs, d, 3) + width * torch.arange(n_nodes, device=inputs.device).view(
        -1, 1, 1
    )
    factors = inputs.reshape(-1, n_rows)[picked]  # (R, d, 3, N)
    third = noise.flags(0.25, n_nodes, 1, 1)
    return factors[:, :, 0] * factors[:, :, 1] * torch.where(third, factors[:, :, 2], 1.0)


def smooth(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Sums of waves in random directions: nearly samples of a Gaussian process (Rahimi and Recht
    2007)."""
    n_nodes = len(inputs)
    frequency = noise.log_uniform(0.4, 3, n_nodes, 1, 1)
    phase = noise.uniform(0, 6.2832, n_nodes, N_WAVES, 1)
    direction = weights(inputs, n_inputs, N_WAVES, noise) * frequency
    waves = torch.baddbmm(phase, direction, inputs).cos_()
    return torch.bmm(noise.normal(n_nodes, d, N_WAVES), waves)


def trees(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """Sums of random oblivious trees; splits follow the quantiles of the inputs."""
    n_nodes, width, n_rows = inputs.shape
    n_trees = int(noise.log_uniform(1, MAX_TREES + 1, 1))
    n_splits = 1 + int(noise.integers(MAX_SPLITS, 1))
    node = torch.arange(n_nodes, device=inputs.device).view(-1, 1, 1)
    asked = noise.below(n_inputs, n_trees, n_splits) + width * node  # (R, T, S)
    values = inputs.reshape(-1, n_rows).index_select(0, asked.flatten())
    threshold = values.gather(1, noise.integers(n_rows, len(values), 1))
    bits = (values > threshold).view(n_nodes, n_trees, n_splits, n_rows)
    leaf = bits[:, :, 0].long()
    for split in range(1, n_splits):
        leaf.add_(bits[:, :, split], alpha=1 << split)  # (R, T, N)
    table = noise.normal_rows(n_nodes * n_trees * d, 1 << n_splits)
    table = table.view(n_nodes, n_trees, d, -1)
    total = torch.zeros(n_nodes, d, n_rows, device=inputs.device)
    for tree in range(n_trees):
        place = leaf[:, tree].unsqueeze(1).expand(-1, d, -1)
        total += table[:, tree].gather(2, place)
    return total


def levels(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d N"]:
    """A random vector of each level of a category; a row's level is that of the nearest of 2 to 50
    rows, some of which win seldom."""
    n_nodes, width, n_rows = inputs.shape
    most = int(noise.log_uniform(2, MAX_LEVELS + 1, 1).clamp(max=MAX_LEVELS))
    n_levels = 2 + noise.integers(most - 1, n_nodes, 1)
    rows = noise.integers(n_rows, n_nodes, 1, most).expand(-1, width, -1)
    seen = torch.arange(width, device=inputs.device) < n_inputs.unsqueeze(1)
    centres = inputs.gather(2, rows).mul_(seen.unsqueeze(2)).transpose(1, 2)  # (R, K, I)
    handicap = centres.square().sum(2)
    rare = noise.flags(0.5, n_nodes, 1) * noise.uniform(0, 3, n_nodes, 1)
    handicap += rare * noise.normal(n_nodes, most).abs()
    absent = torch.arange(most, device=inputs.device) >= n_levels
    handicap = handicap.masked_fill_(absent, float("inf"))
    nearness = torch.baddbmm(-handicap.unsqueeze(2), 2 * centres, inputs)  # (R, K, N)
    level = nearness.argmax(1, keepdim=True).expand(-1, d, -1)
    return noise.normal(n_nodes, d, most).gather(2, level)


MECHANISMS: dict[str, tuple[float, Mechanism]] = {
    "linear": (0.15, linear),
    "neural": (0.2, neural),
    "quadratic": (0.1, quadratic),
    "product": (0.1, product),
    "smooth": (0.15, smooth),
    "trees": (0.15, trees),
    "levels": (0.15, levels),
}
"""Weights of the mechanisms, and the mechanisms, by name."""


def weights(
    inputs: Float[Tensor, "R I N"], n_inputs: Int[Tensor, " R"], d: int, noise: Noise
) -> Float[Tensor, "R d I"]:
    """Normal weights of the inputs that a node sees, so that sums have about unit variance."""
    n_nodes, width, _ = inputs.shape
    seen = torch.arange(width, device=inputs.device) < n_inputs.unsqueeze(1)
    scale = seen / n_inputs.unsqueeze(1).sqrt()
    return noise.normal(n_nodes, d, width) * scale.unsqueeze(1)
