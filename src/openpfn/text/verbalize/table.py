"""`VerbalizedTable`: a table whose cells are sentences and numbers, each distinct sentence once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class VerbalizedTable:
    """Rows whose cells are places in `strings`, with their numbers and, where known, targets."""

    strings: Sequence[str]
    """The distinct sentences of cells and target tokens."""
    cells: Int[np.ndarray, "n M"]
    """Place of each cell's sentence."""
    numbers: Float[np.ndarray, "n M F"]
    """Numbers of each cell, float32: one (template v1) or six (v1.1), zeros for words."""
    targets: Int[np.ndarray, " C"]
    """Place of each target token's sentence: one for each class, or a single one for a number."""
    task: Task
    """classification or regression."""
    columns: tuple[str, ...]
    """Name of each column of cells; a date has several."""
    y: np.ndarray | None = None
    """Target of each row: the number of its class (int64) or its standardised number (float32)."""

    def __len__(self) -> int:
        return len(self.cells)

    def texts(self) -> np.ndarray:
        """Return the sentence of every cell, an object array (n, M)."""
        return np.array([*self.strings, ""], dtype=object)[:-1][self.cells]

    def target_texts(self) -> list[str]:
        """Return the sentence of every target token."""
        return [str(self.strings[place]) for place in self.targets.tolist()]

    def rows(self, chosen: Int[np.ndarray, " m"]) -> VerbalizedTable:
        """Return the table of some of the rows; `strings` stay as they are."""
        y = None if self.y is None else self.y[chosen]
        return replace(self, cells=self.cells[chosen], numbers=self.numbers[chosen], y=y)


class StringPool:
    """Distinct strings in order of appearance, and their places."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Return the place of `text`, which is added where it is new."""
        return self._places.setdefault(text, len(self._places))

    def strings(self) -> tuple[str, ...]:
        """Return all strings."""
        return tuple(self._places)
