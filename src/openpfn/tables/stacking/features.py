"""`RowFeatures`: rows of an encoded table as the features of a ridge regression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.tables.moments import unit_mean_and_std
from openpfn.tables.stacking.arrays import Arrays

MOST_LEVELS = 32
"""Levels of a category that have a feature each: the most frequent ones."""
LARGEST = 3.0
"""Standard deviations at which numbers are cut off."""


@dataclass(frozen=True)
class RowFeatures(Arrays):
    """Standardised numbers, a flag where values are missing, and one feature per level of each
    column of codes."""

    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    is_code: Bool[np.ndarray, " D"]
    has_gaps: Bool[np.ndarray, " D"]
    """Columns of numbers of which some are missing in the rows that were fitted."""
    known: Float[np.ndarray, " K"]
    """Levels of the first column of codes in order, then of the second, and so on."""
    ends: Int[np.ndarray, " C"]
    """Where each column's levels end."""

    @classmethod
    def fit(cls, rows: Float[np.ndarray, "n D"], is_code: Bool[np.ndarray, " D"]) -> RowFeatures:
        """Return the features of the columns of `rows`; `is_code` marks those of codes."""
        present = ~np.isnan(rows)
        unit, mean, std = unit_mean_and_std(rows)
        levels = [_frequent(rows[:, j]) for j in np.flatnonzero(is_code)]
        return cls(
            mean * unit,
            std * unit,
            is_code,
            ~is_code & present.any(axis=0) & ~present.all(axis=0),
            np.concatenate([np.empty(0), *levels]),
            np.cumsum([len(one) for one in levels], dtype=np.int64),
        )

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        """Return the features of `rows`."""
        z = np.clip((rows - self.mean) / self.std, -LARGEST, LARGEST)[:, ~self.is_code]
        parts = [np.nan_to_num(z), np.isnan(rows[:, self.has_gaps]).astype(float)]
        for j, start, end in level_spans(self.is_code, self.ends):
            has_level = (rows[:, j, None] == self.known[start:end]).astype(float)
            # two levels say the same twice
            parts.append(2 * has_level[:, :1] - 1 if end - start == 2 else has_level)
        return np.concatenate(parts, axis=1)


def level_spans(
    is_code: Bool[np.ndarray, " D"], ends: Int[np.ndarray, " C"]
) -> Iterator[tuple[int, int, int]]:
    """Yield each column of codes, and where its levels begin and end."""
    starts = np.append(0, ends)[:-1]
    for j, start, end in zip(np.flatnonzero(is_code), starts, ends, strict=True):
        yield int(j), int(start), int(end)


def _frequent(codes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " L"]:
    """Return the most frequent values in order."""
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:MOST_LEVELS]])
