"""`draw_targets`: values of inner nodes to numeric targets, with the noise, shapes and scales of
real ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.scm.labels import standardise
from openpfn.scm.noise import Noise, change_rows

SHAPES = {
    "plain": 0.52,
    "exponential": 0.12,
    "power": 0.08,
    "counts": 0.1,
    "rounded": 0.08,
    "censored": 0.1,
}
NOISES = {"none": 0.2, "normal": 0.35, "heavy": 0.15, "varying": 0.3}
MODES_SHARE = 0.1
OUTLIER_SHARE = 0.08
RESCALED_SHARE = 0.4
LARGEST = 4.0


def draw_targets(scores: Float[Tensor, "B T N"], noise: Noise) -> Float[Tensor, "B N"]:
    """One numeric target of every task's rows, in units of its own.

    `scores` are standardised values of T neighbouring inner nodes. The first one, plus noise whose
    width may depend on another, takes one of the `SHAPES`; a few tasks get outliers.
    """
    n_tasks, n_scores, n_rows = scores.shape
    scores = scores.clamp(-LARGEST, LARGEST)
    other = scores[:, -1 if n_scores > 1 else 0]
    y = _modes(scores[:, 0], other, noise)
    y = y + _jitter(other, noise)
    shape = noise.choice(list(SHAPES.values()), n_tasks)
    for number, name in enumerate(SHAPES):
        change_rows(
            y,
            (shape == number).nonzero().squeeze(1),
            lambda z, name=name: _shaped(z, name, noise),
        )
    counted = (shape == list(SHAPES).index("counts")).unsqueeze(1)  # counts keep their unit
    y = torch.where(counted, y, standardise(y.unsqueeze(1)).squeeze(1))
    outlying = noise.flags(OUTLIER_SHARE, n_tasks, 1)
    hit = outlying & noise.flags(noise.uniform(0.005, 0.05, n_tasks, 1), n_tasks, n_rows)
    y = torch.where(hit & ~counted, y * noise.log_uniform(3, 20, n_tasks, n_rows), y)
    rescaled = noise.flags(RESCALED_SHARE, n_tasks, 1)
    offset = noise.normal(n_tasks, 1) * noise.log_uniform(0.1, 20, n_tasks, 1)
    factor = noise.log_uniform(1e-3, 1e3, n_tasks, 1)
    return torch.where(rescaled & ~counted, (y + offset) * factor, y)


def _modes(
    y: Float[Tensor, "B N"], other: Float[Tensor, "B N"], noise: Noise
) -> Float[Tensor, "B N"]:
    """In a few tasks some rows follow another score, far off: at random, or where that score is
    large."""
    chosen = noise.flags(MODES_SHARE, len(y), 1)
    by_score = noise.flags(0.5, len(y), 1)
    key = torch.where(by_score, other, noise.normal_rows(*y.shape))
    away = noise.uniform(1.5, 4, len(y), 1) * noise.normal(len(y), 1).sign()
    hit = chosen & (key > noise.uniform(-0.5, 1, len(y), 1))
    return torch.where(hit, 0.5 * (other + y) + away, y)


def _jitter(other: Float[Tensor, "B N"], noise: Noise) -> Float[Tensor, "B N"]:
    """Noise: none, normal, heavy-tailed, or of a width that varies with another score."""
    n_tasks, n_rows = other.shape
    jitter = noise.normal_rows(n_tasks, n_rows)
    kind = noise.choice(list(NOISES.values()), n_tasks).view(-1, 1)
    # A normal number divided by an independent one's magnitude has Cauchy tails; the root of it
    # has those of a t distribution with two degrees of freedom.
    tail = jitter * (0.05 + noise.normal_rows(n_tasks, n_rows).abs()).rsqrt()
    jitter = torch.where(kind == 2, tail, jitter)
    slope = noise.uniform(0.3, 1.2, n_tasks, 1)
    jitter = torch.where(kind == 3, jitter * (other * slope).exp().clamp(max=8), jitter)
    return jitter * noise.log_uniform(0.03, 1, n_tasks, 1) * (kind > 0)


def _shaped(z: Float[Tensor, "R N"], name: str, noise: Noise) -> Float[Tensor, "R N"]:
    z = z.clamp(-8, 8)
    if name == "exponential":
        return (z * noise.uniform(-1.3, 1.3, len(z), 1)).exp()
    if name == "power":
        return z.abs().pow(noise.log_uniform(0.4, 2.5, len(z), 1)).copysign(z)
    if name == "counts":
        rate = (z * noise.uniform(0.3, 1.2, len(z), 1) + noise.uniform(-0.5, 3.5, len(z), 1)).exp()
        return torch.poisson(rate.clamp(max=1e4), generator=noise.generator)
    if name == "rounded":
        steps = noise.log_uniform(0.7, 20, len(z), 1)
        return (z * steps).round() / steps
    if name == "censored":
        low = noise.uniform(-2.5, 0.3, len(z), 1)
        high = noise.uniform(0.7, 2.5, len(z), 1)
        side = noise.integers(3, len(z), 1)  # below, above, on both sides
        z = torch.where(side != 1, z.maximum(low), z)
        return torch.where(side != 0, z.minimum(high), z)
    return z
