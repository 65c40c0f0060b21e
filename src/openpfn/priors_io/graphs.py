"""Layered random graphs shared by the structural priors: widths, which nodes are read, and reading them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.priors_io.noise import Noise

N_SCORES = 6
"""Nodes that a target may be made from."""


def draw_depths(low: int, high: int, n_tasks: int, noise: Noise) -> Int[Tensor, " B"]:
    """Numbers of hidden layers, deepest first; within a chunk they differ by at most two, so that every layer has work for many tasks."""
    base = noise.integers(high - low - 1, 1) + low
    return (base + noise.integers(3, n_tasks)).sort(descending=True).values


def draw_widths(depth: Int[Tensor, " B"], low: int, high: int, n_columns: int, noise: Noise) -> Int[Tensor, " B"]:
    """Hidden widths: one scale for the chunk (so that little is padded), each task a share of it, enough nodes for all columns."""
    scale = noise.log_uniform(low, high, 1)
    width = (scale * noise.uniform(0.65, 1, len(depth))).long()
    return torch.maximum(width, (n_columns + N_SCORES) // depth + 1)


def pick_nodes(
    depth: Int[Tensor, " B"], width: Int[Tensor, " B"], n_causes: Int[Tensor, " B"], direct: Bool[Tensor, " B"],
    n_columns: int, most_width: int, noise: Noise,
) -> Int[Tensor, "B P"]:  # fmt: skip
    """The nodes that become columns (first `n_columns`) and target (last `N_SCORES`), as positions: causes, then layer by layer."""
    n_tasks, device = len(depth), noise.device
    most_causes, deepest = int(n_causes.max()), int(depth[0])
    place = torch.arange(most_causes + deepest * most_width, device=device)
    is_cause = place < most_causes
    layer = torch.where(is_cause, 0, (place - most_causes) // most_width + 1)
    unit = torch.where(is_cause, place, (place - most_causes) % most_width)
    limit = torch.where(is_cause, n_causes.unsqueeze(1), width.unsqueeze(1))
    exists = (unit < limit) & (layer <= depth.unsqueeze(1))                             # (B, places)
    key = noise.uniform(0, 1, n_tasks, len(place))
    start = key.masked_fill(~exists | is_cause, -1).argmax(1, keepdim=True)             # a random node
    clique = noise.flags(0.35, n_tasks, 1)
    near = 1 - (place - start).abs() / len(place)
    column_key = torch.where(clique, near + 0.02 * key, key - 0.5 * is_cause)
    column_key = torch.where(direct.unsqueeze(1), key + 2 * is_cause, column_key).masked_fill(~exists, -9)
    columns = column_key.topk(n_columns, dim=1).indices
    last = layer == depth.unsqueeze(1)
    score_key = noise.uniform(0, 1, n_tasks, len(place))
    anywhere = score_key.masked_fill(~exists | is_cause, -1).argmax(1, keepdim=True)
    score_key = torch.where(noise.flags(0.5, n_tasks, 1), 1 - (place - anywhere).abs() / len(place), score_key - 0.9 * is_cause)
    score_key = torch.where(direct.unsqueeze(1), score_key + 2 * last, score_key).masked_fill(~exists, -9)
    score_key.scatter_(1, columns, -5.0)                                                # the target is never one of the columns
    return torch.cat([columns, score_key.topk(N_SCORES, dim=1).indices], dim=1)


def read_nodes(nodes: Float[Tensor, "B W N"], first: int, n_places: int, picks: Int[Tensor, "B P"], read: Float[Tensor, "A P N"]) -> None:
    """Copy those picked nodes that lie at the places `first` … into `read`."""
    task, slot = ((picks >= first) & (picks < first + n_places)).nonzero(as_tuple=True)
    if len(task):
        source = task * nodes.shape[1] + picks[task, slot] - first
        chosen = nodes.reshape(-1, nodes.shape[2]).index_select(0, source)
        read.view(-1, read.shape[2]).index_copy_(0, task * read.shape[1] + slot, chosen)
