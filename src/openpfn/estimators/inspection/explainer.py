"""`PFNExplainer`: Shapley values of predictions, where a column that is left out is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from sklearn.utils.validation import check_is_fitted

from openpfn.estimators.inspection.coalitions import (
    all_coalitions,
    drawn_coalitions,
    exact_values,
    regressed_values,
)

ROWS_AT_ONCE = 2**15
"""Rows that a model is asked in one call, where a background multiplies them."""


@dataclass(frozen=True)
class Explanation:
    """Shapley values, with the fields of `shap.Explanation` and its indexing by rows, columns and
    outputs."""

    values: Any
    """(Q, D), or (Q, D, K) for the K classes of a classifier."""
    base_values: Any
    """What is predicted where no column is known, (Q,) or (Q, K)."""
    data: Any
    """The cells that are explained, (Q, D)."""
    feature_names: list[str]
    """Names of the columns."""
    output_names: list[str] | None = None
    """Names of the classes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `values`."""
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, item: Any) -> Explanation:
        """Return the chosen rows, columns and outputs, as of an array."""
        rows, columns, outputs = (
            *(item if isinstance(item, tuple) else (item,)),
            *[slice(None)] * 3,
        )[:3]
        values = self.values[(rows, columns, outputs)[: self.values.ndim]]
        base = self.base_values[(rows, outputs)[: self.base_values.ndim]]
        names: Any = np.array(self.feature_names, dtype=object)[columns]
        of_outputs: Any = self.output_names
        if of_outputs is not None:
            of_outputs = np.array(of_outputs, dtype=object)[outputs]
            of_outputs = of_outputs.tolist() if isinstance(of_outputs, np.ndarray) else [of_outputs]
        names = names.tolist() if isinstance(names, np.ndarray) else [names]
        return Explanation(values, base, np.asarray(self.data)[rows, columns], names, of_outputs)


class PFNExplainer:
    """Explainer with the interface of `shap.Explainer`, for a fitted estimator.

    The worth of a set of columns is the prediction for the row with all other cells missing,
    which networks read as they are: nothing is fitted again, and all sets of a row are query rows
    of one call in the context that `fit` left. Up to 2^D ≤ `n_coalitions` sets the values are
    exact; beyond,
    sets are drawn (kernel SHAP, with the sets that weigh most complete and all others in pairs).
    Values add up to the prediction less the base value either way. A cell that is missing has the
    value 0.

    Parameters
    ----------
    model : fitted classifier (probabilities are explained) or regressor (means), or a function of
        tables that returns (N,) or (N, K).
    background : table, optional
        Rows from which cells come that are left out, in place of missing ones; predictions are
        averaged over them.
    n_coalitions : int
        Sets of columns that are asked per row at most.
    random_state : int
        Decides which sets are drawn; the same for each row.

    Calling it with rows gives an `Explanation`: that of `shap` where the package is installed, so
    that its plots take it, else one with the same fields.

    >>> from sklearn.datasets import load_iris
    >>> from openpfn import PFNClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> classifier = PFNClassifier("tiny", n_estimators=1).fit(X[::5], y[::5])
    >>> PFNExplainer(classifier).shap_values(X[:2]).shape
    (2, 4, 3)
    """

    def __init__(
        self,
        model: Any,
        background: Any = None,
        *,
        n_coalitions: int = 256,
        random_state: int = 0,
    ) -> None:
        self.output_names: list[str] | None = None
        if hasattr(model, "predict_proba"):
            check_is_fitted(model)
            self._ask, self.output_names = model.predict_proba, [str(c) for c in model.classes_]
        elif hasattr(model, "predict"):
            check_is_fitted(model)
            self._ask = model.predict
        elif callable(model):
            self._ask = model
        else:
            raise ValueError(
                f"model is a {type(model).__name__}, must be a fitted classifier or regressor, or a"
                " function of tables."
            )
        if not isinstance(n_coalitions, (int, np.integer)) or n_coalitions < 4:
            raise ValueError(
                f"n_coalitions is {n_coalitions!r}, must be a whole number of at least 4."
            )
        self.model, self.n_coalitions, self.random_state = model, int(n_coalitions), random_state
        self.background = None if background is None else _as_table(background, "background")
        if self.background is not None and not len(self.background):
            raise ValueError("background has no rows. Give some, or None for missing cells.")
        self._is_array = True

    def __call__(self, X: Any) -> Any:
        """Return the explanation of each row of `X` (Q, D)."""
        values, base = self.values_and_base(X)
        table = _as_table(X, "X")
        parts = {
            "values": values,
            "base_values": base,
            "data": table.to_numpy(),
            "feature_names": [str(name) for name in table.columns],
            "output_names": self.output_names,
        }
        if importlib.util.find_spec("shap") is None:
            return Explanation(**parts)
        shap = importlib.import_module("shap")
        return shap.Explanation(**parts)

    def shap_values(self, X: Any) -> Float[np.ndarray, "Q D"] | Float[np.ndarray, "Q D K"]:
        """Return the Shapley value of each cell of `X` (Q, D), for each of K classes."""
        return self.values_and_base(X)[0]

    @property
    def expected_value(self) -> Any:
        """What is predicted where no column is known: a number, or (K,) for classes."""
        if self.background is not None:
            return np.asarray(self._ask(self._as_asked(self.background))).mean(axis=0)
        n_columns = getattr(self.model, "n_features_in_", None)
        if n_columns is None:
            raise ValueError(
                "model is a function, whose base value is known once rows are explained: it is"
                " base_values of explainer(X)."
            )
        names = getattr(self.model, "feature_names_in_", None)
        nothing = pd.DataFrame(np.full((1, n_columns), np.nan), columns=names)
        return np.asarray(self._ask(nothing if names is not None else nothing.to_numpy()))[0]

    def values_and_base(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the Shapley values (Q, D) or (Q, D, K) of the rows of `X`, and what is predicted
        where no column is known, (Q,) or (Q, K)."""
        self._is_array = not isinstance(X, pd.DataFrame)
        table = _as_table(X, "X")
        if self.background is not None and self.background.shape[1] != table.shape[1]:
            raise ValueError(
                f"background has {self.background.shape[1]} columns and X has {table.shape[1]}."
                " Give the same columns."
            )
        if not len(table):
            raise ValueError("X has no rows. Give at least one row to explain.")
        explained = [self._explain(table.iloc[[i]]) for i in range(len(table))]
        values, base = (np.stack(parts) for parts in zip(*explained, strict=True))
        return values, base

    def _explain(self, row: pd.DataFrame) -> tuple[np.ndarray, Any]:
        """Return the values (D,) or (D, K) of one row, and its base value."""
        there = (
            ~row.isna().to_numpy()[0] if self.background is None else np.ones(row.shape[1], bool)
        )
        players = np.flatnonzero(there)
        n, weights = len(players), None
        if n == 0:
            base = self._worths(row, np.zeros((1, row.shape[1]), dtype=bool))[0]
            return np.zeros((row.shape[1], *np.shape(base))), base
        if 2**n <= self.n_coalitions:
            inside = all_coalitions(n)
        else:
            if self.n_coalitions < 2 * n + 2:
                raise ValueError(
                    f"n_coalitions is {self.n_coalitions}, but {n} columns need at least"
                    f" {2 * n + 2}. Raise it, or explain a model of fewer columns."
                )
            random = np.random.default_rng(self.random_state)
            drawn, weights = drawn_coalitions(n, self.n_coalitions - 2, random)
            ends = np.array([[False] * n, [True] * n])
            inside = np.concatenate([ends, drawn])
        masks = np.zeros((len(inside), row.shape[1]), dtype=bool)
        masks[:, players] = inside
        worths = self._worths(row, masks)  # (S,) or (S, K)
        flat = worths.reshape(len(worths), -1)
        if weights is None:
            found = exact_values(inside, flat)
        else:
            found = regressed_values(inside[2:], weights, flat[2:], flat[0], flat[1])
        values = np.zeros((row.shape[1], flat.shape[1]))
        values[players] = found
        return values.reshape(row.shape[1], *worths.shape[1:]), worths[0]

    def _worths(self, row: pd.DataFrame, masks: Bool[np.ndarray, "S D"]) -> np.ndarray:
        """Return the prediction for `row` with the cells outside each mask left out."""
        if self.background is None:
            return np.asarray(self._ask(self._as_asked(masked(row, masks))))
        answers, n = [], len(self.background)
        size = max(1, ROWS_AT_ONCE // n)
        for part in (masks[i : i + size] for i in range(0, len(masks), size)):
            repeated = np.repeat(part, n, axis=0)  # (s·n, D)
            others = pd.concat([self.background] * len(part), ignore_index=True)
            columns = [
                _mixed(row.iloc[:, i], others.iloc[:, i], repeated[:, i])
                for i in range(row.shape[1])
            ]
            mixed = pd.concat(columns, axis=1).set_axis(row.columns, axis=1)
            answer = np.asarray(self._ask(self._as_asked(mixed)))
            answers.append(answer.reshape(len(part), n, *answer.shape[1:]).mean(axis=1))
        return np.concatenate(answers)

    def _as_asked(self, table: pd.DataFrame) -> Any:
        """Return `table` in the form in which the rows came."""
        return table.to_numpy() if self._is_array else table


class MissingCells:
    """Masker for the explainers of `shap`: cells that are left out are missing.

    `shap.Explainer(classifier.predict_proba, MissingCells(X.columns))` explains rows of arrays or
    DataFrames; `columns` are names or the number of columns.
    """

    clustering = None

    def __init__(self, columns: Sequence[Any] | pd.Index | int) -> None:
        named = not isinstance(columns, (int, np.integer))
        self.feature_names = [str(c) for c in columns] if named else None
        self.names = list(columns) if named else None
        self.shape = (1, len(columns) if named else int(columns))

    def __call__(self, mask: Any, *rows: Any) -> tuple[Any]:
        """Return the row with the cells outside `mask` missing, as a table of one row."""
        inside = np.broadcast_to(np.asarray(mask, dtype=bool), (1, self.shape[1]))
        row = np.asarray(rows[0])
        table = pd.DataFrame([row], columns=self.names).infer_objects()
        out = masked(table, inside)
        return (out.to_numpy(),) if self.names is None else (out,)


def masked(row: pd.DataFrame, masks: Bool[np.ndarray, "S D"]) -> pd.DataFrame:
    """Return `row` once per mask, with the cells outside it missing."""
    columns = []
    for i in range(row.shape[1]):
        cells = row.iloc[:, i]
        if cells.dtype.kind in "iuf" and isinstance(cells.dtype, np.dtype):
            cells = np.where(masks[:, i], float(cells.iloc[0]), np.nan)
            columns.append(pd.Series(cells))
            continue
        if cells.dtype.kind == "b" and isinstance(cells.dtype, np.dtype):
            cells = cells.astype(object)
        repeated = cells.iloc[np.zeros(len(masks), dtype=int)].reset_index(drop=True)
        columns.append(repeated.where(pd.Series(masks[:, i])))
    return pd.concat(columns, axis=1).set_axis(row.columns, axis=1)


def _mixed(own: pd.Series, others: pd.Series, inside: Bool[np.ndarray, " N"]) -> pd.Series:
    """Return the row's own cell where `inside`, else the others'."""
    cells = others.astype(object).to_numpy(copy=True)
    cells[inside] = own.iloc[0]
    return pd.Series(cells).infer_objects()


def _as_table(X: Any, name: str) -> pd.DataFrame:
    if not isinstance(X, pd.DataFrame) and hasattr(X, "to_pandas"):
        X = X.to_pandas()
    if isinstance(X, pd.DataFrame):
        return X.reset_index(drop=True)
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} axes, must have rows and columns. Give one row as"
            f" {name}[[i]]."
        )
    return pd.DataFrame(array)
