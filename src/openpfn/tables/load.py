"""Load tables: CSV, parquet, folders of tables with an index, and the tables that scikit-learn bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table whose `target` is to be predicted from its other columns."""

    name: str
    """What to call it."""
    X: pd.DataFrame
    """The columns, one row per example."""
    y: pd.Series
    """The target; may hold missing values."""


def _from_sklearn(loader: str) -> Callable[[], tuple[pd.DataFrame, pd.Series]]:
    def load() -> tuple[pd.DataFrame, pd.Series]:
        import sklearn.datasets

        found = getattr(sklearn.datasets, loader)(as_frame=True)
        names = np.asarray(found.target_names)
        return found.data, pd.Series(names[found.target.to_numpy()], name="target")

    return load


def _digits_3_8_9() -> tuple[pd.DataFrame, pd.Series]:
    X, y = _from_sklearn("load_digits")()
    chosen = y.isin([3, 8, 9])
    return X[chosen].reset_index(drop=True), y[chosen].reset_index(drop=True)


BUNDLED: dict[str, Callable[[], tuple[pd.DataFrame, pd.Series]]] = {
    "iris": _from_sklearn("load_iris"),
    "wine": _from_sklearn("load_wine"),
    "breast_cancer": _from_sklearn("load_breast_cancer"),
    "digits": _from_sklearn("load_digits"),
    "digits_3_8_9": _digits_3_8_9,
}
"""Real tables inside scikit-learn; digits_3_8_9 keeps the images of 3, 8 and 9, the digits easiest to confuse."""


def load(source: str) -> Table:
    """The bundled table called `source`."""
    if source not in BUNDLED:
        raise ValueError(f"no table called {source!r}. Choose one of {', '.join(BUNDLED)}.")
    return Table(source, *BUNDLED[source]())
