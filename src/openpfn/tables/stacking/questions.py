"""Random questions, whether a value is above a threshold, and the leaves of oblivious trees that
ask all rows the same few."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


class Questions:
    """Questions that part a table's rows: about a column that varies, as likely as its `weight`
    says, with the value of a random row as the threshold."""

    def __init__(
        self,
        values: Float[np.ndarray, "n A"],
        weight: Float[np.ndarray, " A"],
        random: np.random.Generator,
    ) -> None:
        varying = np.flatnonzero((values != values[0]).any(axis=0))
        self.part_rows = len(varying) > 0
        """Whether any column varies; else the questions are about any."""
        self.columns = varying if self.part_rows else np.arange(values.shape[1])
        self.likely = weight[self.columns] / weight[self.columns].sum()
        self.values, self.random = values, random

    def draw(self, *shape: int) -> tuple[Int[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
        """Return the columns and thresholds of questions."""
        column = self.random.choice(self.columns, shape, p=self.likely)
        return column, self.values[self.random.integers(len(self.values), size=shape), column]


def leaf_numbers(
    values: Float[np.ndarray, "N A"],
    column: Int[np.ndarray, "*trees S"],
    threshold: Float[np.ndarray, "*trees S"],
) -> Int[np.ndarray, "N *trees"]:
    """Return the leaf of each row in each tree of S questions, of which one that is not asked has
    an infinite threshold: the answer to the first question is the lowest bit."""
    return (values[:, column] > threshold) @ (1 << np.arange(column.shape[-1]))
