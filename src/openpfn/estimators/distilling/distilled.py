"""`DistilledClassifier` and `DistilledRegressor`: small models that learned a network's answers and
predict without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, no_type_check

import numpy as np
from jaxtyping import Float
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from openpfn.estimators.distilling.fidelity import Fidelity
from openpfn.estimators.distilling.students import STUDENTS, Student
from openpfn.estimators.table_estimator import TableEstimator
from openpfn.estimators.views.row_reader import RowReader
from openpfn.files import below
from openpfn.tables.json_values import array_from_json, array_to_json

E = TypeVar("E", bound="DistilledEstimator")
LEVELS = (0.05, 0.5, 0.95)
"""Levels of the quantiles that a distilled regressor knows."""
LEAST_PROBABILITY = 1e-4
"""A smaller probability is learned as this: how sure beyond it matters to no decision."""


class DistilledEstimator(TableEstimator, ABC):
    """Small model that answers as a network does which was shown a context."""

    student_: Student | None
    reader_: RowReader
    fidelity_: Fidelity | None

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        teacher: Any = None,
        *,
        kind: str = "trees",
        n_rows: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.teacher = teacher
        self.kind = kind
        self.n_rows = n_rows
        self.random_state = random_state

    def fit(self: E, X: Any, y: Any) -> E:
        """Fit the teacher to rows `X` (n, D) and targets `y` (n,), and learn its answers.

        Raises ValueError as the teacher's `fit` does.
        """
        from sklearn.base import clone

        self._check_kind()
        self._require(y)
        teacher = self.default_teacher() if self.teacher is None else clone(self.teacher)
        return self.learn_from(teacher.fit(X, y))

    def learn_from(self: E, fitted: Any, X: Any = None) -> E:
        """Learn the answers of a `fitted` estimator to rows made of its context's, or of those of
        the table `X`."""
        from openpfn.estimators.distilling.teaching import teach

        self._check_kind()
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
        self.reader_ = RowReader.of(fitted)
        self.take_up(fitted)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.student_, self.fidelity_ = None, None
        if fitted.context_ is not None:
            self.student_, self.fidelity_ = teach(
                STUDENTS[self.kind], fitted, self.lessons, self.n_rows, seed, X
            )
        return self

    def save(self, path: str | Path) -> Path:
        """Write the fitted model to one safetensors file: arrays and JSON, no pickle, nothing of
        torch."""
        from openpfn.estimators.distilling.file import write

        check_is_fitted(self)
        reading, arrays = self.reader_.state()
        record = {
            "estimator": type(self).__name__,
            "kind": self.kind,
            "n_rows": self.n_rows,
            "n_features": int(self.n_features_in_),
            "feature_names": (
                [str(name) for name in self.feature_names_in_]
                if hasattr(self, "feature_names_in_")
                else None
            ),
            "reading": reading,
            "fidelity": None if self.fidelity_ is None else vars(self.fidelity_),
            "has_student": self.student_ is not None,
            **self.learnt(),
        }
        arrays = {f"reading/{name}": array for name, array in arrays.items()}
        if self.student_ is not None:
            arrays |= {f"student/{name}": array for name, array in self.student_.arrays().items()}
        return write(Path(path), arrays, record)

    @classmethod
    def load(cls: type[E], path: str | Path) -> E:
        """Return the model that `save` wrote to `path`. Raises ValueError if the file is damaged or
        holds another estimator."""
        from openpfn.estimators.distilling.file import read

        record, arrays = read(Path(path), cls.__name__)
        model = cls(kind=record["kind"], n_rows=record["n_rows"])
        model.n_features_in_ = record["n_features"]
        if record["feature_names"] is not None:
            model.feature_names_in_ = np.array(record["feature_names"], dtype=object)
        model.reader_ = RowReader.from_state(record["reading"], below("reading/", arrays))
        fidelity = record["fidelity"]
        model.fidelity_ = None if fidelity is None else Fidelity(**fidelity)
        model.student_ = None
        if record["has_student"]:
            model.student_ = STUDENTS[model.kind].from_arrays(below("student/", arrays))
        model.relearn(record)
        return model

    @abstractmethod
    def default_teacher(self) -> Any:
        """Return the estimator to learn from where none is given."""

    @abstractmethod
    def take_up(self, fitted: Any) -> None:
        """Take up what `fitted` knows of the target."""

    @abstractmethod
    def lessons(self, fitted: Any, rows: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N V"]:
        """Return what a student learns to answer to encoded `rows`."""

    @abstractmethod
    def learnt(self) -> dict[str, Any]:
        """Return what was taken up, as values for JSON."""

    @abstractmethod
    def relearn(self, record: Mapping[str, Any]) -> None:
        """Take up what `learnt` returned."""

    def _answers(self, X: Any) -> Float[np.ndarray, "Q V"]:
        """Return the student's answers; none (Q, 0) without one, where the target is constant."""
        check_is_fitted(self)
        rows = self.reader_(self._table(X, reset=False))
        return np.empty((len(rows), 0)) if self.student_ is None else self.student_(rows)

    def _check_kind(self) -> None:
        if self.kind not in STUDENTS:
            raise ValueError(f"kind is {self.kind!r}, must be one of {', '.join(STUDENTS)}.")
        if self.n_rows is not None and not self.n_rows >= 1:
            raise ValueError(f"n_rows is {self.n_rows!r}, must be at least 1, or None.")


