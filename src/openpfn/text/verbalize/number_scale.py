"""`NumberScale`: what the training values of a column of numbers say about any other value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_DEVIATIONS = 3.0
"""Standard deviations from the mean at which a standardised number is clipped."""
N_QUANTILES = 101
N_BINS = 10


@dataclass(frozen=True)
class NumberScale:
    """Mean, deviation and quantiles of a column, learnt from training rows alone.

    A value's answers depend on nothing else, so that no prediction depends on which other rows are
    asked.
    """

    mean: float
    deviation: float
    """Standard deviation; 1 where all values are the same."""
    quantiles: Float[np.ndarray, " 101"]
    """Percentiles 0 to 100."""

    @classmethod
    def fit(cls, values: Float[np.ndarray, " n"]) -> NumberScale:
        """Return the scale of `values`, of which missing ones (NaN) are left out."""
        values = values[~np.isnan(values)]
        if not len(values):
            return cls(0.0, 1.0, np.zeros(N_QUANTILES))
        quantiles = np.quantile(values / 4, np.linspace(0, 1, N_QUANTILES)) * 4  # never overflows
        # interpolation may round past its two neighbours
        return cls(*mean_and_deviation(values), np.maximum.accumulate(quantiles))

    def standardised(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return deviations from the mean, clipped at ±3; 0 where a value is missing."""
        return np.nan_to_num(np.clip(self._deviations(values), -MOST_DEVIATIONS, MOST_DEVIATIONS))

    def six(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 6"]:
        """Return the clipped deviation, the place between least and greatest, the quantile, whether
        the deviation was clipped, whether the value is missing, and 1.

        Of a missing value only the last two are not 0.
        """
        missing = np.isnan(values)
        least, greatest = self.quantiles[0], self.quantiles[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            width = greatest / 2 - least / 2
            place = (values / 2 - least / 2) / (width if width > 0 else 1.0)
        columns = [
            self.standardised(values),
            np.clip(place, 0, 1),
            self.quantile(values),
            np.abs(self._deviations(values)) > MOST_DEVIATIONS,
            missing,
            np.ones(len(values)),
        ]
        return np.nan_to_num(np.stack(columns, axis=1))

    def quantile(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return the share of training values below each value, those equal to it counted half."""
        shares = np.linspace(0, 1, N_QUANTILES)
        from_below = np.interp(values, self.quantiles, shares)
        from_above = -np.interp(-values, -self.quantiles[::-1], -shares[::-1])
        return (from_below + from_above) / 2

    def bins(self, values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, list[str | None]]:
        """Return the place of each value's bin among the bins' texts, and those.

        A bin is a tenth of the training values, as in "18 to 23 (Quantile 0 - 10%)"; a value that
        fills several tenths alone has a bin of its own, as in "0 (Quantile 0 - 70%)". The text of a
        missing value is None.
        """
        edges = self.quantiles[:: (N_QUANTILES - 1) // N_BINS]
        first = np.searchsorted(edges, values, side="left")
        after = np.searchsorted(edges, values, side="right")
        inner = np.clip(after - 1, 0, N_BINS - 1)
        # pairs (first edge, last edge); before the first and after the last edge both are the same
        low = np.where(after - first > 1, first, inner)
        high = np.where(after - first > 1, after - 1, inner + 1)
        low, high = np.where(values < edges[0], -1, low), np.where(values < edges[0], -1, high)
        above = values > edges[-1]
        low, high = np.where(above, N_BINS + 1, low), np.where(above, N_BINS + 1, high)
        missing = np.isnan(values)
        low, high = np.where(missing, -2, low), np.where(missing, -2, high)
        pairs, places = np.unique(np.stack([low, high], axis=1), axis=0, return_inverse=True)
        texts = [_bin_text(edges, int(a), int(b)) for a, b in pairs]
        return places.reshape(-1), texts

    def _deviations(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        with np.errstate(over="ignore"):
            return (values - self.mean) / self.deviation


def mean_and_deviation(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the mean and the standard deviation, which is 1 where all values are the same."""
    size = np.abs(values).max() or 1.0  # so that sums of huge numbers stay finite
    share = values / size
    deviation = float(share.std() * size)
    varies = bool(values.min() < values.max()) and deviation > 0
    return float(share.mean() * size), deviation if varies else 1.0


def spelled(value: float) -> str:
    """Return a number with at most six digits that count, without an exponent where that is short.

    >>> spelled(1234567.0), spelled(0.1), spelled(-3.0), spelled(1e-9)
    ('1234570', '0.1', '-3', '1e-09')
    """
    if value == 0 or 1e-5 <= abs(value) < 1e15:
        rounded = float(f"{value:.6g}") + 0.0  # no minus zero
        return np.format_float_positional(rounded, trim="-")
    return f"{value:.6g}"


def _bin_text(edges: np.ndarray, low: int, high: int) -> str | None:
    if low == -2:
        return None
    if low == -1:
        return f"Lower than {spelled(edges[0])} (Quantile 0%)"
    if low > N_BINS:
        return f"Higher than {spelled(edges[-1])} (Quantile 100%)"
    percents = f"(Quantile {100 // N_BINS * low} - {100 // N_BINS * high}%)"
    if edges[low] == edges[high]:
        return f"{spelled(edges[low])} {percents}"
    return f"{spelled(edges[low])} to {spelled(edges[high])} {percents}"
