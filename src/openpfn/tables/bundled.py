"""Real tables that scikit-learn brings along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd


def _from_sklearn(loader: str) -> Callable[[], tuple[pd.DataFrame, pd.Series]]:
    def read() -> tuple[pd.DataFrame, pd.Series]:
        import sklearn.datasets

        found = getattr(sklearn.datasets, loader)(as_frame=True)
        return found.data, pd.Series(
            np.asarray(found.target_names)[found.target.to_numpy()], name="target"
        )

    return read


def _digits_3_8_9() -> tuple[pd.DataFrame, pd.Series]:
    X, y = _from_sklearn("load_digits")()
    chosen = y.isin([3, 8, 9]).to_numpy()
    return X.loc[chosen].reset_index(drop=True), y.loc[chosen].reset_index(drop=True)


BUNDLED: dict[str, Callable[[], tuple[pd.DataFrame, pd.Series]]] = {
    "iris": _from_sklearn("load_iris"),
    "wine": _from_sklearn("load_wine"),
    "breast_cancer": _from_sklearn("load_breast_cancer"),
    "digits": _from_sklearn("load_digits"),
    "digits_3_8_9": _digits_3_8_9,
}
"""Real tables inside scikit-learn; digits_3_8_9 keeps the images of 3, 8 and 9, which are easily
confused."""
