"""`draw_columns`: the columns of a probe, as methods are shown them and as functions see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.tables.schema import Kind

KINDS = ("gaussian", "binary", "categorical", "mixed")
"""Kinds of columns; mixed has a third of each of the others."""
FEW_LEVELS = (2, 9)
"""Levels that a category has at least, and fewer than how many, where nothing else is said."""


@dataclass(frozen=True)
class Columns:
    """The columns of one table of n rows."""

    frame: pd.DataFrame
    """What methods are shown."""
    kinds: Mapping[Any, Kind]
    """Kind of each column of `frame`."""
    values: Float[np.ndarray, "n D"]
    """Numbers that functions of the columns look at: standard normal ones, ±1, or a random effect
    of the row's level, standardised."""
    levels: Int[np.ndarray, "n D"]
    """The row's level in the columns of two values and of categories; −1 in columns of numbers."""


def draw_columns(
    kind: str,
    n_rows: int,
    width: int,
    rng: np.random.Generator,
    n_levels: Int[np.ndarray, " D"] | None = None,
    is_even: bool = False,
) -> Columns:
    """Columns of `kind`, one of `KINDS`.

    A category has `n_levels` levels, else a few; they are equally common where `is_even`, else some
    are rare.
    """
    if n_levels is None:
        n_levels = rng.integers(*FEW_LEVELS, width)
    own = {"gaussian": 0, "binary": 1, "categorical": 2}
    place = np.arange(width) % 3 if kind == "mixed" else np.full(width, own[kind])
    place = rng.permutation(place)
    values = rng.normal(size=(n_rows, width))
    levels = np.full((n_rows, width), -1)
    shown: dict[str, Any] = {}
    kinds: dict[Any, Kind] = {}
    for j in range(width):
        name = f"x{j + 1}"
        if place[j] == 1:
            levels[:, j] = rng.integers(0, 2, n_rows)
            values[:, j] = 2.0 * levels[:, j] - 1
            shown[name], kinds[name] = levels[:, j].astype(float), "numeric"
        elif place[j] == 2:
            levels[:, j] = _levels(int(n_levels[j]), n_rows, rng, is_even)
            values[:, j] = effect_of(levels[:, j], rng)
            words = np.array([f"level {level}" for level in range(int(n_levels[j]))])
            shown[name] = pd.Categorical(words[levels[:, j]], categories=words)
            kinds[name] = "categorical"
        else:
            shown[name], kinds[name] = values[:, j], "numeric"
    return Columns(pd.DataFrame(shown), kinds, values, levels)


def effect_of(levels: Int[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """A normal effect of each level, standardised over the rows."""
    effect = rng.normal(size=int(levels.max()) + 1)
    if len(effect) == 2:  # two effects may lie as near as one pleases, and hide the column
        effect = np.array([-1.0, 1.0])
    return standardised(effect[levels])


def standardised(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The values with mean 0 and variance 1; zeros where all are the same."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)


def _levels(
    n_levels: int, n_rows: int, rng: np.random.Generator, is_even: bool
) -> Int[np.ndarray, " n"]:
    share = np.ones(n_levels) if is_even else 1 / np.arange(1, n_levels + 1) ** rng.uniform(0, 1.2)
    return rng.choice(n_levels, n_rows, p=share / share.sum())
