"""`PFNImputer`: missing cells, filled by a network that reads the cells that are there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from openpfn.estimators.unsupervised.base import UnsupervisedEstimator
from openpfn.tables.values import shown


class PFNImputer(OneToOneFeatureMixin, TransformerMixin, UnsupervisedEstimator):
    """Transformer that fills missing cells: `fit` shows the rows to a network, nothing is trained.

    Each column with missing cells is predicted from all others, which may have missing cells
    themselves, in the context of the rows of `fit` whose cell is there. Takes arrays and DataFrames
    with numbers, categories, truth values, dates and words; a DataFrame comes back as one, with the
    dtypes it had. Cells that are there are never changed. A row's answer does not depend on the
    other rows of `transform`.

    Parameters
    ----------
    checkpoint : str or Path
        "auto" (the shipped "nano"), a shipped name, or the path of a checkpoint. It must
        predict classes for columns of words and of few whole numbers, and numbers for others.
    model : network in memory, optional
        Used in place of a checkpoint; clones share it.
    sample : bool
        False fills in the mean of a number and the most probable category. True draws from what the
        network believes, column after column, each given what was drawn before: filled tables then
        vary as full ones do, and several of them (with other `random_state`) show how uncertain
        an analysis is.
    n_estimators : int
        Views of the table whose answers are averaged, per column.
    device : str
        "auto" (cuda, then mps, then cpu) or a torch device.
    random_state : int, RandomState or None
        Decides the views, and what is drawn.
    memory_limit : int or None
        Bytes that working memory and, apart from it, the kept context of a column may take.

    Attributes
    ----------
    conditionals_ : the rows of `fit`, and what the network made of them so far.
    n_features_in_, feature_names_in_ : columns of the table.

    >>> import numpy as np
    >>> X = np.array([["a", "u"], ["b", "v"], ["a", "u"], ["b", None]] * 3, dtype=object)
    >>> PFNImputer(n_estimators=1).fit_transform(X)[-1].tolist()
    ['b', 'v']
    """

    saved_parameters = ("sample", "n_estimators", "memory_limit")

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        checkpoint: str | Path = "auto",
        *,
        model: Any = None,
        sample: bool = False,
        n_estimators: int = 2,
        device: str = "auto",
        random_state: Any = 0,
        memory_limit: int | None = 2**30,
    ) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.sample = sample
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state
        self.memory_limit = memory_limit

    def fit(self, X: Any, y: Any = None) -> PFNImputer:
        """Show the network the rows `X` (n, D); `y` is not used.

        Raises ValueError for infinite numbers, and for a network that cannot predict what a column
        holds.
        """
        self._check_parameters()
        self.show(self._table(X, reset=True), self._draw_seed())
        for i, variable in enumerate(self.conditionals_.variables):
            cells = self.conditionals_.table.iloc[:, i]
            if np.isnan(variable.read(cells)).any() and variable.kind != "empty":
                self.conditionals_.of(i)
        return self

    def transform(self, X: Any) -> Any:
        """Return `X` (N, D) with its missing cells filled: a DataFrame where `X` is one, else an
        array. Columns without any value in `fit` stay missing, which a warning tells."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        self._warn_of_unread(table)
        uniform = check_random_state(self.seed_).random_sample(table.shape)
        filled = {}
        shown_rows = table.reset_index(drop=True)
        for i, variable in enumerate(self.conditionals_.variables):
            cells = shown_rows.iloc[:, i]
            gone = variable.missing(cells)
            variable.read(cells)  # refuses infinity
            if not gone.any():
                continue
            if variable.kind == "empty":
                self._tell_of_empty(cells.name)
                continue
            conditional, rows = self.conditionals_.of(i), shown_rows.loc[gone]
            numbers = (
                conditional.drawn(rows, uniform[gone, i])
                if self.sample
                else conditional.expected(rows)
            )
            filled[i] = _with(cells, gone, variable.write(numbers, cells))
            if self.sample:
                shown_rows = _with_column(shown_rows, i, filled[i])
        for i, cells in filled.items():
            shown_rows = _with_column(shown_rows, i, cells)
        if isinstance(X, pd.DataFrame) or hasattr(X, "to_pandas"):
            return shown_rows.set_axis(table.index, axis=0)
        return shown_rows.to_numpy()

    def _tell_of_empty(self, name: Any) -> None:
        warnings.warn(
            f"column {shown(name)} held no values in fit: its missing cells stay missing. Leave it"
            " out, or fit rows that have values.",
            stacklevel=4,
        )


def _with(cells: pd.Series, gone: np.ndarray, values: pd.Series) -> pd.Series:
    """Return `cells` with `values` in place of those that are `gone`."""
    if isinstance(cells.dtype, np.dtype) and cells.dtype.kind == "f":
        whole = cells.to_numpy(copy=True)
        whole[gone] = values.to_numpy(dtype=cells.dtype)
        return pd.Series(whole, name=cells.name)
    whole = cells.astype(object).to_numpy(copy=True)
    whole[gone] = values.astype(object).to_numpy()
    return pd.Series(whole, name=cells.name, dtype=cells.dtype)


def _with_column(table: pd.DataFrame, place: int, cells: pd.Series) -> pd.DataFrame:
    """Return `table` with other cells in the column at `place`, by number: names may repeat."""
    columns = [cells if i == place else table.iloc[:, i] for i in range(table.shape[1])]
    return pd.concat(columns, axis=1).set_axis(table.columns, axis=1)
