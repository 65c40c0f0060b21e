"""Several targets at once: an estimator for each, in a chain if asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone


def columns_of(y: Any) -> list[np.ndarray] | None:
    """Return the targets of `y` one by one where there are several; None for one or none."""
    shape = getattr(y, "shape", None)
    if shape is None and y is not None:
        first = next(iter(y), None) if isinstance(y, (list, tuple)) else None
        shape = (len(y), len(first)) if isinstance(first, (list, tuple, np.ndarray)) else ()
    if shape is None or len(shape) != 2 or shape[1] < 2:
        return None
    table: Any = y if isinstance(y, pd.DataFrame) else pd.DataFrame(np.asarray(y))
    return [table.iloc[:, j].to_numpy() for j in range(table.shape[1])]


def fit_each(estimator: Any, table: pd.DataFrame, targets: list[np.ndarray]) -> list[Any]:
    """Return a copy of `estimator` fitted to each of `targets`; in a chain, one reads the true
    targets before its own as further columns (Read et al. 2011)."""
    fitted = []
    for j, y in enumerate(targets):
        before = targets[:j] if estimator.chain else []
        fitted.append(clone(estimator).fit(with_targets(table, before), y))
    return fitted


def ask_each(
    estimator: Any, table: pd.DataFrame, ask: Callable[[Any, pd.DataFrame], Any]
) -> list[Any]:
    """Return what `ask` makes of the estimator of each target and the rows that it reads: in a
    chain, what was predicted for the targets before its own stands in for these."""
    answers, before = [], []
    for one in estimator.estimators_:
        rows = with_targets(table, before)
        answers.append(ask(one, rows))
        if estimator.chain:
            before.append(one.predict(rows))
    return answers


def with_targets(table: pd.DataFrame, targets: list[np.ndarray]) -> pd.DataFrame:
    """Return `table` with `targets` as further columns, whose names are not taken yet."""
    if not targets:
        return table
    are_words = all(isinstance(name, str) for name in table.columns)
    names: list[Any] = []
    for j in range(len(targets)):
        name: Any = f"target {j}" if are_words else table.shape[1] + j
        while name in table.columns:
            name = f"{name}'" if are_words else name + 1
        names.append(name)
    added = pd.DataFrame(dict(zip(names, targets, strict=True)), index=table.index)
    return pd.concat([table, added], axis=1)
