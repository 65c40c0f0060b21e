"""Target statistics: what the context's targets are on average in each level of a column of many
categories, as further columns that leak no target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openpfn.estimators.views.canonical import folds
from openpfn.tables.encode import TableEncoder

FEWEST_LEVELS = 8
"""Columns of words with fewer different values get no statistics."""
ROWS_PER_LEVEL = 1.5
"""Levels with fewer context rows than this, on average, say nothing."""
PRIOR_ROWS = 4.0
"""Rows of the mean over all levels that are added to each level (Micci-Barreca 2001)."""


@dataclass(frozen=True)
class TargetStatistics:
    """Smoothed means of T target columns per level of C columns of an encoded table.

    The rows that it was fitted to must not be shown their own: their columns are those of
    `out_of_fold`.
    """

    spans: Int[np.ndarray, "C 2"]
    """First and last place, exclusive, of each column among the encoded ones."""
    levels: list[Float[np.ndarray, "L w"]]
    """Per column, its levels as they are encoded."""
    means: list[Float[np.ndarray, "L1 T"]]
    """Per column, a row per level, and one for values that are missing or new."""

    @classmethod
    def fit(
        cls,
        spans: Int[np.ndarray, "C 2"],
        rows: Float[np.ndarray, "n D"],
        targets: Float[np.ndarray, "n T"],
    ) -> TargetStatistics:
        """Return the statistics of context rows; `spans` are those of `columns_of_words`."""
        levels, means = [], []
        for start, end in spans:
            values = rows[:, start:end]
            known = np.unique(values[~np.isnan(values).any(axis=1)], axis=0)
            place = _places(values, known)
            sums = np.zeros((len(known) + 1, targets.shape[1]))
            np.add.at(sums, place, targets)
            counts = np.bincount(place, minlength=len(known) + 1)[:, None]
            prior = targets.mean(axis=0)
            sums[-1], counts[-1] = 0.0, 0
            levels.append(known)
            means.append((sums + PRIOR_ROWS * prior) / (counts + PRIOR_ROWS))
        return cls(spans, levels, means)

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N S"]:
        """Return the statistics of other rows than those that were fitted."""
        columns = [np.empty((len(rows), 0))]
        for (start, end), known, means in zip(self.spans, self.levels, self.means, strict=True):
            columns.append(means[_places(rows[:, start:end], known)])
        return np.concatenate(columns, axis=1)

    @classmethod
    def out_of_fold(
        cls,
        spans: Int[np.ndarray, "C 2"],
        rows: Float[np.ndarray, "n D"],
        targets: Float[np.ndarray, "n T"],
    ) -> Float[np.ndarray, "n S"]:
        """Return the statistics of the fitted rows, each from the rows of other folds."""
        columns = np.empty((len(rows), len(spans) * targets.shape[1]))
        for inside, outside in folds(len(rows)):
            fitted = cls.fit(spans, rows[inside], targets[inside])
            columns[outside] = fitted(rows[outside])
        return columns

    @property
    def n_columns(self) -> int:
        """Number of columns that it adds."""
        return sum(means.shape[1] for means in self.means)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by name."""
        named = {f"{i}.levels": known for i, known in enumerate(self.levels)}
        named |= {f"{i}.means": means for i, means in enumerate(self.means)}
        return {"spans": self.spans} | named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TargetStatistics:
        """Return the statistics whose `arrays()` these were."""
        spans = arrays["spans"]
        return cls(
            spans,
            [arrays[f"{i}.levels"] for i in range(len(spans))],
            [arrays[f"{i}.means"] for i in range(len(spans))],
        )


def columns_of_words(
    encoder: TableEncoder, rows: Float[np.ndarray, "n D"]
) -> Int[np.ndarray, "C 2"]:
    """Return where the columns of many categories lie among the encoded ones. `rows`, the context,
    decides by its words alone, not by its targets."""
    spans, start = [], 0
    for one in encoder.encoders:
        end = start + one.n_out
        if one.kind in ("categorical", "text") and end > start:
            values = rows[:, start:end]
            present = values[~np.isnan(values).any(axis=1)]
            n_levels = len(np.unique(present, axis=0))
            if n_levels >= FEWEST_LEVELS and len(present) >= ROWS_PER_LEVEL * n_levels:
                spans.append((start, end))
        start = end
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _places(
    values: Float[np.ndarray, "N w"], known: Float[np.ndarray, "L w"]
) -> Int[np.ndarray, " N"]:
    """Return the level of each row; the number of levels where it is missing or new."""
    place = {level.tobytes(): i for i, level in enumerate(known + 0.0)}
    return np.array([place.get(row.tobytes(), len(known)) for row in values + 0.0], dtype=np.int64)
