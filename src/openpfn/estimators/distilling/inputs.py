"""`Inputs`: encoded rows as numbers near 1 without gaps, for models that need such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.tables.moments import mean_and_variance

FARTHEST = 5.0
"""Standard deviations from the mean at which a value is cut off: what lies beyond the rows that
were learned from is not extrapolated."""


@dataclass(frozen=True)
class Inputs:
    """Numbers standardised, codes one-hot, and a flag for each column with missing values."""

    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    is_code: Bool[np.ndarray, " D"]
    has_gaps: Bool[np.ndarray, " D"]
    """Columns where values were missing."""
    codes: Float[np.ndarray, " K"]
    """Codes of the first column of codes, then of the second, and so on."""
    column: Int[np.ndarray, " K"]
    """Column of each code."""

    @classmethod
    def fit(cls, rows: Float[np.ndarray, "N D"], categorical: Bool[np.ndarray, " D"]) -> Inputs:
        """Return what is learned of `rows`, whose `categorical` columns hold codes."""
        gaps = np.isnan(rows)
        mean, variance = mean_and_variance(rows)
        std = np.where(variance > 0, np.sqrt(variance), 1.0)
        known = [np.unique(rows[~gaps[:, j], j]) for j in np.flatnonzero(categorical)]
        columns = [
            np.full(len(codes), j)
            for j, codes in zip(np.flatnonzero(categorical), known, strict=True)
        ]
        nothing = np.empty(0)
        return cls(
            mean,
            std,
            categorical,
            np.asarray(gaps.any(axis=0)),
            np.concatenate([nothing, *known]),
            np.concatenate([nothing, *columns]).astype(np.int64),
        )

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N F"]:
        """Return `rows` as F numbers each."""
        z = np.clip((rows - self.mean) / self.std, -FARTHEST, FARTHEST)
        numbers = np.nan_to_num(z[:, ~self.is_code])
        flags = np.isnan(rows[:, self.has_gaps])
        one_hot = rows[:, self.column] == self.codes
        return np.concatenate([numbers, flags, one_hot], axis=1, dtype=np.float64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""
        return {f"inputs.{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Inputs:
        """Return the inputs whose `arrays()` are among these."""
        return cls(
            **{
                name.removeprefix("inputs."): array
                for name, array in arrays.items()
                if name.startswith("inputs.")
            }
        )
