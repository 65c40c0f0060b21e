"""What a column to predict holds: classes to tell apart, or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from openpfn.tables.schema import Kind, read_column, to_numbers
from openpfn.tables.spelling.numbers import PLAIN, NumberReading
from openpfn.tables.values import plain_values

Task = Literal["classification", "regression"]

MOST_CLASSES = 10
"""Whole numbers with more different values than this are numbers, not classes."""
ROWS_PER_CLASS = 2
"""Whole numbers that repeat less often than this, on average, are numbers."""
_HELD: dict[Kind, str] = {
    "categorical": "words",
    "text": "words",
    "boolean": "truth values",
    "date": "dates",
    "empty": "no values",
}


@dataclass(frozen=True)
class Target:
    """Which task a column sets, why, and how its numbers are written."""

    task: Task
    reason: str
    """What it holds, as in "3 different whole numbers"."""
    reading: NumberReading = PLAIN
    """Spelling of numbers that are words."""

    def numbers(self, values: pd.Series) -> Float[np.ndarray, " N"]:
        """Return `values` as numbers, NaN where one is missing or cannot be read."""
        return to_numbers(values, self.reading)


def read_target(values: pd.Series) -> Target:
    """Return the task that the column `values` sets.

    Numbers are a task of regression, unless they are whole and at most 10 different ones, which
    come at least twice on average: those are classes, as is everything else.
    """
    plain = plain_values(values)
    column = read_column(plain)
    if column.kind != "numeric":
        return Target("classification", _HELD[column.kind])
    numbers = to_numbers(plain, column.number_reading)
    present = numbers[np.isfinite(numbers)]
    distinct = np.unique(present)
    whole = bool((present == np.floor(present)).all())
    few = len(distinct) <= min(MOST_CLASSES, len(present) // ROWS_PER_CLASS)
    what = f"{len(distinct)} different {'whole ' if whole else ''}numbers"
    return Target("classification" if whole and few else "regression", what, column.number_reading)
