"""`PFNClassifier`: a scikit-learn classifier whose network was trained before it saw any of your
data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import (
    check_is_fitted,
)

from openpfn.estimators.base import PFNEstimator
from openpfn.estimators.calibration import FEWEST_ROWS, LEAST_PROBABILITY, best_factor
from openpfn.estimators.contexts.classes import ClassContext
from openpfn.estimators.network import Network, advice, find_network
from openpfn.estimators.views.canonical import canonical_order, row_order
from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.ensemble import Member, draw_members
from openpfn.tables.json_values import array_from_json, array_to_json


class PFNClassifier(ClassifierMixin, PFNEstimator):
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
    calibrate : bool
        Choose a temperature for the table, by the log-loss of predictions for five folds of the
        context; takes six times as long to fit.
    target_statistics : bool
        Show the network, for each column of many categories, the mean of the target per category as
        a further column; of context rows it is the mean over rows of other folds.
    text : "auto", "string", "encoder" or "drop"
        How columns of many different words are read: by their letters and words, by these and a
        sentence encoder, or not at all. "auto" is "encoder" where one is on disk and the texts are
        not too many for it, else "string".
    text_scores : bool
        Show the network, beside four principal components of each such column, what all texts of a
        row say of its target; of context rows, what is learnt from the rows of other folds.

    Attributes
    ----------
    classes_ : the labels, sorted.
    n_features_in_, feature_names_in_ : columns of the context.
    encoder_ : the `TableEncoder`; `encoder_.describe()` tells how each column is read.
    temperature_ : what `calibrate` chose, a factor of `softmax_temperature`; else 1.
    statistics_ : the `TargetStatistics`; None without.
    text_scores_ : the `TextScores`; None without, and where no column holds text.
    context_ : the `ClassContext`; None where all rows have one class.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> PFNClassifier().fit(X[::2], y[::2]).predict_proba(X[1::2]).shape
    (75, 3)
    """

    context_: ClassContext | None
    saved_parameters = (
        "n_estimators",
        "softmax_temperature",
        "memory_limit",
        "calibrate",
        "target_statistics",
        "text",
        "text_scores",
    )
    targets_name = "labels"

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
        calibrate: bool = False,
        target_statistics: bool = False,
        text: str = "auto",
        text_scores: bool = True,
    ) -> None:
        super().__init__(
            checkpoint,
            model=model,
            n_estimators=n_estimators,
            device=device,
            random_state=random_state,
            memory_limit=memory_limit,
            calibrate=calibrate,
            target_statistics=target_statistics,
            text=text,
            text_scores=text_scores,
        )
        self.softmax_temperature = softmax_temperature

    def fit(self, X: Any, y: Any) -> PFNClassifier:
        """Show the network the context: rows `X` (n, D) and their labels `y` (n,).

        Raises ValueError for infinite values, missing labels, and more classes than the network can
        tell apart.
        """
        self._check_parameters()
        table = self._table(X, reset=True)
        labels = self._labels(y, table)
        rows = self._fit_encoder(table)
        n_classes = len(self.classes_)
        self.order_, self.tied_ = canonical_order(rows.numbers, labels, n_classes)
        self.context_, self.statistics_, self.text_scores_ = None, None, None
        self.temperature_ = 1.0
        if n_classes > 1:
            network = find_network(self.checkpoint, self.model, self.device)
            in_order = getattr(network.model, "reads_classes_as_numbers", False)
            if in_order:  # class 1 lies between 0 and 2: keep them as they sort
                self.order_, self.tied_ = np.arange(n_classes), []
            self._check_network(network)
            self._warn_beyond_training(network, *rows.numbers.shape)
            places = np.argsort(self.order_)[labels]
            order = row_order(self._select(rows.numbers), places)
            rows, places = rows[order], places[order]
            n_shifts = 1 if in_order else n_classes  # nor shift them round
            members = draw_members(int(self.n_estimators), n_shifts, self._seed())
            if self.calibrate and len(rows) >= FEWEST_ROWS:
                self.temperature_ = self._best_temperature(network, members, rows, places)
            added, self.context_ = self._show_context(network, members, rows, places)
            self.statistics_, self.text_scores_ = added
            self.context_.order = order
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the probability of each of `classes_` for each row of `X` (Q, D)."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        if self.context_ is None:
            return np.ones((len(table), 1))
        rows = self.read_rows(table)
        canonical = self._probabilities(self.context_.mean_log_probs(rows), self.temperature_)
        probabilities = np.empty_like(canonical)
        probabilities[:, self.order_] = canonical
        return probabilities

    def predict_logits(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the logarithms of `predict_proba`: logits whose softmax are the probabilities, in
        nats, finite also where a probability is 0 in double precision."""
        return np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X` (Q, D)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _probabilities(
        self, mean_log_probs: Float[np.ndarray, "Q k"], temperature: float
    ) -> Float[np.ndarray, "Q k"]:
        """Return the probabilities of the classes in canonical order."""
        canonical = softmax(mean_log_probs / (self.softmax_temperature * temperature), axis=1)
        for places in self.tied_:
            canonical[:, places] = canonical[:, places].mean(axis=1, keepdims=True)
        return canonical

    def _best_temperature(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        places: Int[np.ndarray, " n"],
    ) -> float:
        answers = self._out_of_fold(network, members, rows, places)

        def loss(temperature: float) -> float:
            probabilities = self._probabilities(answers, temperature)
            true = probabilities[np.arange(len(places)), places]
            return float(-np.log(np.maximum(true, LEAST_PROBABILITY)).mean())

        return best_factor(loss, len(places))

    def target_columns(self, targets: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n T"]:
        one_hot = np.eye(len(self.classes_))[targets]
        return one_hot[:, 1:] if one_hot.shape[1] == 2 else one_hot

    def fold_answers(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"],
        query: EncodedRows,
    ) -> Float[np.ndarray, "q k"]:
        added, context = self._show_context(network, members, rows, targets)
        return context.mean_log_probs(self._shown(query, added))

    def make_context(
        self,
        network: Network,
        members: list[Member],
        rows: Float[np.ndarray, "n S"] | None,
        targets: Int[np.ndarray, " n"] | None,
        categorical: Bool[np.ndarray, " S"],
    ) -> ClassContext:
        return ClassContext(
            network,
            members,
            rows,
            targets,
            categorical,
            self.device,
            self._limit,
            n_classes=len(self.classes_),
        )

    def learnt(self) -> dict[str, Any]:
        try:
            classes = array_to_json(self.classes_)
        except TypeError as error:
            raise ValueError(
                f"the classes cannot be saved: {error}. Fit with words or numbers as labels."
            ) from error
        return {
            "classes": classes,
            "order": self.order_.tolist(),
            "tied": self.tied_,
            "temperature": self.temperature_,
        }

    def relearn(self, record: Mapping[str, Any]) -> None:
        classes = record["classes"]
        if isinstance(classes, list):  # before format 3
            classes = {"dtype": record["classes_dtype"], "values": classes}
        self.classes_ = array_from_json(classes)
        self.order_, self.tied_ = np.array(record["order"]), record["tied"]
        self.temperature_ = float(record.get("temperature", 1.0))  # before format 4

    def facts(self) -> dict[str, bool]:
        context, n_classes = self.context_, len(self.classes_)
        facts = {
            "classes": sorted(self.order_.tolist()) == list(range(n_classes))
            and all(0 <= place < n_classes for group in self.tied_ for place in group),
            "temperature": 0 < self.temperature_ < np.inf,
            "context": n_classes == 1 or context is not None,
        }
        if context is not None and context.targets is not None:
            facts["labels"] = context.targets.dtype == np.int64 and np.unique(
                context.targets
            ).tolist() == list(range(n_classes))
        return facts

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.softmax_temperature > 0:
            raise ValueError(
                f"softmax_temperature is {self.softmax_temperature!r}, must be above 0."
            )

    def _check_network(self, network: Network) -> None:
        if not network.predicts("classes"):
            raise ValueError(
                f"{network} predicts numbers alone, but PFNClassifier needs one that predicts"
                f" classes. Use PFNRegressor, or {advice('classes')}."
            )
        if len(self.classes_) > network.max_classes:
            raise ValueError(
                f"y has {len(self.classes_)} classes, but this network can tell at most"
                f" {network.max_classes} apart. Merge rare classes, or use a checkpoint with more."
            )
