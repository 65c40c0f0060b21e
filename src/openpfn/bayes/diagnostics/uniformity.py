"""Are numbers between 0 and 1 uniform? Tests that see a shift, a wrong spread and a wrong shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre
from scipy import stats

N_COMPONENTS = 4
"""Legendre polynomials that a smooth test looks at: shift, spread, skewness, tails."""


def smooth_test(u: Float[np.ndarray, " R"]) -> float:
    """The p-value of Neyman's smooth test of uniformity (Neyman 1937), for independent numbers.

    It weighs the first four Legendre polynomials alike: many times more powerful than a histogram
    where a posterior is too narrow or too wide.
    """
    scores = legendre_scores(u).mean(axis=0) * np.sqrt(len(u))
    return float(stats.chi2.sf(np.square(scores).sum(), N_COMPONENTS))


def clustered_test(u: Float[np.ndarray, "B N"]) -> float:
    """The same for numbers that depend on each other within each of B rows: a score test that the
    mean scores of the rows are zero, whose covariance is that of the rows."""
    means = legendre_scores(u).mean(axis=1)  # (B, K)
    n, k = means.shape
    if n <= k:
        raise ValueError(f"there are {n} tasks; a test needs more than {k}. Give more tasks.")
    mean, second_moment = means.mean(axis=0), means.T @ means / n
    return float(stats.chi2.sf(n * mean @ np.linalg.pinv(second_moment) @ mean, k))


def legendre_scores(u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... K"]:
    """Return √(2j + 1) P_j(2u − 1) for j = 1 … K: of mean 0 and variance 1 where u is uniform."""
    every = legendre.legvander(2 * u - 1, N_COMPONENTS)[..., 1:]
    return every * np.sqrt(2 * np.arange(1, N_COMPONENTS + 1) + 1)


def of_all(p_values: Any) -> float:
    """The p-value of several tests together, by Bonferroni's bound."""
    each = np.asarray(p_values, dtype=np.float64)
    return float(min(1.0, each.size * each.min()))


def randomised_levels(
    truth: Float[np.ndarray, "..."],
    draws: Float[np.ndarray, "..."],
    generator: np.random.Generator,
) -> Float[np.ndarray, "..."]:
    """Rank of each truth (R, P) among its S draws (R, S, P), as a number in (0, 1) that is exactly
    uniform where truth and draws are exchangeable; ties and the place within a rank are drawn."""
    below = (draws < truth[:, None]).sum(axis=1)
    tied = (draws == truth[:, None]).sum(axis=1)
    rank = below + generator.integers(0, tied + 1)
    return (rank + generator.random(rank.shape)) / (draws.shape[1] + 1)
