"""`STRUCTURES`: random functions of columns, each of one form that a network may be blind to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from openpfn.benchmark.probes.columns import KINDS, Columns, draw_columns, effect_of

Score = Callable[[Columns, np.random.Generator], Float[np.ndarray, " n"]]
N_WAVES = 64
"""Waves of a smooth function."""


@dataclass(frozen=True)
class Structure:
    """One form of functions, and the tables on which it makes sense."""

    score: Score
    """The function's values on all rows, of any scale; parameters are drawn anew."""
    says: str
    """What it is, in words."""
    kinds: tuple[str, ...] = KINDS
    """Kinds of columns."""
    fewest: int = 3
    """Columns that it needs."""
    n_levels: Callable[[int, np.random.Generator], Int[np.ndarray, " D"]] | None = None
    """Draws the numbers of levels of so many columns; few where it is None."""
    is_even: bool = False
    """Whether the levels of a category are equally common."""

    def columns(self, kind: str, n_rows: int, width: int, rng: np.random.Generator) -> Columns:
        """Columns that the structure can act on."""
        n_levels = None if self.n_levels is None else self.n_levels(width, rng)
        return draw_columns(kind, n_rows, width, rng, n_levels, self.is_even)


def products(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Sum of three products of two columns, different pairs; few columns are in two of them."""
    width = columns.values.shape[1]
    order = rng.permutation(width)
    pairs = list(combinations(order, 2))
    chosen = [(order[2 * i], order[2 * i + 1]) for i in range(min(3, width // 2))]
    others = [pair for pair in pairs if pair not in chosen]
    chosen += others[: 3 - len(chosen)]
    return sum(
        (columns.values[:, a] * columns.values[:, b] for a, b in chosen),
        start=np.zeros(len(columns.values)),
    )


def parity(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Whether an even number of three columns is positive."""
    return _signs(columns)[:, _some(columns, 3, rng)].prod(axis=1)


def linear(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Normal weights of all columns."""
    return columns.values @ rng.normal(size=columns.values.shape[1])


def few(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Sum of two columns; the others tell nothing."""
    sign = rng.choice([-1.0, 1.0], 2)
    return columns.values[:, _some(columns, 2, rng)] @ sign


def conjunctions(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Whether any of four conjunctions of three conditions holds."""
    signs = _signs(columns)
    rules = []
    for _ in range(4):
        wanted = rng.choice([-1.0, 1.0], 3)
        rules.append((signs[:, _some(columns, 3, rng)] * wanted > 0).all(axis=1))
    return np.any(rules, axis=0).astype(float)


def counts(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Whether at least m of n columns, at most nine, are on their side."""
    n = min(9, columns.values.shape[1])
    wanted = rng.choice([-1.0, 1.0], n)
    count = (_signs(columns)[:, _some(columns, n, rng)] * wanted > 0).sum(axis=1)
    return (count >= (n + 1) // 2 + rng.integers(0, 2)).astype(float)


def distance(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Squared distance from a centre, near the middle, in three columns of numbers."""
    numbers = np.flatnonzero((columns.levels < 0).all(axis=0))
    chosen = rng.permutation(numbers)[:3]
    return ((columns.values[:, chosen] - 0.3 * rng.normal(size=len(chosen))) ** 2).sum(axis=1)


def levels(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Sum of effects of the levels of three categories."""
    chosen = rng.permutation(_categories(columns))[:3]
    return sum(
        (effect_of(columns.levels[:, j], rng) for j in chosen),
        start=np.zeros(len(columns.values)),
    )


def either(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Whether exactly one of two categories has a level of its own half: no marginal effects."""
    known = _categories(columns)
    if len(known) < 2:
        known = np.flatnonzero((columns.levels >= 0).all(axis=0))
    halves = []
    for j in rng.permutation(known)[:2]:
        code = rng.permutation(int(columns.levels[:, j].max()) + 1)
        halves.append(code[columns.levels[:, j]] % 2)
    return (halves[0] != halves[1]).astype(float)


def smooth(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Smooth function of three columns: a sample of a Gaussian process, by random waves."""
    chosen = columns.values[:, _some(columns, 3, rng)]
    waves = np.cos(chosen @ rng.normal(size=(3, N_WAVES)) + rng.uniform(0, 2 * np.pi, N_WAVES))
    return waves @ rng.normal(size=N_WAVES)


def tree(columns: Columns, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Decision tree of depth four over columns at random, leaves of normal values."""
    leaf = np.zeros(len(columns.values), dtype=int)
    for depth in range(4):
        column = rng.integers(0, columns.values.shape[1], 2**depth)
        cut = np.quantile(columns.values, rng.uniform(0.3, 0.7, 2**depth), axis=0)  # (nodes, D)
        asked = columns.values[np.arange(len(leaf)), column[leaf]]
        leaf = 2 * leaf + (asked > cut[leaf, column[leaf]])
    return rng.normal(size=16)[leaf]


def many_levels(width: int, rng: np.random.Generator) -> Int[np.ndarray, " D"]:
    """Numbers of levels from 2 to 50, their logarithms spread evenly."""
    return np.exp(rng.uniform(np.log(2), np.log(51), width)).astype(int)


def even_levels(width: int, rng: np.random.Generator) -> Int[np.ndarray, " D"]:
    """2, 4 or 6 levels."""
    return 2 * rng.integers(1, 4, width)


WITH_NUMBERS, WITH_CATEGORIES = ("gaussian", "mixed"), ("categorical", "mixed")
STRUCTURES: dict[str, Structure] = {
    "products": Structure(products, "sum of three products of two columns"),
    "parity": Structure(parity, "parity of the signs of three columns"),
    "linear": Structure(linear, "dense linear: every column has a weak effect"),
    "few": Structure(few, "sum of two columns, the others tell nothing"),
    "conjunctions": Structure(conjunctions, "any of four conjunctions of three conditions"),
    "counts": Structure(counts, "at least m of n columns are on their side"),
    "distance": Structure(distance, "distance from a centre in three columns", WITH_NUMBERS, 5),
    "levels": Structure(
        levels,
        "effects of three categories with 2 to 50 levels, some rare",
        WITH_CATEGORIES,
        n_levels=many_levels,
    ),
    "either": Structure(
        either,
        "one of two categories, not both: no marginal effect",
        ("binary", *WITH_CATEGORIES),
        n_levels=even_levels,
        is_even=True,
    ),
    "smooth": Structure(smooth, "smooth random function of three columns", WITH_NUMBERS),
    "tree": Structure(tree, "random decision tree of depth four"),
}
"""Structures by name."""


def _some(columns: Columns, n: int, rng: np.random.Generator) -> Int[np.ndarray, " m"]:
    """Places of `n` different columns, or of all of them."""
    return rng.permutation(columns.values.shape[1])[:n]


def _signs(columns: Columns) -> Float[np.ndarray, "n D"]:
    """±1 by the median of each column, so that both are about as common."""
    middle = np.median(columns.values, axis=0)
    above = columns.values > middle
    # where many rows share the median, as with two levels, they go to the rarer side
    at_least = columns.values >= middle
    nearer = np.abs(above.mean(axis=0) - 0.5) <= np.abs(at_least.mean(axis=0) - 0.5)
    return np.where(np.where(nearer, above, at_least), 1.0, -1.0)


def _categories(columns: Columns) -> Int[np.ndarray, " m"]:
    return np.array(
        [j for j, kind in enumerate(columns.kinds.values()) if kind == "categorical"], dtype=int
    )
