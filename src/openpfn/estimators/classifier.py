"""`PFNClassifier`: a scikit-learn classifier whose network was trained before it saw any of your
data."""

from __future__ import annotations

import numbers
import warnings
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from openpfn.estimators.canonical import canonical_order, in_canonical_order
from openpfn.estimators.context import Context
from openpfn.estimators.ensemble import draw_members
from openpfn.estimators.network import Network, find_network
from openpfn.tables.encode import TableEncoder


class PFNClassifier(ClassifierMixin, BaseEstimator):
    """Classifier that predicts in context: `fit` shows the rows to a network, nothing is trained.

    Takes arrays and DataFrames with numbers, categories, truth values, dates, words and missing
    values, and labels of any type. A prediction depends neither on the other query rows nor on the
    names of the classes.

    Parameters
    ----------
    checkpoint : str or Path
        "auto" (the shipped "nano"), a shipped name, or the path of a checkpoint.
    model : network in memory, optional
        Used in place of a checkpoint; clones share it.
    n_estimators : int
        Views of the table (orders of columns, shifts of classes, transformed columns) whose logits
        are averaged.
        The first is the table as it is.
    softmax_temperature : float
        Divides the averaged logits; below 1 sharpens the probabilities.
    device : str
        "auto" (cuda, then mps, then cpu; a model in memory stays where it is) or a torch device.
    random_state : int, RandomState or None
        Decides the views. None draws other ones at each fit.
    memory_limit : int or None
        Bytes that working memory and, apart from it, the kept context may take; None for no limit.

    Attributes
    ----------
    classes_ : the labels, sorted.
    n_features_in_, feature_names_in_ : columns of the context.
    encoder_ : the `TableEncoder`; `encoder_.describe()` tells how each column is read.
    context_ : the `Context`; None where all rows have one class.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> PFNClassifier().fit(X[::2], y[::2]).predict_proba(X[1::2]).shape
    (75, 3)
    """

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        checkpoint: str | Path = "auto",
        *,
        model: Any = None,
        n_estimators: int = 4,
        softmax_temperature: float = 1.0,
        device: str = "auto",
        random_state: Any = 0,
        memory_limit: int | None = 2**30,
    ) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.n_estimators = n_estimators
        self.softmax_temperature = softmax_temperature
        self.device = device
        self.random_state = random_state
        self.memory_limit = memory_limit

    def fit(self, X: Any, y: Any) -> PFNClassifier:
        """Show the network the context: rows `X` (n, D) and their labels `y` (n,).

        Raises ValueError for infinite values, missing labels, and more classes than the network can
        tell apart.
        """
        self._check_parameters()
        table = self._table(X, reset=True)
        labels = self._labels(y, table)
        self.encoder_ = TableEncoder()
        rows = self.encoder_.fit_transform(table)
        if rows.shape[1] == 0:
            raise ValueError(
                f"X holds no values: all of its {table.shape[1]} columns are missing in every row."
                " Give at least one column with values."
            )
        self.columns_ = _columns_that_vary(rows)
        n_classes = len(self.classes_)
        self.order_, self.tied_ = canonical_order(rows, labels, n_classes)
        self.context_ = None
        if n_classes > 1:
            network = find_network(self.checkpoint, self.model, self.device)
            in_order = getattr(network.model, "reads_classes_as_numbers", False)
            if in_order:  # class 1 lies between 0 and 2: keep them as they sort
                self.order_, self.tied_ = np.arange(n_classes), []
            self._compare_with_training(network, *rows.shape)
            seen, places = in_canonical_order(self._select(rows), np.argsort(self.order_)[labels])
            self.context_ = Context(
                network,
                draw_members(
                    int(self.n_estimators),
                    1 if in_order else n_classes,  # nor shift them round
                    check_random_state(self.random_state).randint(2**31 - 1),
                ),
                seen,
                places,
                (
                    self.encoder_.categorical[self.columns_]
                    if len(self.columns_)
                    else np.zeros(1, dtype=bool)
                ),
                n_classes,
                self.device,
                None if self.memory_limit is None else int(self.memory_limit),
            ).read()
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the probability of each of `classes_` for each row of `X` (Q, D)."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        if self.context_ is None:
            return np.ones((len(table), 1))
        mean_log_probs = self.context_.mean_log_probs(self._select(self.encoder_.transform(table)))
        canonical = softmax(mean_log_probs / self.softmax_temperature, axis=1)
        for places in self.tied_:
            canonical[:, places] = canonical[:, places].mean(axis=1, keepdims=True)
        probabilities = np.empty_like(canonical)
        probabilities[:, self.order_] = canonical
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X` (Q, D)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    @property
    def state_bytes_(self) -> int:
        """Bytes that the states of the context take in memory; 0 where none are kept."""
        check_is_fitted(self)
        return 0 if self.context_ is None else self.context_.state_bytes

    def save(
        self,
        path: str | Path,
        *,
        embed_weights: bool | None = None,
        keep_rows: bool = True,
        states: str | None = None,
    ) -> Path:
        """Write the fitted classifier to one safetensors file, without pickle.

        Parameters
        ----------
        path : where to.
        embed_weights : bool or None
            Put the network's weights into the file. None: only those of a shipped checkpoint stay
            out, and are recorded by name and hash.
        keep_rows : bool
            False leaves out the context's rows and labels. The states take their place, and sorted
            column values are
            thinned to 1,000 per column.
        states : "float32", "bfloat16" or None
            Store what the network keeps of the context, so that the loaded classifier predicts
            without reading it again:
            with the same bits, or in half the size with nearly the same probabilities. None stores
            it only where the rows are left out.

        Raises ValueError where states are to be stored that `memory_limit` did not let `fit` keep.
        """
        from openpfn.estimators.saving import save

        check_is_fitted(self)
        return save(self, path, embed_weights=embed_weights, keep_rows=keep_rows, states=states)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> PFNClassifier:
        """Return the classifier that `save` wrote to `path`. Raises ValueError if it is damaged."""
        from openpfn.estimators.saving import load

        return load(cls, path, device=device)

    def believer(self, X: Any, y: Any, *, refit: str = "each") -> Any:
        """Return what `openpfn.bayes.predictive_resample` asks and rolls out: this classifier after
        reading `X` and `y`. The classifier itself stays as it is."""
        from openpfn.estimators.resampling import classifier_believer

        return classifier_believer(self, X, y, refit)

    def _check_parameters(self) -> None:
        if not isinstance(self.n_estimators, numbers.Integral) or self.n_estimators < 1:
            raise ValueError(
                f"n_estimators is {self.n_estimators!r}, must be a whole number of at least 1."
            )
        if not self.softmax_temperature > 0:
            raise ValueError(
                f"softmax_temperature is {self.softmax_temperature!r}, must be above 0."
            )
        if self.memory_limit is not None and not self.memory_limit > 0:
            raise ValueError(
                f"memory_limit is {self.memory_limit!r}, must be a number of bytes above 0, or"
                " None."
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

    def _labels(self, y: Any, table: pd.DataFrame) -> Int[np.ndarray, " n"]:
        """Set `classes_` and return the index of each row's class."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is"
                " None."
            )
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

    def _select(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N S"]:
        """Return the columns that vary; a column of zeros where none does."""
        return rows[:, self.columns_] if len(self.columns_) else np.zeros((len(rows), 1))

    def _compare_with_training(self, network: Network, n_rows: int, n_columns: int) -> None:
        if len(self.classes_) > network.max_classes:
            raise ValueError(
                f"y has {len(self.classes_)} classes, but this network can tell at most"
                f" {network.max_classes} apart. Merge rare classes, or use a checkpoint with more."
            )
        for n, limit, what in (
            (n_rows, network.max_rows, "rows"),
            (n_columns, network.max_columns, "columns"),
        ):
            if limit is not None and n > limit:
                warnings.warn(
                    f"X has {n} {what}, but this checkpoint was trained on at most {limit}:"
                    " predictions may be worse than they could be.",
                    stacklevel=3,
                )

    def __sklearn_clone__(self) -> PFNClassifier:
        """Return a copy that shares a model in memory, which is read and never changed."""
        parameters = {
            name: value if name == "model" else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        copy = type(self)(**parameters)
        routing = getattr(self, "_metadata_request", None)
        if routing is not None:
            setattr(copy, "_metadata_request", clone(routing, safe=False))  # noqa: B010
        return copy

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


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


def _columns_that_vary(rows: Float[np.ndarray, "n D"]) -> Int[np.ndarray, " S"]:
    """Return the columns with at least two different values, where missing counts as one."""
    missing = np.isnan(rows)
    filled = np.where(missing, np.inf, rows)
    highest = np.where(missing, -np.inf, rows).max(axis=0, initial=-np.inf)
    lowest = filled.min(axis=0, initial=np.inf)
    return np.flatnonzero((highest > lowest) | (missing.any(axis=0) & ~missing.all(axis=0)))
