"""How a view sees the columns: transforms fitted to context rows, each nothing but arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from openpfn.tables.moments import unit_mean_and_std

MAX_COMPONENTS = 8
"""Principal components that the rotated view adds at most."""
LARGEST = 1e6
"""A query value may be astronomically far from the context's: the network only needs to know
"far"."""


@dataclass(frozen=True)
class Transform(ABC):
    """Map from rows (N, D) to rows (N, V). Its fields are all that its `fit(context, categorical)`
    learned."""

    @abstractmethod
    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return `rows` transformed; missing values stay missing."""

    def thinned(self, most: int) -> Transform:
        """Return the same with at most `most` single values of each column of numbers."""
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of its fields, by name."""
        return asdict(self)


@dataclass(frozen=True)
class Standardise(Transform):
    """(x − mean) / standard deviation in double precision: offsets such as timestamps would drown
    the differences in single."""

    unit: Float[np.ndarray, " D"]
    """Largest size of each column's values: mean and standard deviation are those of values in this
    unit."""
    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]

    @classmethod
    def fit(
        cls, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]
    ) -> Standardise:
        return cls(*unit_mean_and_std(context))

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        return np.clip((rows / self.unit - self.mean) / self.std, -LARGEST, LARGEST)


@dataclass(frozen=True)
class NormalScores(Transform):
    """Standard normal quantiles of the mid-ranks among the context; category codes become ranks of
    their frequency."""

    known: Float[np.ndarray, " K"]
    """Distinct values of the first column in order, then of the second, and so on."""
    score: Float[np.ndarray, " K"]
    """What each becomes; values in between are interpolated."""
    ends: Int[np.ndarray, " D"]
    """Where each column's values end."""
    is_code: Bool[np.ndarray, " D"]

    @classmethod
    def fit(
        cls, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]
    ) -> NormalScores:
        columns = [
            _score(values, bool(flag)) for values, flag in zip(context.T, categorical, strict=True)
        ]
        return cls._joined(columns, categorical)

    @classmethod
    def _joined(
        cls, columns: list[tuple[np.ndarray, np.ndarray]], is_code: Bool[np.ndarray, " D"]
    ) -> NormalScores:
        known, score = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        return cls(known, score, np.cumsum([len(values) for values, _ in columns]), is_code)

    def columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return distinct values and scores of each column."""
        starts = [0, *self.ends[:-1]]
        return [
            (self.known[start:end], self.score[start:end])
            for start, end in zip(starts, self.ends, strict=True)
        ]

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        shown = [
            _interpolate(values, *column)
            for values, column in zip(rows.T, self.columns(), strict=True)
        ]
        return np.stack(shown, axis=1)

    def thinned(self, most: int) -> NormalScores:
        columns = []
        for (known, score), is_code in zip(self.columns(), self.is_code, strict=True):
            n = len(known)
            kept = np.arange(n) if is_code or n <= most else (np.arange(most) + 0.5) * n // most
            columns.append((known[kept.astype(int)], score[kept.astype(int)]))
        return self._joined(columns, self.is_code)


@dataclass(frozen=True)
class SoftClip(Transform):
    """u / √(1 + (u/3)²), u the distance to the median in robust standard deviations: outliers keep
    their order, not their weight."""

    median: Float[np.ndarray, " D"]
    spread: Float[np.ndarray, " D"]
    """The standard deviation of a normal column with the same quartiles; 1 where the quartiles are
    equal."""
    untouched: Bool[np.ndarray, " D"]
    """Columns of codes."""

    @classmethod
    def fit(
        cls, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]
    ) -> SoftClip:
        low, median, high = _quantiles(context, (0.25, 0.5, 0.75))
        spread = (high - low) / 1.349
        return cls(median, np.where(spread > 1e-12, spread, 1.0), categorical)

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        u = (rows - self.median) / self.spread
        return np.where(self.untouched, rows, u / np.sqrt(1 + (u / 3) ** 2))


@dataclass(frozen=True)
class PrincipalComponents(Transform):
    """The columns followed by their first principal components (missing values at the mean)."""

    directions: Float[np.ndarray, "D components"]
    """Largest variance first."""

    @classmethod
    def fit(
        cls, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]
    ) -> PrincipalComponents:
        filled = np.nan_to_num(context)
        values, vectors = np.linalg.eigh(filled.T @ filled)
        n_components = min(MAX_COMPONENTS, int((values > 1e-9 * max(values.max(), 1e-300)).sum()))
        directions = vectors[:, ::-1][:, :n_components]  # (D, components)
        largest = np.abs(directions).argmax(axis=0)
        return cls(directions * np.sign(directions[largest, np.arange(n_components)]))

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        return np.concatenate([rows, np.nan_to_num(rows) @ self.directions], axis=1)


def _score(context: Float[np.ndarray, " n"], is_code: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values of one column, and the score of each."""
    known, counts = np.unique(context[~np.isnan(context)], return_counts=True)
    if is_code:
        order = np.lexsort((known, counts))
        score = np.empty(len(order))
        score[order] = np.arange(len(order))
        return known, score
    below = np.concatenate([[0], counts.cumsum()[:-1]])[: len(counts)]
    return known, ndtri((below + counts / 2) / max(counts.sum(), 1))


def _interpolate(
    values: Float[np.ndarray, " N"], known: np.ndarray, score: np.ndarray
) -> Float[np.ndarray, " N"]:
    if len(known) == 0:
        return np.full_like(values, np.nan)
    return np.where(np.isnan(values), np.nan, np.interp(values, known, score))


def _quantiles(context: Float[np.ndarray, "n D"], q: tuple[float, ...]) -> Float[np.ndarray, "q D"]:
    """Return quantiles of each column's present values; 0 for a column without any."""
    filled = np.where(np.isnan(context).all(axis=0), 0.0, context)
    return np.nanquantile(filled, q, axis=0)
