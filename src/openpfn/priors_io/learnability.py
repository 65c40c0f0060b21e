"""`gain_over_majority`: how well a task's target can be told from its columns, cheaply, for a whole batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.priors_io.noise import row_moments

MAX_ROWS = 128


def gain_over_majority(columns: Float[Tensor, "B D N"], labels: Int[Tensor, "B N"], n_classes: int) -> Float[Tensor, " B"]:
    """(accuracy − majority) / (1 − majority) of a leave-one-out vote of near rows, per task: 1 is perfect, 0 no better than guessing.

    Columns (NaN is missing) are standardised and weighted by how much of their variance lies between classes, beyond what chance
    would put there. At most `MAX_ROWS` rows are looked at. Costs two small matrix products per task; nothing is fitted.
    """
    n_rows = min(MAX_ROWS, labels.shape[1])
    x, y = _standardised(columns[:, :, :n_rows]), labels[:, :n_rows]
    votes = F.one_hot(y, n_classes).to(x.dtype)                                          # (B, R, C)
    counts = votes.sum(1)                                                                 # (B, C)
    class_means = torch.bmm(x, votes) / counts.clamp(min=1).unsqueeze(1)                  # (B, D, C)
    between = (class_means.square() * counts.unsqueeze(1)).sum(2) / n_rows                # share of the variance, as columns have variance 1
    chance = ((counts > 0).sum(1, keepdim=True) - 1) / n_rows
    weight = (between - 1.5 * chance).clamp_(min=0)
    weight = weight / weight.sum(1, keepdim=True).clamp_(min=1e-6)
    kernel = _kernel(x * weight.sqrt().unsqueeze(2))
    right = torch.bmm(kernel, votes).add_(1e-6 * counts.unsqueeze(1)).argmax(2) == y
    majority = counts.max(1).values / n_rows
    return (right.to(x.dtype).mean(1) - majority) / (1 - majority).clamp(min=1 / n_rows)


def _standardised(columns: Float[Tensor, "B D R"]) -> Float[Tensor, "B D R"]:
    present = ~columns.isnan()
    filled = columns.nan_to_num(0.0)
    mean, deviation = row_moments(filled, present)
    z = (filled - mean.unsqueeze(2)) / (deviation + 1e-6 * mean.abs() + 1e-12).unsqueeze(2)
    return z.clamp_(-3, 3).mul_(present)


def _kernel(x: Float[Tensor, "B D R"]) -> Float[Tensor, "B R R"]:
    """Gaussian weights of the other rows, as wide as the nearest of them is far on average; zero on the diagonal."""
    length = x.square().sum(1)                                                            # (B, R)
    distance = torch.baddbmm(length.unsqueeze(1), x.transpose(1, 2), x, alpha=-2)         # up to a constant per row, which the next lines remove
    distance.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    nearest = distance.amin(2, keepdim=True)
    width = (nearest.squeeze(2) + length).mean(1).clamp_(min=1e-3).view(-1, 1, 1)
    return distance.sub_(nearest).div_(-width).exp_()
