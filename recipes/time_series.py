"""A forecast of a time series with a regressor of tables: every moment is a row, its columns are
features of time (after Hoo et al. 2025).

The columns are the time itself, and sine and cosine of the longest periods that the past shows and
of those that the calendar knows. The answer is a distribution for each moment to come.

python recipes/time_series.py --checkpoint CHECKPOINT_THAT_PREDICTS_NUMBERS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

N_PERIODS = 3
"""Periods that are looked for in the past."""


def periods_of(y: Float[np.ndarray, " n"], most: int = N_PERIODS) -> list[float]:
    """Return the periods, in steps, of the strongest waves in `y` once its trend is taken out, each
    seen at least twice."""
    steps = np.arange(len(y))
    flat = y - np.polyval(np.polyfit(steps, y, 1), steps)
    strength = np.abs(np.fft.rfft(flat * np.hanning(len(y))))
    strength[:2] = 0.0  # a wave as long as the series is no period
    is_peak = strength >= np.maximum(np.roll(strength, 1), np.roll(strength, -1))
    found = [k for k in np.argsort(-strength) if is_peak[k] and strength[k] > 0][:most]
    return [len(y) / float(k) for k in found]


def features(steps: Float[np.ndarray, " n"], periods: Sequence[float]) -> pd.DataFrame:
    """Return the columns of moments: the time, and a wave of each period."""
    columns = {"time": steps}
    for period in periods:
        angle = 2 * np.pi * steps / period
        columns |= {f"sine {period:g}": np.sin(angle), f"cosine {period:g}": np.cos(angle)}
    return pd.DataFrame(columns)


def forecast(
    regressor: Any,
    y: Float[np.ndarray, " n"],
    horizon: int,
    *,
    periods: Sequence[float] = (),
    levels: Sequence[float] = (0.1, 0.5, 0.9),
) -> Float[np.ndarray, "horizon L"]:
    """Return quantiles of the next values of `y`. `periods` that are known (7 for days of a week)
    join those that `y` shows.

    The regressor learns what is left of `y` beside a line, as it does not extrapolate.
    """
    steps = np.arange(len(y) + horizon, dtype=float)
    columns = features(steps, sorted({*periods, *periods_of(y)}))
    trend = np.polyval(np.polyfit(steps[: len(y)], y, 1), steps)
    regressor.fit(columns[: len(y)], y - trend[: len(y)])
    left = regressor.predict(columns[len(y) :], output="quantiles", quantiles=list(levels))
    return trend[len(y) :, None] + left


def drawn_sales(n: int, seed: int = 0) -> Float[np.ndarray, " n"]:
    """Return drawn sales by the day: a trend, a week and a month."""
    random = np.random.default_rng(seed)
    day = np.arange(n)
    week = np.array([0, 0, 1, 1, 3, 6, 4])[day % 7]
    return 50 + 0.1 * day + 2 * week + 4 * np.sin(2 * np.pi * day / 30.4) + random.normal(size=n)


def main(arguments: list[str]) -> None:
    """Forecast four weeks of drawn sales, beside the same day of the last week."""
    from openpfn import PFNRegressor

    checkpoint = arguments[arguments.index("--checkpoint") + 1] if arguments else "auto"
    y = drawn_sales(228)
    past, future = y[:200], y[200:]
    low, middle, high = forecast(PFNRegressor(checkpoint), past, 28, periods=[7]).T
    last_week = np.tile(past[-7:], 4)
    print(f"mean error {np.abs(middle - future).mean():.2f}")
    print(f"that of last week's values {np.abs(last_week - future).mean():.2f}")
    print(f"{np.mean((low <= future) & (future <= high)):.0%} within the 80% interval")


if __name__ == "__main__":
    main(sys.argv[1:])
