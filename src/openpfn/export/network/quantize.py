"""Round weights to 8 bits: each row of a matrix gets the scale that loses least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8, UInt16

LARGEST = 127


@dataclass(frozen=True)
class QuantisedMatrix:
    """`weight` times the `scale` of its row stands for the matrix."""

    weight: Int8[np.ndarray, "rows columns"]
    scale: UInt16[np.ndarray, " rows"]
    """Upper halves of floats (bfloat16): weights are rounded to steps of this size, so that its own
    rounding loses nothing."""

    def restored(self) -> Float[np.ndarray, "rows columns"]:
        """Return the matrix that it stands for."""
        return self.weight.astype(np.float32) * from_upper_halves(self.scale)[:, None]


def quantise_rows(matrix: Float[np.ndarray, "rows columns"]) -> QuantisedMatrix:
    """Return `matrix` in 8 bits: of all 16-bit scales between 70% and 110% of the largest weight's,
    each row takes the one that loses least."""
    most = np.abs(matrix).max(axis=1, keepdims=True)  # (rows, 1)
    most = np.where(most > 0, most, 1.0)
    low, high = upper_halves(0.7 * most / LARGEST), upper_halves(1.1 * most / LARGEST)
    best_scale, best_error = from_upper_halves(low), np.full_like(most, np.inf)
    for step in range(int((high - low).max()) + 1):
        scale = from_upper_halves(np.minimum(low + np.uint16(step), high))
        rounded = np.clip(np.rint(matrix / scale), -LARGEST, LARGEST)
        error = ((rounded * scale - matrix) ** 2).sum(axis=1, keepdims=True)
        best_scale = np.where(error < best_error, scale, best_scale)
        best_error = np.minimum(error, best_error)
    weight = np.clip(np.rint(matrix / best_scale), -LARGEST, LARGEST).astype(np.int8)
    return QuantisedMatrix(weight, upper_halves(best_scale[:, 0]))


def upper_halves(values: Float[np.ndarray, "..."]) -> UInt16[np.ndarray, "..."]:
    """Return the upper halves of floats, rounded to the nearest."""
    return ((values.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)


def from_upper_halves(halves: UInt16[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the floats whose upper halves these are."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
