"""Kernels by which ridge regression judges whether a target can be told from a table's columns."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.scm.noise import row_moments

N_TREES = 32
SPLITS = [2 + tree % 3 for tree in range(N_TREES)]
"""How many splits each tree has."""
N_CODINGS = 4
"""Orders in which a tree may meet the levels of a category."""
MAX_LEVELS = 64
PENALTY = {"linear": 0.5, "gaussian": 0.1, "trees": 0.2}
"""What is added to the diagonal of each kernel, whose mean diagonal is 1."""
WIDTH = 2.0
"""A pair of rows at the mean squared distance has the Gaussian kernel exp(−WIDTH)."""


class ColumnView:
    """Columns of B tasks as the kernels see them: standardised numbers, and codes as categories.

    The columns of a task are weighted equally; constant ones and padding weigh nothing.
    """

    def __init__(
        self, columns: Float[Tensor, "B D R"], categorical: Bool[Tensor, "B D"] | None = None
    ) -> None:
        present = ~columns.isnan()
        filled = columns.nan_to_num(0.0)
        mean, deviation = row_moments(filled, present)
        spread = deviation + 1e-6 * mean.abs() + 1e-12
        z = (filled - mean.unsqueeze(2)) / spread.unsqueeze(2)
        self.values = z.clamp_(-3, 3).mul_(present)  # (B, D, R)
        self.varies = deviation > 1e-5 * mean.abs() + 1e-9
        self.n_varying = self.varies.sum(1).clamp(min=1)
        none = torch.zeros_like(self.varies)
        self.is_code = none if categorical is None else categorical & self.varies
        # Codes start at 0 in every column that we draw; a missing one is a level of its own.
        codes = torch.where(present, filled, -1.0).long().add_(1) % MAX_LEVELS
        self.codes = torch.where(self.is_code.unsqueeze(2), codes, 0)

    def linear(self, tasks: Int[Tensor, " T"]) -> Float[Tensor, "T R R"]:
        """Mean over the columns of z z′ of numbers and of whether two rows share a level."""
        is_code = self.is_code[tasks]
        z = self.values[tasks].masked_fill(is_code.unsqueeze(2), 0.0)
        kernel = torch.bmm(z.transpose(1, 2), z)
        task, column = is_code.nonzero(as_tuple=True)
        if len(task):
            codes = self.codes[tasks[task], column]  # (M, R)
            same = (codes.unsqueeze(2) == codes.unsqueeze(1)).to(kernel.dtype)
            kernel.index_add_(0, task, same)
        return kernel / self.n_varying[tasks].view(-1, 1, 1)

    def same_leaf(self, tasks: Int[Tensor, " T"]) -> Float[Tensor, "T R R"]:
        """Share of random oblivious trees in which two rows fall into the same leaf."""
        leaf = self._leaves(tasks)
        n_tasks, _, n_rows = leaf.shape
        n_leaves = torch.tensor([1 << splits for splits in SPLITS], device=leaf.device)
        last = n_leaves.cumsum(0)
        inside = torch.zeros(n_tasks, n_rows, int(last[-1]), device=leaf.device)
        inside.scatter_(2, (leaf + (last - n_leaves).unsqueeze(1)).transpose(1, 2), 1.0)
        return torch.bmm(inside, inside.transpose(1, 2)).div_(N_TREES)

    def _leaves(self, tasks: Int[Tensor, " T"]) -> Int[Tensor, "T M R"]:
        """The leaf of each row in each of M trees.

        The questions are the same in every call, so that a task's gain depends on the task alone.
        """
        values, is_code = self.values[tasks], self.is_code[tasks]
        n_tasks, n_columns, n_rows = values.shape
        draws, keys = _forest(str(values.device))
        pool = values.unsqueeze(1).expand(-1, N_CODINGS, -1, -1)
        task, column = is_code.nonzero(as_tuple=True)
        if len(task):
            pool = pool.clone()
            pool[task, :, column] = keys[:, self.codes[tasks[task], column]].transpose(0, 1)
        pool = pool.reshape(n_tasks, N_CODINGS * n_columns, n_rows)
        varying_first = (~self.varies[tasks]).int().argsort(dim=1, stable=True)  # (T, D)
        rank = (draws[0] * self.n_varying[tasks].unsqueeze(1)).long()  # (T, trees · splits)
        asked = (draws[1] * N_CODINGS).long() * n_columns + varying_first.gather(1, rank)
        split = pool.gather(1, asked.unsqueeze(2).expand(-1, -1, n_rows))
        place = (draws[2] * n_rows).long()
        threshold = split.gather(2, place.view(1, -1, 1).expand(n_tasks, -1, 1))
        bits = (split > threshold).view(n_tasks, N_TREES, max(SPLITS), n_rows)
        return (bits * _bit_weights(str(values.device))).sum(2)


def linear(view: ColumnView, tasks: Int[Tensor, " T"]) -> Float[Tensor, "T R R"]:
    """Effects of single columns; every level of a category has its own."""
    return _ready(view.linear(tasks), PENALTY["linear"])


def gaussian(view: ColumnView, tasks: Int[Tensor, " T"]) -> Float[Tensor, "T R R"]:
    """Smooth effects of any number of columns together, such as products of two or three."""
    kernel = view.linear(tasks)
    length = kernel.diagonal(dim1=1, dim2=2)
    distance = length.unsqueeze(1) + length.unsqueeze(2) - 2 * kernel
    width = distance.mean((1, 2)).clamp(min=1e-6).view(-1, 1, 1)
    return _ready(distance.mul_(-WIDTH).div_(width).exp_(), PENALTY["gaussian"])


def trees(view: ColumnView, tasks: Int[Tensor, " T"]) -> Float[Tensor, "T R R"]:
    """Steps, and conjunctions of a few conditions."""
    return _ready(view.same_leaf(tasks), PENALTY["trees"])


MEMBERS = (linear, gaussian, trees)


def _ready(kernel: Float[Tensor, "T R R"], penalty: float) -> Float[Tensor, "T R R"]:
    """The kernel of centred features, scaled to a mean diagonal of 1, with the penalty added.

    Centring uses every row, also the one that is left out. The constant added at the end makes a
    kernel that tells nothing predict 0 for that row, neither its own centred target nor the
    opposite.
    """
    kernel = kernel - kernel.mean(1, keepdim=True)
    kernel -= kernel.mean(2, keepdim=True)
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    kernel /= diagonal.mean(1).clamp(min=1e-6).view(-1, 1, 1)
    kernel.diagonal(dim1=1, dim2=2).add_(penalty)
    return kernel.add_(1 / kernel.shape[1])


@cache
def _forest(device: str) -> tuple[Float[Tensor, "3 S"], Float[Tensor, "C L"]]:
    """Uniform numbers that decide the column, coding and threshold of each split, and the order of
    the levels in each coding."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(3, N_TREES * max(SPLITS), generator=generator)
    keys = torch.rand(N_CODINGS, MAX_LEVELS, generator=generator)
    return draws.to(device), keys.to(device)


@cache
def _bit_weights(device: str) -> Int[Tensor, "M S 1"]:
    """1, 2, 4 … for the splits that each tree has, 0 beyond."""
    level = torch.arange(max(SPLITS))
    return ((1 << level) * (level < torch.tensor(SPLITS).unsqueeze(1))).unsqueeze(2).to(device)
