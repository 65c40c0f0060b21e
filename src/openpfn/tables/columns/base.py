"""`ColumnEncoder`: one column of a table as columns of numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from openpfn.tables.schema import Kind
from openpfn.tables.spelling.numbers import MISSING_WORDS
from openpfn.tables.values import ColumnValues, plain_values


class ColumnEncoder(ABC):
    """Encoder of one column as `n_out` columns of numbers."""

    kind: ClassVar[Kind]
    is_categorical: ClassVar[bool] = False
    wanted: ClassVar[str] = "values"
    """Plural noun for what the column reads, used in warnings."""

    @property
    def n_out(self) -> int:
        """Number of columns of numbers."""
        return 1

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N P"]:
        """Return the numbers, NaN where a value is missing or cannot be read."""
        return self.encode(plain_values(values))

    @abstractmethod
    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N P"]:
        """Return the numbers of a column in plain form."""

    def unread(
        self, values: ColumnValues, encoded: Float[np.ndarray, "N P"]
    ) -> Bool[np.ndarray, " N"]:
        """Return which rows hold a value that became missing only because it cannot be read."""
        gone = np.isnan(encoded).all(axis=1) & ~values.missing
        if not self.n_out or not gone.any():
            return np.zeros(len(values), dtype=bool)
        gone &= ~values.blank()
        if values.form == "objects" and not self.is_categorical:
            words = values.data[gone]
            gone[gone] = [str(v).strip().lower() not in MISSING_WORDS for v in words]
        return gone
