"""Values that the C library takes: others are refused by column, before the library sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

LARGEST_VALUE = 1e25
"""Larger sizes are refused: their sums over rows might not stay finite in float32."""
SMALLEST_DIFFERENCE = 1e-25
"""A column whose values vary by less is refused: float32 could not standardise it."""


def check_values(x: Float[np.ndarray, "n D"], names: Sequence[str], source: str) -> None:
    """Raise ValueError, naming a column of `source`, where the library cannot be shown `x`."""
    check_sizes(x, names, source)
    small = varies_too_little(x)
    if small.any():
        raise ValueError(
            f"column {names[int(small.argmax())]!r} of {source} varies by less than"
            f" {SMALLEST_DIFFERENCE:g}. Scale it, or leave it out."
        )


def check_sizes(x: Float[np.ndarray, "n D"], names: Sequence[str], source: str) -> None:
    """Raise ValueError, naming a column of `source`, where the library cannot be asked `x`."""
    large = (~np.isnan(x) & ~(np.abs(x) <= np.float32(LARGEST_VALUE))).any(axis=0)
    if large.any():
        raise ValueError(
            f"column {names[int(large.argmax())]!r} of {source} holds an infinite value, or one"
            f" larger than {LARGEST_VALUE:g}. Scale the column, or leave the value empty."
        )


def varies_too_little(x: Float[np.ndarray, "n D"]) -> Bool[np.ndarray, " D"]:
    """Return which columns vary, but by less than the library can standardise."""
    if len(x) == 0:
        return np.zeros(x.shape[1], dtype=bool)
    present = ~np.isnan(x)
    first = np.take_along_axis(x, present.argmax(axis=0)[None], axis=0)  # (1, D), present where any
    largest = np.where(present, np.abs(x - first), 0).max(axis=0)
    return (largest > 0) & (largest < np.float32(SMALLEST_DIFFERENCE))
