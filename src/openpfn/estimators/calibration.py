"""The choice of one factor by answers that are out of fold: a temperature, or a width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FACTORS = np.geomspace(0.5, 2.0, 33)
"""Factors to choose from; 1 is in the middle."""
USUAL_SIZE = 0.3
"""Standard deviation of the logarithm of the factor over tables, as far as one knows before."""
FEWEST_ROWS = 10
"""With fewer rows the factor stays 1."""
MOST_JUDGED = 512
"""Held-out rows that choose the temperature of more classes than a network tells apart."""
LEAST_PROBABILITY = 1e-7
"""A smaller probability of the true class counts as this."""


def best_factor(loss: Callable[[float], float], n_rows: int) -> float:
    """Return the most probable of `FACTORS`: `loss` is the mean surprise of `n_rows` rows in nats,
    and the logarithm of the factor is normal around 0, so that few rows do not lead far from 1."""
    surprise = np.array([loss(float(factor)) for factor in FACTORS])
    unlikely = (np.log(FACTORS) / USUAL_SIZE) ** 2 / 2
    return float(FACTORS[np.argmin(n_rows * surprise + unlikely)])
