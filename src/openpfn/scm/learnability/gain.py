"""`gain_over_majority` and `explained_variance`: how well a task's target can be told from its
columns, cheaply, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.scm.learnability.kernels import MEMBERS, ColumnView
from openpfn.scm.noise import row_moments

MAX_ROWS = 96
"""Rows that are looked at: factorizing a kernel costs their third power."""
LUCK = 0.5
"""What a member after the first must be better than chance by, in standard errors of a gain of 0:
the best of several is better than nothing even where there is nothing to find."""

Judge = Callable[[Int[Tensor, " T"]], Float[Tensor, "T K"]]
"""A member of the committee: what K targets of the tasks with these indices gain."""


def gain_over_majority(
    columns: Float[Tensor, "B D N"],
    labels: Int[Tensor, "B K N"],
    n_classes: int,
    categorical: Bool[Tensor, "B D"] | None = None,
    demanded: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, "B K"]:
    """Best gain that any member of a committee reaches, for K labellings of each task's rows.

    Each member guesses every row's label from the other rows. Its gain is the larger of
    (accuracy − majority) / (1 − majority) and the squared correlation with the classes'
    indicators, which also sees probabilities that shift without changing the likeliest class. 1 is
    perfect, 0 no better than guessing. Members are kernel ridge regressions
    (`openpfn.scm.learnability.kernels`) and a vote of near rows; NaN in `columns` is missing, and
    those in `categorical` hold codes.

    With `demanded`, a task of which some labelling already gains more is not shown to the members
    that remain: then every gain is a lower bound.
    """
    n_rows = min(MAX_ROWS, labels.shape[2])
    view = ColumnView(columns[:, :, :n_rows], categorical)
    y = labels[:, :, :n_rows]
    indicators = F.one_hot(y, n_classes).to(view.values.dtype)  # (B, K, R, C)
    shares = indicators.mean(2, keepdim=True)
    majority = shares.squeeze(2).amax(2)  # (B, K)
    room = (1 - majority).clamp(min=1 / n_rows)

    def vote(tasks: Int[Tensor, " T"]) -> Float[Tensor, "T K"]:
        guess = _vote(view.values[tasks], indicators[tasks])
        right = (guess == y[tasks]).to(room.dtype).mean(2)
        return (right - majority[tasks]) / room[tasks]

    def ridge(kernel: Float[Tensor, "T R R"], tasks: Int[Tensor, " T"]) -> Float[Tensor, "T K"]:
        centred = indicators[tasks] - shares[tasks]
        residual = _left_out_residuals(kernel, centred)
        guess = (indicators[tasks] - residual).argmax(3)
        right = (guess == y[tasks]).to(room.dtype).mean(2)
        explained = _explained(residual.flatten(2), centred.flatten(2))
        return torch.maximum((right - majority[tasks]) / room[tasks], explained)

    linear, *others = _ridges(view, ridge)
    return _best([linear, vote, *others], y.shape, view.values.device, demanded)


def explained_variance(
    columns: Float[Tensor, "B D N"],
    targets: Float[Tensor, "B K N"],
    categorical: Bool[Tensor, "B D"] | None = None,
    demanded: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, "B K"]:
    """Best left-out R² that any ridge regression of the committee reaches, for K numeric targets of
    each task's rows; arguments as for `gain_over_majority`.

    Targets are clipped at three standard deviations, so that no single row decides.
    """
    n_rows = min(MAX_ROWS, targets.shape[2])
    view = ColumnView(columns[:, :, :n_rows], categorical)
    y = _clipped(targets[:, :, :n_rows])

    def ridge(kernel: Float[Tensor, "T R R"], tasks: Int[Tensor, " T"]) -> Float[Tensor, "T K"]:
        residual = _left_out_residuals(kernel, y[tasks].unsqueeze(3)).squeeze(3)
        return _explained(residual, y[tasks])

    return _best(_ridges(view, ridge), y.shape, view.values.device, demanded)


def _ridges(view: ColumnView, judge: Callable[[Tensor, Tensor], Tensor]) -> list[Judge]:
    return [lambda tasks, member=member: judge(member(view, tasks), tasks) for member in MEMBERS]


def _best(
    members: list[Judge],
    shape: torch.Size,
    device: torch.device,
    demanded: Float[Tensor, " B"] | None,
) -> Float[Tensor, "B K"]:
    """The largest gain of all members, cheapest first; tasks that gain more than `demanded` leave
    early."""
    n_tasks, n_targets, n_rows = shape
    gain = torch.full((n_tasks, n_targets), float("-inf"), device=device)
    tasks = torch.arange(n_tasks, device=device)
    for number, member in enumerate(members):
        luck = LUCK / n_rows**0.5 if number else 0.0
        found = member(tasks)
        gain[tasks] = torch.maximum(gain[tasks], found - luck * (1 - found))
        if demanded is not None:
            tasks = (gain <= demanded.unsqueeze(1)).all(1).nonzero().squeeze(1)
            if not len(tasks):
                break
    return gain


def _left_out_residuals(
    kernel: Float[Tensor, "T R R"], targets: Float[Tensor, "T K R C"]
) -> Float[Tensor, "T K R C"]:
    """What kernel ridge regression leaves of each row's centred target when that row is left out.

    `kernel` already has the penalty on its diagonal. With G its inverse and α = G y, the residual
    of row i is α_i / G_ii: one factorization serves all rows and targets.
    """
    n_tasks, n_targets, n_rows, n_outputs = targets.shape
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel))
    flat = targets.transpose(1, 2).reshape(n_tasks, n_rows, n_targets * n_outputs)
    residual = torch.bmm(inverse, flat) / inverse.diagonal(dim1=1, dim2=2).unsqueeze(2)
    return residual.view(n_tasks, n_rows, n_targets, n_outputs).transpose(1, 2)


def _explained(
    residual: Float[Tensor, "T K V"], centred: Float[Tensor, "T K V"]
) -> Float[Tensor, "T K"]:
    """Squared correlation of left-out predictions and targets, negative where they disagree.

    Unlike 1 − residual / total it does not punish a kernel for a penalty that fits a target badly.
    """
    predicted = centred - residual
    product = (predicted * centred).sum(2)
    scale = predicted.square().sum(2) * centred.square().sum(2)
    return product * product.abs() / scale.clamp(min=1e-8)


def _clipped(targets: Float[Tensor, "B K R"]) -> Float[Tensor, "B K R"]:
    """Centred targets of unit variance, within three standard deviations."""
    mean, deviation = row_moments(targets)
    scale = (deviation + 1e-6 * mean.abs() + 1e-12).unsqueeze(2)
    clipped = ((targets - mean.unsqueeze(2)) / scale).clamp_(-3, 3)
    return clipped - clipped.mean(2, keepdim=True)


def _vote(x: Float[Tensor, "T D R"], indicators: Float[Tensor, "T K R C"]) -> Int[Tensor, "T K R"]:
    """Labels of all rows by a leave-one-out vote of near rows.

    Columns are weighted by how much of their variance lies between classes, beyond what chance
    would put there.
    """
    n_tasks, n_labellings, n_rows, n_classes = indicators.shape
    x = x.unsqueeze(1).expand(-1, n_labellings, -1, -1).reshape(-1, x.shape[1], n_rows)
    votes = indicators.reshape(-1, n_rows, n_classes)  # (T·K, R, C)
    counts = votes.sum(1)  # (T·K, C)
    class_means = torch.bmm(x, votes) / counts.clamp(min=1).unsqueeze(1)  # (T·K, D, C)
    # A share of the variance, as columns have variance 1.
    between = (class_means.square() * counts.unsqueeze(1)).sum(2) / n_rows
    chance = ((counts > 0).sum(1, keepdim=True) - 1) / n_rows
    weight = (between - 1.5 * chance).clamp_(min=0)
    weight = weight / weight.sum(1, keepdim=True).clamp_(min=1e-6)
    kernel = _gaussian(x * weight.sqrt().unsqueeze(2))  # (T·K, R, R)
    guess = torch.bmm(kernel, votes).add_(1e-6 * counts.unsqueeze(1)).argmax(2)
    return guess.view(n_tasks, n_labellings, -1)


def _gaussian(x: Float[Tensor, "B D R"]) -> Float[Tensor, "B R R"]:
    """Gaussian weights of rows for each other, as wide as the nearest row is far on average; none
    for the row itself."""
    length = x.square().sum(1)  # (B, R)
    # Squared distances, less each row's own length.
    distance = torch.baddbmm(length.unsqueeze(1), x.transpose(1, 2), x, alpha=-2)
    distance.diagonal(dim1=1, dim2=2).fill_(float("inf"))
    nearest = distance.amin(2, keepdim=True)
    width = (nearest.squeeze(2) + length).mean(1).clamp_(min=1e-3).view(-1, 1, 1)
    # Smaller ones would be slow subnormal numbers.
    return distance.sub_(nearest).div_(-width).clamp_(min=-30).exp_()
