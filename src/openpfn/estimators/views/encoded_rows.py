"""`EncodedRows`: rows of a table as numbers, with the features of their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class EncodedRows:
    """N rows that a `TableEncoder` read."""

    numbers: Float[np.ndarray, "N D"]
    """Columns as numbers."""
    texts: Any = None
    """Features (N, F) of all texts, as a sparse matrix; None without any."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: Int[np.ndarray, " n"] | Bool[np.ndarray, " N"]) -> EncodedRows:
        """Return the `chosen` rows."""
        texts = None if self.texts is None else self.texts[chosen]
        return EncodedRows(self.numbers[chosen], texts)


def columns_that_vary(rows: Float[np.ndarray, "n D"]) -> Int[np.ndarray, " S"]:
    """Return the columns with at least two different values, where missing counts as one."""
    missing = np.isnan(rows)
    filled = np.where(missing, np.inf, rows)
    highest = np.where(missing, -np.inf, rows).max(axis=0, initial=-np.inf)
    lowest = filled.min(axis=0, initial=np.inf)
    return np.flatnonzero((highest > lowest) | (missing.any(axis=0) & ~missing.all(axis=0)))
