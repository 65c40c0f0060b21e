"""Rows that come in parts: the table of all so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals
from sklearn.utils import check_consistent_length

Seen = tuple[pd.DataFrame, np.ndarray]


def joined(seen: Seen | None, read: Callable[..., pd.DataFrame], X: Any, y: Any) -> Seen:
    """Return the rows `seen` so far followed by `X` and `y`, as `read` takes tables in."""
    table = read(X, reset=seen is None).reset_index(drop=True)
    targets = np.asarray(y)
    check_consistent_length(table, targets)
    if seen is None:
        return table, targets
    before, known = seen
    if known.shape[1:] != targets.shape[1:]:
        raise ValueError(
            f"y has shape {targets.shape}, but that of the rows before had {known.shape}. Give the"
            " same targets in each part."
        )
    pairs = [(before[name], table.iloc[:, j]) for j, name in enumerate(before.columns)]
    columns = [pd.concat(_alike(*pair), ignore_index=True) for pair in pairs]
    return pd.concat(columns, axis=1, keys=before.columns), np.concatenate([known, targets])


def _alike(a: pd.Series, b: pd.Series) -> list[pd.Series]:
    """Return two parts of a column; declared categories of either are categories of both."""
    if isinstance(a.dtype, pd.CategoricalDtype) and isinstance(b.dtype, pd.CategoricalDtype):
        both = union_categoricals([a, b], ignore_order=True).dtype
        return [a.astype(both), b.astype(both)]
    return [a, b]
