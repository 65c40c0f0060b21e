"""Several targets at once: an estimator for each, in a chain if asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from openpfn.estimators.table_estimator import TableEstimator


class SeveralTargets(TableEstimator):
    """Estimator that fits and asks a copy of itself for each of several targets."""

    estimators_: list[Any] | None = None
    context_: Any
    seen_: Any
    beyond_: tuple[str, ...] = ()

    def _fit_targets(self, table: pd.DataFrame, y: Any) -> bool:
        """Fit an estimator for each of several targets, and return whether there are several."""
        self.estimators_, self.context_ = None, None
        targets = columns_of(y)
        if targets is None:
            return False
        self.take_targets(fit_each(self, table, targets))
        return True

    def take_targets(self, fitted: list[Any]) -> None:
        """Be the estimator of several targets that these are fitted to."""
        self.estimators_, self.context_, self.seen_ = fitted, None, None
        self.beyond_ = tuple(dict.fromkeys(said for one in fitted for said in one.beyond_))
        if all(hasattr(one, "classes_") for one in fitted):
            self.classes_: Any = [one.classes_ for one in fitted]

    def _each(self, X: Any, ask: Callable[[Any, pd.DataFrame], Any]) -> list[Any]:
        """Return what `ask` makes of the estimator of each target and its rows."""
        return ask_each(self, self._table(X, reset=False), ask)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


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
