"""`dress_columns`: values of inner nodes to the columns of a table, with the categories, gaps and
blemishes of real ones."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.configs.prior import PriorConfig
from openpfn.scm.levels import MAX_LEVELS
from openpfn.scm.noise import Noise, change_rows, row_moments

MAX_CODES = 20


def dress_columns(
    nodes: Float[Tensor, "B D N"],
    n_features: Int[Tensor, " B"],
    config: PriorConfig,
    noise: Noise,
    is_level: Bool[Tensor, "B D"] | None = None,
) -> tuple[Float[Tensor, "B D N"], Bool[Tensor, "B D"]]:
    """The columns (NaN is missing, padding beyond `n_features` is 0) and which of them hold
    category codes.

    Every blemish befalls a share of the tasks and, in those, a share of the columns drawn per task;
    many tasks stay clean. Values of the columns in `is_level` stand for levels: they become codes.
    """
    n_tasks, width, n_rows = nodes.shape
    real = torch.arange(width, device=nodes.device) < n_features.unsqueeze(1)
    mean, deviation = row_moments(nodes)
    columns = ((nodes - mean.unsqueeze(2)) / deviation.clamp(min=1e-4).unsqueeze(2)).view(
        n_tasks * width, n_rows
    )

    blemish = config.blemish_share
    laws = torch.tensor(
        [
            [blemish, 0.05, 0.5],  # irrelevant
            [blemish, 0.2, 1],  # measured with noise
            [0.4 * blemish, 0.05, 0.4],  # duplicated
            [blemish, 0.1, 1],  # warped
            [config.categorical_share, 0.1, 1],  # categorical
            [blemish, 0.1, 1],  # rounded
            [0.5 * blemish, 0.05, 0.5],  # with outliers
            [blemish, 0.3, 1],  # in other units
            [0.1 * blemish, 0.02, 0.2],  # constant
            [config.missing_share, 0.05, 1],  # with gaps
        ],
        device=nodes.device,
    ).unsqueeze(2)
    share, low, high = laws.unbind(1)  # of tasks; of their columns from … to
    rate = (low + (high - low) * noise.uniform(0, 1, len(laws), n_tasks)) * (
        noise.uniform(0, 1, len(laws), n_tasks) < share
    )
    hit = ((noise.uniform(0, 1, len(laws), n_tasks, width) < rate.unsqueeze(2)) & real).flatten(1)
    (
        irrelevant,
        measured,
        duplicated,
        warped,
        categorical,
        rounded,
        outlying,
        rescaled,
        constant,
        gappy,
    ) = hit
    level = torch.zeros_like(real) if is_level is None else is_level & real
    level = level.flatten()
    irrelevant, measured, duplicated, warped = (
        mask & ~level for mask in (irrelevant, measured, duplicated, warped)
    )
    categorical = categorical | level
    plain = ~categorical
    change_rows(columns, _index(irrelevant), lambda z: noise.normal_rows(len(z), n_rows))
    change_rows(columns, _index(measured), lambda z: _measure(z, noise))
    _duplicate(columns, _index(duplicated), n_features, width, noise)
    change_rows(columns, _index(warped), lambda z: _warp(z, noise))
    change_rows(columns, _index(categorical), lambda z: _codes(z, level[categorical], noise))
    change_rows(columns, _index(rounded & plain), lambda z: _round(z, noise))
    change_rows(columns, _index(outlying & plain), lambda z: _outliers(z, noise))
    change_rows(columns, _index(rescaled & plain), lambda z: _rescale(z, noise))
    change_rows(
        columns, _index(constant), lambda z: torch.zeros_like(z) + noise.integers(3, len(z), 1)
    )
    change_rows(columns, _index(gappy), lambda z: _miss(z, noise))
    columns = columns.view(n_tasks, width, n_rows)
    return columns.masked_fill_(~real.unsqueeze(2), 0.0), categorical.view(n_tasks, width)


def _index(mask: Bool[Tensor, " M"]) -> Int[Tensor, " R"]:
    return mask.nonzero().squeeze(1)


def _measure(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """Measurement noise."""
    return z.addcmul_(noise.normal_rows(*z.shape), noise.log_uniform(0.02, 1, len(z), 1))


def _duplicate(
    columns: Float[Tensor, "M N"],
    index: Int[Tensor, " R"],
    n_features: Int[Tensor, " B"],
    width: int,
    noise: Noise,
) -> None:
    """Replace columns by (noisy, perhaps mirrored) copies of other columns of their task."""
    if len(index):
        task = index // width
        source = columns.index_select(0, task * width + noise.below(n_features[task]))
        sign = torch.where(noise.flags(0.3, len(index), 1), -1.0, 1.0)
        amount = noise.log_uniform(0.01, 0.5, len(index), 1) * noise.flags(0.7, len(index), 1)
        columns.index_copy_(
            0, index, source.mul_(sign).addcmul_(noise.normal_rows(*source.shape), amount)
        )


def _warp(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """A monotone transformation: a power of the magnitude, an exponential or a squashing, rising or
    falling."""
    kind = noise.integers(3, len(z))
    change_rows(
        z,
        (kind == 0).nonzero().squeeze(1),
        lambda v: v.abs().pow_(noise.log_uniform(0.4, 2.5, len(v), 1)).copysign_(v),
    )
    change_rows(
        z,
        (kind == 1).nonzero().squeeze(1),
        lambda v: v.clamp_(-6, 6).mul_(noise.uniform(-1.3, 1.3, len(v), 1)).exp_(),
    )
    change_rows(z, (kind == 2).nonzero().squeeze(1), lambda v: _squash(v, noise))
    return z


def _squash(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    return z.sub_(noise.normal(len(z), 1)).mul_(noise.uniform(0.5, 3, len(z), 1)).sigmoid_()


def _codes(
    z: Float[Tensor, "R N"], is_level: Bool[Tensor, " R"], noise: Noise
) -> Float[Tensor, "R N"]:
    """Category codes 0 … k − 1: one for each value where values are levels or few, else intervals
    of the value. In one of three columns codes rise with the value, in the others they are
    shuffled."""
    ranked, order = z.sort(1)
    rises = (ranked.diff(dim=1) > 0).long()
    rank = torch.cat([torch.zeros_like(rises[:, :1]), rises.cumsum(1)], dim=1)
    n_values = rank[:, -1] + 1
    whole = is_level | (n_values <= min(MAX_LEVELS, z.shape[1] // 4))
    rank = torch.zeros_like(rank).scatter_(1, order, rank) % MAX_LEVELS
    cuts, n_cuts = _intervals(z, ranked, noise)
    codes = torch.where(whole.unsqueeze(1), rank, cuts)
    k = torch.where(whole, n_values.clamp(max=MAX_LEVELS), n_cuts)
    keys = noise.uniform(0, 1, len(z), MAX_LEVELS)
    ordered = noise.flags(0.35, len(z), 1)
    positions = torch.arange(MAX_LEVELS, device=z.device, dtype=z.dtype)
    keys = torch.where(ordered | (positions >= k.unsqueeze(1)), positions, keys)
    return keys.argsort(1).gather(1, codes).to(z.dtype)


def _intervals(
    z: Float[Tensor, "R N"], ranked: Float[Tensor, "R N"], noise: Noise
) -> tuple[Int[Tensor, "R N"], Int[Tensor, " R"]]:
    """The interval of each value between random quantiles, and how many intervals there are."""
    k = torch.where(
        noise.flags(0.35, len(z)),
        2,
        2 + noise.below(noise.log_uniform(2, MAX_CODES, len(z)).long()),
    )
    k.clamp_(max=MAX_CODES)
    shares = 0.1 + noise.uniform(1e-6, 1, len(z), MAX_CODES).log_().neg_()
    shares = shares * (torch.arange(MAX_CODES, device=z.device) < k.unsqueeze(1))
    quantiles = (shares / shares.sum(1, keepdim=True)).cumsum(1)[:, :-1]
    thresholds = ranked.gather(
        1, (quantiles * ranked.shape[1]).long().clamp_(max=ranked.shape[1] - 1)
    )
    thresholds = thresholds.masked_fill(
        torch.arange(MAX_CODES - 1, device=z.device) >= (k - 1).unsqueeze(1), float("inf")
    )
    return torch.searchsorted(thresholds, z, right=True), k


def _round(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """Round to a grid of 3 … 100 steps per standard deviation; half of the columns then count in
    whole numbers from 0."""
    steps = noise.log_uniform(1, 50, len(z), 1)
    counted = z.mul_(steps).round_()
    whole = noise.flags(0.5, len(z), 1)
    return torch.where(whole, counted - counted.amin(1, keepdim=True), counted / steps)


def _outliers(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """A few values 3 … 30 times as large."""
    hit = noise.normal_rows(*z.shape).abs_() > noise.uniform(2, 3.2, len(z), 1)
    return torch.where(hit, z * noise.log_uniform(3, 30, len(z), 1), z)


def _rescale(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """Other units, far from 0."""
    scale = noise.log_uniform(1e-3, 1e3, len(z), 1)
    offset = noise.normal(len(z), 1) * noise.log_uniform(0.1, 20, len(z), 1)
    return z.add_(offset).mul_(scale)


def _miss(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """NaN at random, or, in a third of the columns, above a threshold of a noisy copy of the
    value."""
    hidden = noise.normal_rows(*z.shape)
    mean, deviation = row_moments(z)
    standard = (z - mean.unsqueeze(1)) / (deviation + 1e-12).unsqueeze(1)
    key = torch.where(noise.flags(0.33, len(z), 1), standard.add_(hidden, alpha=0.3), hidden)
    return z.masked_fill_(key > noise.uniform(0.3, 2.3, len(z), 1), float("nan"))
