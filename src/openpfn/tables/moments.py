"""Mean, variance and scale of each column's present values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Columns = Float[np.ndarray, " D"]


def mean_and_variance(rows: Float[np.ndarray, "N D"]) -> tuple[Columns, Columns]:
    """Return those of the present values of each column; 0 where there are none."""
    gaps = np.isnan(rows)
    n_present = np.maximum((~gaps).sum(axis=0), 1)
    mean = np.where(gaps, 0.0, rows).sum(axis=0) / n_present
    return mean, np.where(gaps, 0.0, (rows - mean) ** 2).sum(axis=0) / n_present


def unit_mean_and_std(rows: Float[np.ndarray, "N D"]) -> tuple[Columns, Columns, Columns]:
    """Return the largest size of each column's present values (1 where all are 0), and mean and
    standard deviation in this unit (1 where they hardly differ), which keeps the squares of huge
    values finite."""
    largest = np.nanmax(np.abs(rows), axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    mean, variance = mean_and_variance(rows / unit)
    return unit, mean, np.where(variance > 1e-24, np.sqrt(variance), 1.0)
