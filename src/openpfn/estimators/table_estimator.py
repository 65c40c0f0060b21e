"""`TableEstimator`: how every estimator here reads a table and its target, and what it refuses."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data


class TableEstimator(BaseEstimator):
    """Estimator that takes tables of any columns, and labels or numbers of any type."""

    classes_: np.ndarray
    n_estimators: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _check_n_estimators(self) -> None:
        if not isinstance(self.n_estimators, numbers.Integral) or self.n_estimators < 1:
            raise ValueError(
                f"n_estimators is {self.n_estimators!r}, must be a whole number of at least 1."
            )

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Return `X` as a DataFrame, its shape and column names checked."""
        if not isinstance(X, pd.DataFrame) and hasattr(X, "to_pandas"):
            X = X.to_pandas()
        if not isinstance(X, pd.DataFrame):
            # what is infinite is refused by the encoder, which names the column
            checked = validate_data(
                self, _without_padding(X), reset=reset, dtype=None, ensure_all_finite=False
            )
            return pd.DataFrame(checked)
        validate_data(self, X=X, reset=reset, skip_check_array=True)  # pyright: ignore[reportArgumentType]
        if 0 in X.shape:
            what = "sample" if len(X) == 0 else "feature"
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required"
                f" by {type(self).__name__}."
            )
        return X

    def _require(self, y: Any) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )

    def _labels(self, y: Any, table: pd.DataFrame) -> Int[np.ndarray, " n"]:
        """Set `classes_` and return the index of each row's class."""
        self._require(y)
        y = column_or_1d(y, warn=True)
        if y.dtype == object:
            y = pd.Series(y).infer_objects().to_numpy()
        if y.dtype.kind == "T":  # NumPy's strings of any length
            y = y.astype(object)
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        elif pd.isna(y).any():
            raise ValueError(
                f"Input y contains NaN: {int(pd.isna(y).sum())} labels are missing. Leave those"
                " rows out."
            )
        check_consistent_length(table, y)
        try:
            if y.dtype != object or isinstance(y[0], (str, bytes)):
                check_classification_targets(y)
            self.classes_, labels = np.unique(y, return_inverse=True)
        except TypeError as error:
            types = sorted({type(label).__name__ for label in y})
            raise ValueError(
                f"y holds labels that cannot be put in order, of type {' and '.join(types)}. Give"
                " labels of one type, such as words."
            ) from error
        return labels

    def _numbers(self, y: Any, table: pd.DataFrame) -> Float[np.ndarray, " n"]:
        """Return the targets in float64."""
        self._require(y)
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            raise ValueError(
                f"y has {shape[1]} columns, but {type(self).__name__} predicts one number per row."
                " Fit one regressor per column, as sklearn.multioutput.MultiOutputRegressor does."
            )
        y = column_or_1d(y, warn=True)
        missing = int(np.asarray(pd.isna(y)).sum())
        if missing and y.dtype.kind != "f":
            raise ValueError(
                f"Input y contains NaN: {missing} targets are missing. Leave those rows out."
            )
        numbers = _as_floats(y)
        with np.errstate(invalid="ignore"):  # the sum of huge numbers, which is looked at first
            assert_all_finite(numbers, input_name="y")
        check_consistent_length(table, numbers)
        return numbers


def _without_padding(X: Any) -> Any:
    """Return lists with words as an array of objects: NumPy makes all as long as the longest."""
    if not isinstance(X, (list, tuple)):
        return X
    rows = [row for row in X if isinstance(row, (list, tuple))]
    if not any(isinstance(value, str) for row in rows for value in row):
        return X
    try:
        return np.array(X, dtype=object)
    except ValueError:  # of rows that are not equally long scikit-learn tells
        return X


def _as_floats(y: np.ndarray) -> Float[np.ndarray, " n"]:
    """Return `y` in float64. Raises ValueError for what is no number."""
    words = y.dtype.kind in "OTUS" and [v for v in y.tolist() if isinstance(v, (str, bytes))]
    if words:
        raise ValueError(
            f"y holds words, such as {words[0]!r}, but PFNRegressor predicts numbers. Use"
            " PFNClassifier for classes, or turn y into numbers."
        )
    try:
        if y.dtype.kind in "cmM":
            raise TypeError(f"{y.dtype} is no type of real numbers")
        return y.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"y holds what is no number in float64 ({error}). Give one real number per row."
        ) from error
