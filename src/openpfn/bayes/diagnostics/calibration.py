"""Calibration: does what a model believes come true as often as it says?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats

from openpfn.bayes.diagnostics.uniformity import (
    clustered_test,
    of_all,
    randomised_levels,
    smooth_test,
)
from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical

LEVELS = tuple(np.round(np.arange(0.05, 1, 0.05), 2).tolist())
"""Shares of probability at which coverage is looked at."""


@dataclass(frozen=True)
class Ranks:
    """How high each truth lies among what was believed about it, from 0 to 1."""

    levels: Float[np.ndarray, "R P"]
    """Uniform where beliefs are calibrated."""
    names: list[str]
    """What the P columns are called."""
    p_values: Float[np.ndarray, " P"]
    """By quantity, of a smooth test of uniformity."""
    p_value: float
    """That all are uniform (Bonferroni)."""

    def passes(self, alpha: float = 0.05) -> bool:
        """Whether nothing speaks against calibration at the level `alpha`."""
        return self.p_value >= alpha

    @property
    def spread(self) -> Float[np.ndarray, " P"]:
        """Standard deviation of the truths in those of the belief: above 1 where the belief is too
        narrow, below 1 where it is too wide."""
        return stats.norm.ppf(np.clip(self.levels, 1e-6, 1 - 1e-6)).std(axis=0, ddof=1)

    def plot(self) -> Any:
        """Return a figure: a histogram of each quantity's levels, with the band of 95% of what is
        uniform."""
        from openpfn.plots.diagnostics import ranks_figure

        return ranks_figure(self.levels, self.names, self.p_values)


@dataclass(frozen=True)
class Coverage:
    """How often truths lie within central intervals."""

    levels: Float[np.ndarray, " L"]
    """Share of probability of each interval."""
    covered: Float[np.ndarray, " L"]
    """Share of truths within it."""
    error: Float[np.ndarray, " L"]
    """Standard error of that share, over tasks."""
    p_value: float
    """That all shares are as they should be."""

    def at(self, level: float) -> tuple[float, float]:
        """The share within the interval of this `level`, and its standard error."""
        near = int(np.argmin(np.abs(self.levels - level)))
        if abs(self.levels[near] - level) > 1e-9:
            known = ", ".join(f"{one:g}" for one in self.levels)
            raise ValueError(f"level is {level}; coverage was measured at {known}.")
        return float(self.covered[near]), float(self.error[near])

    def passes(self, alpha: float = 0.05) -> bool:
        """Whether nothing speaks against calibration at the level `alpha`."""
        return self.p_value >= alpha

    def plot(self) -> Any:
        """Return a figure of the share covered against the share that should be."""
        from openpfn.plots.diagnostics import coverage_figure

        return coverage_figure(self.levels, self.covered, self.error)


@dataclass(frozen=True)
class Tarp(Coverage):
    """Coverage of balls around random points, jointly over all parameters."""


def sbc(truth: Any, draws: Any, *, names: Sequence[str] | None = None, seed: int = 0) -> Ranks:
    """Return the simulation-based calibration of posterior draws (Talts et al. 2018).

    `truth` (R,) or (R, P) are parameters drawn from the prior, `draws` (R, S) or (R, S, P) those of
    the posterior given data of each, or a `MartingalePosterior` of a batch; see `simulated`. Under
    the true posterior the ranks are uniform; they are told as levels, with the place within a rank
    drawn from `seed`.
    """
    true, drawn = truths_and_draws(truth, draws)
    levels = randomised_levels(true, drawn, np.random.default_rng(seed))
    return ranks_of(levels, names)


def ranks_of(levels: Float[np.ndarray, "R P"], names: Sequence[str] | None = None) -> Ranks:
    """Return what levels, one per independent task and quantity, say about calibration."""
    p_values = np.array([smooth_test(column) for column in levels.T])
    return Ranks(levels, _named(names, levels.shape[1]), p_values, of_all(p_values))


def pit(y: Any, predictive: Predictive, *, seed: int = 0) -> Ranks:
    """Return the probability integral transforms of targets: the level of each in what was
    predicted for it (Dawid 1984).

    `y` (B, N) and the axes of `predictive` agree, or (N,) for single independent rows. Levels of
    one task may depend on each other; the test looks at the tasks as wholes. Classes are spread
    over their step of the distribution function, by `seed`.
    """
    target = torch.as_tensor(y)
    if target.shape != predictive.shape:
        raise ValueError(
            f"y has shape {tuple(target.shape)} and the predictive {tuple(predictive.shape)}: they"
            " must agree."
        )
    _some("y", target.numel())
    with torch.no_grad():
        above = predictive.cdf(target).double().cpu().numpy()
        if isinstance(predictive, Categorical):
            below = predictive.cdf(target - 1).double().cpu().numpy()
            above = below + np.random.default_rng(seed).random(above.shape) * (above - below)
    levels = np.clip(above, 0.0, 1.0)
    if levels.ndim == 1 or levels.shape[1] == 1:
        return ranks_of(levels.reshape(-1, 1), ["y"])
    flat = levels.reshape(len(levels), -1)
    p = clustered_test(flat)
    return Ranks(flat.reshape(-1, 1), ["y"], np.array([p]), p)


def coverage(
    truth: Any, belief: Any, *, levels: Sequence[float] = LEVELS, seed: int = 0
) -> Coverage:
    """Return how many truths lie within central intervals of each of `levels`.

    `belief` is posterior draws of parameters as in `sbc`, or the `Predictive` of targets as in
    `pit`. The standard errors are over tasks: numbers of one task need not be independent.
    """
    if isinstance(belief, Predictive):
        shape = tuple(belief.shape)
        at = pit(truth, belief, seed=seed).levels.reshape(shape[0], -1)
    else:
        true, drawn = truths_and_draws(truth, belief)
        at = randomised_levels(true, drawn, np.random.default_rng(seed))
    from_middle = np.abs(2 * at - 1)  # (B, N): the least level whose interval holds the truth
    shares = _checked_levels(levels)
    within = (from_middle[..., None] <= shares).mean(axis=1)  # (B, L)
    p = smooth_test(from_middle[:, 0]) if from_middle.shape[1] == 1 else clustered_test(from_middle)
    return Coverage(shares, within.mean(axis=0), _error(within), p)


def tarp(truth: Any, draws: Any, *, levels: Sequence[float] = LEVELS, seed: int = 0) -> Tarp:
    """Return tests of accuracy with random points (Lemos et al. 2023): how often a truth is nearer
    to a random point than a share of the draws is.

    Sees what margins do not: draws whose parameters are rightly spread but wrongly correlated.
    `truth` and `draws` are as in `sbc`; points are uniform over where the truths are, and distances
    in standard deviations of the truths.
    """
    true, drawn = truths_and_draws(truth, draws)
    random = np.random.default_rng(seed)
    scale = true.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    low, high = true.min(axis=0), true.max(axis=0)
    points = low + (high - low) * random.random(true.shape)
    to_truth = np.square((true - points) / scale).sum(axis=-1)  # (R,)
    to_draws = np.square((drawn - points[:, None]) / scale).sum(axis=-1)  # (R, S)
    at = randomised_levels(to_truth[:, None], to_draws[..., None], random)
    shares = _checked_levels(levels)
    within = (at <= shares).astype(np.float64)  # (R, L)
    return Tarp(shares, within.mean(axis=0), _error(within), smooth_test(at[:, 0]))


def truths_and_draws(
    truth: Any, draws: Any
) -> tuple[Float[np.ndarray, "R P"], Float[np.ndarray, "R S P"]]:
    """`truth` and `draws` with all their axes. Raises ValueError where they do not go together."""
    true = np.asarray(truth, dtype=np.float64)
    drawn = np.asarray(getattr(draws, "samples", draws), dtype=np.float64)
    if true.ndim == 1:
        true = true[:, None]
        drawn = drawn[..., None] if drawn.ndim == 2 else drawn
    shape = drawn.shape
    if drawn.ndim != 3 or true.ndim != 2 or (shape[0], shape[2]) != true.shape:
        raise ValueError(
            f"truth has shape {np.shape(truth)} and draws {shape}; expected (R, P) and (R, S, P):"
            " parameters of R tasks, and S draws for each."
        )
    _some("truth", len(true))
    if not (np.isfinite(true).all() and np.isfinite(drawn).all()):
        raise ValueError("truth or draws hold NaN or infinite values. Leave these tasks out.")
    return true, drawn


def _some(name: str, n: int) -> None:
    if n == 0:
        raise ValueError(f"{name} is empty: there is nothing to test. Give at least one task.")


def _checked_levels(levels: Sequence[float]) -> Float[np.ndarray, " L"]:
    shares = np.asarray(levels, dtype=np.float64).reshape(-1)
    if not len(shares) or not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"levels is {levels}; shares must lie between 0 and 1, such as 0.9.")
    return shares


def _error(within: Float[np.ndarray, "B L"]) -> Float[np.ndarray, " L"]:
    return within.std(axis=0, ddof=1 if len(within) > 1 else 0) / np.sqrt(len(within))


def _named(names: Sequence[str] | None, n: int) -> list[str]:
    if names is not None and len(names) != n:
        raise ValueError(f"there are {len(names)} names for {n} quantities. Give one for each.")
    return [f"parameter {i}" for i in range(n)] if names is None else list(names)
