"""`gain_over_majority`: how well a task's target can be told from its columns, cheaply, for a whole
batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.noise import row_moments

MAX_ROWS = 128
MAX_VOTERS = 64
"""Rows that are looked at, and those among them whose label is guessed."""


def gain_over_majority(
    columns: Float[Tensor, "B D N"], labels: Int[Tensor, "B K N"], n_classes: int
) -> Float[Tensor, "B K"]:
    """(accuracy − majority) / (1 − majority) of a leave-one-out vote of near rows, for K labellings
    of each task's rows.

    1 is perfect, 0 no better than guessing. Columns (NaN is missing) are standardised and weighted
    by how much of their variance lies between classes, beyond what chance would put there. Costs a
    few small matrix products per labelling; nothing is fitted.
    """
    n_tasks, n_columns, _ = columns.shape
    n_labellings = labels.shape[1]
    n_rows = min(MAX_ROWS, labels.shape[2])
    x = _standardised(columns[:, :, :n_rows])
    x = (
        x.unsqueeze(1).expand(-1, n_labellings, -1, -1).reshape(-1, n_columns, n_rows)
    )  # (B·K, D, R)
    y = labels[:, :, :n_rows].reshape(-1, n_rows)
    votes = F.one_hot(y, n_classes).to(x.dtype)  # (B·K, R, C)
    counts = votes.sum(1)  # (B·K, C)
    class_means = torch.bmm(x, votes) / counts.clamp(min=1).unsqueeze(1)  # (B·K, D, C)
    between = (class_means.square() * counts.unsqueeze(1)).sum(
        2
    ) / n_rows  # a share, as columns have variance 1
    chance = ((counts > 0).sum(1, keepdim=True) - 1) / n_rows
    weight = (between - 1.5 * chance).clamp_(min=0)
    weight = weight / weight.sum(1, keepdim=True).clamp_(min=1e-6)
    kernel = _kernel(x * weight.sqrt().unsqueeze(2), MAX_VOTERS)  # (B·K, V, R)
    guess = torch.bmm(kernel, votes).add_(1e-6 * counts.unsqueeze(1)).argmax(2)
    accuracy = (guess == y[:, :MAX_VOTERS]).to(x.dtype).mean(1)
    majority = counts.max(1).values / n_rows
    return ((accuracy - majority) / (1 - majority).clamp(min=1 / n_rows)).view(
        n_tasks, n_labellings
    )


def _standardised(columns: Float[Tensor, "B D R"]) -> Float[Tensor, "B D R"]:
    present = ~columns.isnan()
    filled = columns.nan_to_num(0.0)
    mean, deviation = row_moments(filled, present)
    z = (filled - mean.unsqueeze(2)) / (deviation + 1e-6 * mean.abs() + 1e-12).unsqueeze(2)
    return z.clamp_(-3, 3).mul_(present)


def _kernel(x: Float[Tensor, "B D R"], n_voters: int) -> Float[Tensor, "B V R"]:
    """Gaussian weights of all rows for the first `n_voters`, as wide as the nearest row is far on
    average; none for the row itself."""
    length = x.square().sum(1)  # (B, R)
    own = length[:, :n_voters]
    distance = torch.baddbmm(
        length.unsqueeze(1), x[:, :, :n_voters].transpose(1, 2), x, alpha=-2
    )  # squared, less each row's own length
    distance.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    nearest = distance.amin(2, keepdim=True)
    width = (nearest.squeeze(2) + own).mean(1).clamp_(min=1e-3).view(-1, 1, 1)
    return (
        distance.sub_(nearest).div_(-width).clamp_(min=-30).exp_()
    )  # smaller ones would be slow subnormal numbers
