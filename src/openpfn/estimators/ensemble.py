"""Ensemble members: different views of one table for one network, so that its answers can be averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

Variant = Literal["plain", "normal", "squashed", "rotated"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""How a member sees the columns: as they are; as normal scores of their ranks, categories coded by frequency;
softly clipped around the median; as they are plus their principal components."""

MAX_COMPONENTS = 8
"""Principal components that the rotated view adds at most."""


@dataclass(frozen=True)
class Member:
    """One view of a table."""

    variant: Variant = "plain"
    """How the columns are transformed."""
    shift: int = 0
    """Class c is shown to the network as (c + shift) modulo the number of classes."""
    seed: int | None = None
    """Seed of the column order; None keeps the table's order."""


def draw_members(n_members: int, n_classes: int, seed: int) -> list[Member]:
    """The first member is plain; the others go through variants and class shifts in turn, each with its own column order."""
    for_shifts, for_orders = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    turns = -(-n_members // n_classes)
    # every shift comes equally often: the network's preference for a position then averages out
    shifts = np.concatenate([np.arange(n_classes), *[for_shifts.permutation(n_classes) for _ in range(turns)]])
    seeds = for_orders.integers(2**31, size=n_members)
    return [
        Member(VARIANTS[i % len(VARIANTS)], int(shifts[i]), int(seeds[i]) if i else None) for i in range(n_members)
    ]


class View:
    """A member fitted to context rows: turns rows of the table into what the network reads."""

    def __init__(self, member: Member, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]) -> None:
        self.member = member
        self.transforms: list[Any] = [Standardise(context)]
        columns = self.transforms[0](context)
        if member.variant == "normal":
            self.transforms.append(NormalScores(columns, categorical))
        elif member.variant == "squashed":
            self.transforms.append(SoftClip(columns, categorical))
        elif member.variant == "rotated":
            self.transforms.append(PrincipalComponents(columns))
        n_added = self._apply(context[:1]).shape[1] - context.shape[1]
        self.categorical = np.concatenate([categorical, np.zeros(n_added, dtype=bool)])
        n_columns = len(self.categorical)
        self.order = np.arange(n_columns) if member.seed is None else np.random.default_rng(member.seed).permutation(n_columns)
        self.categorical = self.categorical[self.order]

    @property
    def width(self) -> int:
        """How many columns the network sees."""
        return len(self.order)

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """`rows` as the network sees them."""
        return self._apply(rows)[:, self.order].astype(np.float32)

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        for transform in self.transforms:
            rows = transform(rows)
        return rows

    def show_classes(self, y: Int[np.ndarray, " n"], n_classes: int) -> Int[np.ndarray, " n"]:
        """Canonical class indices as this member shows them to the network."""
        return (y + self.member.shift) % n_classes

    def class_order(self, n_classes: int) -> Int[np.ndarray, " k"]:
        """Where in the network's answer each canonical class stands."""
        return (np.arange(n_classes) + self.member.shift) % n_classes


class Standardise:
    """(x − mean) / standard deviation in double precision: offsets such as timestamps would drown the differences in single."""

    LARGEST = 1e6

    def __init__(self, context: Float[np.ndarray, "n D"]) -> None:
        largest = np.nanmax(np.abs(context), axis=0, initial=0.0)
        self.unit = np.where(largest > 0, largest, 1.0)             # keeps the squares of huge values finite
        scaled = context / self.unit
        present = ~np.isnan(scaled)
        n_present = np.maximum(present.sum(axis=0), 1)
        self.mean = np.where(present, scaled, 0).sum(axis=0) / n_present
        variance = np.where(present, (scaled - self.mean) ** 2, 0).sum(axis=0) / n_present
        self.std = np.where(variance > 1e-24, np.sqrt(variance), 1.0)

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        # a query value may be astronomically far from the context's: the network only needs to know "far"
        return np.clip((rows / self.unit - self.mean) / self.std, -self.LARGEST, self.LARGEST)


class NormalScores:
    """Standard normal quantiles of the mid-ranks among the context; category codes become ranks of their frequency."""

    def __init__(self, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]) -> None:
        self.columns = [_NormalScore(values, bool(flag)) for values, flag in zip(context.T, categorical, strict=True)]

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        return np.stack([column(values) for column, values in zip(self.columns, rows.T, strict=True)], axis=1)


class _NormalScore:
    def __init__(self, context: Float[np.ndarray, " n"], is_code: bool) -> None:
        self.known, counts = np.unique(context[~np.isnan(context)], return_counts=True)
        if is_code:
            order = np.lexsort((self.known, counts))
            self.score = np.empty(len(order))
            self.score[order] = np.arange(len(order))
        else:
            below = np.concatenate([[0], counts.cumsum()[:-1]])
            self.score = ndtri((below + counts / 2) / max(counts.sum(), 1))

    def __call__(self, values: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        if len(self.known) == 0:
            return np.full_like(values, np.nan)
        return np.where(np.isnan(values), np.nan, np.interp(values, self.known, self.score))


class SoftClip:
    """u / √(1 + (u/3)²), u the distance to the median in robust standard deviations: outliers keep their order, not their weight."""

    def __init__(self, context: Float[np.ndarray, "n D"], categorical: Bool[np.ndarray, " D"]) -> None:
        low, self.median, high = _quantiles(context, (0.25, 0.5, 0.75))
        spread = (high - low) / 1.349                               # the standard deviation of a normal column
        self.spread = np.where(spread > 1e-12, spread, 1.0)
        self.untouched = categorical

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        u = (rows - self.median) / self.spread
        return np.where(self.untouched, rows, u / np.sqrt(1 + (u / 3) ** 2))


class PrincipalComponents:
    """The columns followed by their first principal components (missing values at the mean)."""

    def __init__(self, context: Float[np.ndarray, "n D"]) -> None:
        filled = np.nan_to_num(context)
        values, vectors = np.linalg.eigh(filled.T @ filled)
        n_components = min(MAX_COMPONENTS, int((values > 1e-9 * max(values.max(), 1e-300)).sum()))
        directions = vectors[:, ::-1][:, :n_components]             # (D, components), largest variance first
        largest = np.abs(directions).argmax(axis=0)
        self.directions = directions * np.sign(directions[largest, np.arange(n_components)])

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        return np.concatenate([rows, np.nan_to_num(rows) @ self.directions], axis=1)


def _quantiles(context: Float[np.ndarray, "n D"], q: tuple[float, ...]) -> Float[np.ndarray, "q D"]:
    """Quantiles of each column's present values; 0 for a column without any."""
    filled = np.where(np.isnan(context).all(axis=0), 0.0, context)
    return np.nanquantile(filled, q, axis=0)
