"""Estimators that learn from context rows alone how to read a table of any columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from openpfn.benchmark.tables.distributions import Answer, Distribution, GaussianResiduals
from openpfn.tables.columns.base import ColumnEncoder
from openpfn.tables.columns.texts import NoText, Text, texts_of
from openpfn.tables.encode import TableEncoder
from openpfn.tables.schema import Kind
from openpfn.tables.values import ColumnValues, plain_values

N_SENTENCE_COMPONENTS = 30
"""Principal components of a sentence encoder's vectors that boosted trees are given."""
Reading = Literal["frame", "codes", "filled", "scaled", "native", "words", "sentences"]
"""Form in which an estimator takes its columns: the data frame itself; numbers with category codes
and NaN; the same without NaN; one-hot categories, medians with missing indicators, unit variance;
codes as integers that the estimator is told are categories; the same with texts as they are, of
which it is told too; codes, and what a sentence encoder says of texts."""


class Reader:
    """`estimator` behind the reading it needs; everything is learnt in `fit`, from the rows given
    there."""

    def __init__(
        self,
        estimator: Any,
        reading: Reading,
        kinds: Mapping[Hashable, Kind],
        distribution: Distribution | None = None,
    ) -> None:
        self.estimator = estimator
        self.reading: Reading = reading
        self.kinds = kinds
        self.distribution = distribution or GaussianResiduals()

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Reader:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of convergence and of constant columns: results speak for themselves
            self.fitting: dict[str, Any] = {}
            if self.reading == "frame":
                self.estimator.fit(X, y)
                return self
            self.encoder = TableEncoder(_fit_text(self.reading)).fit(X, dict(self.kinds))
            columns = self.encoder.transform(X)
            if columns.shape[1] == 0:
                columns = np.zeros((len(X), 1))
            self.transform = _preparation(self.reading, self._categorical(columns))
            columns = self.transform.fit_transform(columns)
            if self.reading == "words":
                columns = self._with_texts(columns, X)
                self.fitting["text_features"] = [c for c in columns if isinstance(c, str)]
            if self.reading in ("native", "words"):
                self.fitting["cat_features"] = list(np.flatnonzero(self._categorical(columns)))
            self.estimator.fit(columns, y, **self.fitting)
        return self

    def fit_distribution(
        self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray | None = None
    ) -> Reader:
        """Learn from the rows that `fit` was given what quantiles need; rows of one of the `groups`
        do not tell how far off others of it are."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.distribution.fit(self.estimator, self.read(X), y, groups, self.fitting)
        return self

    def read(self, X: pd.DataFrame) -> Any:
        """`X` as the estimator wants it."""
        if self.reading == "frame":
            return X
        columns = self.encoder.transform(X)
        columns = self.transform.transform(columns if columns.shape[1] else np.zeros((len(X), 1)))
        return self._with_texts(columns, X) if self.reading == "words" else columns

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self.estimator.predict_proba(self.read(X)))

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self.estimator.predict(self.read(X)))

    def predict_numbers(self, X: pd.DataFrame, levels: Sequence[float]) -> Answer:
        """Return numbers (Q,) and their quantiles at `levels` (Q, L), after `fit_distribution`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.distribution.answer(self.estimator, self.read(X), levels)

    @property
    def classes_(self) -> np.ndarray:
        return np.asarray(self.estimator.classes_)

    def _with_texts(self, columns: pd.DataFrame, X: pd.DataFrame) -> pd.DataFrame:
        """Columns and, behind them, those of text."""
        texts = {
            f"text {i}": texts_of(plain_values(X.iloc[:, i]))
            for i, column in enumerate(self.encoder.columns)
            if column.kind == "text"
        }
        return pd.concat([columns, pd.DataFrame(texts, index=columns.index)], axis=1)

    def _categorical(self, columns: Any) -> np.ndarray:
        known = self.encoder.categorical
        return known if len(known) else np.zeros(columns.shape[1], dtype=bool)


def _fit_text(reading: Reading) -> Callable[[ColumnValues], ColumnEncoder]:
    """What makes the encoder of a column of text."""
    if reading == "words":
        return NoText.fit
    if reading == "sentences":
        from openpfn.estimators.views.text_reading import fit_vectors

        return partial(fit_vectors, n_components=N_SENTENCE_COMPONENTS)
    return Text.fit


def _preparation(reading: Reading, categorical: np.ndarray) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    if reading in ("codes", "sentences"):
        return FunctionTransformer()
    if reading in ("native", "words"):
        return FunctionTransformer(_with_words, kw_args={"categorical": categorical})
    if reading == "filled":
        return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
    )
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", numbers, np.flatnonzero(~categorical)),
            ("categories", one_hot, np.flatnonzero(categorical)),
        ]
    )


def _with_words(columns: np.ndarray, categorical: np.ndarray) -> pd.DataFrame:
    """Category codes as words: what CatBoost takes for categories."""
    frame = pd.DataFrame(columns)
    for i in np.flatnonzero(categorical):
        frame[i] = [("missing" if np.isnan(v) else str(int(v))) for v in columns[:, i]]
    return frame
