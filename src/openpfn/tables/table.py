"""`Table`: columns, the target to predict from them, and what is known of both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from openpfn.tables.schema import Kind


@dataclass(frozen=True)
class Table:
    """Columns `X` and the target `y` that is to be predicted from them."""

    name: str
    """Name of the table."""
    X: pd.DataFrame
    """The columns, one row per example; numbers where all of a column's words are numbers."""
    y: pd.Series
    """The target. Rows without it are left out."""
    kinds: Mapping[Hashable, Kind] = field(default_factory=dict)
    """Columns whose kind is known, not guessed."""
    task: str = "classification"
    """classification or regression."""