class DistilledClassifier(ClassifierMixin, DistilledEstimator):
    """Classifier that learned the probabilities of a `PFNClassifier`.

    Parameters
    ----------
    teacher : PFNClassifier, optional
        What `fit` fits first; one with its defaults if absent.
    kind : "mlp", "trees" or "linear"
        A multilayer perceptron, gradient-boosted trees or a linear model, fitted by scikit-learn.
    n_rows : int or None
        Rows to learn from, made of the context's; None for 20 times these, from 2,000 to 10,000.
    random_state : int, RandomState or None
        Decides the rows and the fit.

    Attributes
    ----------
    classes_ : the labels, sorted.
    n_features_in_, feature_names_in_ : columns of the context.
    fidelity_ : the `Fidelity`, how near the model is to its teacher; None where all rows have one
        class.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> small = DistilledClassifier(kind="linear", n_rows=200).fit(X[::2], y[::2])
    >>> small.predict_proba(X[1::2]).shape
    (75, 3)
    """

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the probability of each of `classes_` for each row of `X` (Q, D)."""
        answers = self._answers(X)
        if len(self.classes_) == 1:
            return np.ones((len(answers), 1))
        if len(self.classes_) == 2:  # the log-odds of the second class
            answers = np.concatenate([np.zeros_like(answers), answers], axis=1)
        return softmax(answers, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X` (Q, D)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def default_teacher(self) -> Any:
        from openpfn.estimators import PFNClassifier

        return PFNClassifier()

    def take_up(self, fitted: Any) -> None:
        if not hasattr(fitted, "classes_"):
            raise ValueError(
                f"the teacher is a {type(fitted).__name__}, but DistilledClassifier learns from a"
                " classifier. Use DistilledRegressor."
            )
        self.classes_ = fitted.classes_

    def lessons(self, fitted: Any, rows: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N V"]:
        """Return log-probabilities relative to their mean, or the log-odds of two classes."""
        logs = np.log(np.maximum(fitted.probabilities_of(rows), LEAST_PROBABILITY))
        if logs.shape[1] == 2:
            return logs[:, 1:] - logs[:, :1]
        return logs - logs.mean(axis=1, keepdims=True)

    def learnt(self) -> dict[str, Any]:
        return {"classes": array_to_json(self.classes_)}

    def relearn(self, record: Mapping[str, Any]) -> None:
        self.classes_ = array_from_json(record["classes"])


class DistilledRegressor(RegressorMixin, DistilledEstimator):
    """Regressor that learned the mean and three quantiles of a `PFNRegressor`.

    Parameters and attributes are those of `DistilledClassifier`, but for the classes; a teacher
    needs a network that predicts numbers.

    >>> import numpy as np
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> DistilledRegressor().fit(X, np.full(20, 1.5)).predict([[0.3]])
    array([1.5])
    """

    def predict(self, X: Any, output: str = "mean") -> Float[np.ndarray, "..."]:
        """Return the mean of each row of `X` (Q, D), shape (Q,), or with output "quantiles" those
        at the levels 0.05, 0.5 and 0.95, shape (Q, 3)."""
        if output not in ("mean", "quantiles"):
            raise ValueError(f"output is {output!r}, must be mean or quantiles.")
        answers = self._answers(X)
        if self.student_ is None:
            answers = np.zeros((len(answers), 1 + len(LEVELS)))
        chosen = answers[:, 0] if output == "mean" else np.sort(answers[:, 1:], axis=1)
        return self.centre_ + self.spread_ * chosen

    def default_teacher(self) -> Any:
        from openpfn.estimators import PFNRegressor

        return PFNRegressor()

    def take_up(self, fitted: Any) -> None:
        if not hasattr(fitted, "spread_"):
            raise ValueError(
                f"the teacher is a {type(fitted).__name__}, but DistilledRegressor learns from a"
                " regressor. Use DistilledClassifier."
            )
        self.centre_, self.spread_ = fitted.centre_, fitted.spread_

    def lessons(self, fitted: Any, rows: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N V"]:
        """Return means and quantiles, standardised."""
        believed = fitted.distribution_of(fitted.context_.mean_quantiles(rows))
        values = [believed.mean, *(believed.quantile(level) for level in LEVELS)]
        answers = np.stack([value.numpy() for value in values], axis=1)
        return (answers - self.centre_) / self.spread_

    def learnt(self) -> dict[str, Any]:
        return {"centre": self.centre_, "spread": self.spread_}

    def relearn(self, record: Mapping[str, Any]) -> None:
        self.centre_, self.spread_ = float(record["centre"]), float(record["spread"])
