"""`PFNClassifier`: a scikit-learn classifier whose network was trained before it saw any of your
data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import (
    check_is_fitted,
)

from openpfn.estimators.base import PFNEstimator
from openpfn.estimators.calibration import (
    FEWEST_ROWS,
    LEAST_PROBABILITY,
    MOST_JUDGED,
    best_factor,
)
from openpfn.estimators.contexts.classes import ClassContext
from openpfn.estimators.contexts.neighbours import NeighbourContext
from openpfn.estimators.limits.imbalance import balanced
from openpfn.estimators.limits.plan import Plan
from openpfn.estimators.limits.weights import refuse
from openpfn.estimators.network import Network, advice, find_network
from openpfn.estimators.views.canonical import canonical_order, row_order
from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.ensemble import Member, draw_members
from openpfn.tables.json_values import array_from_json, array_to_json


class PFNClassifier(ClassifierMixin, PFNEstimator):
    """Classifier that predicts in context: `fit` shows the rows to a network, nothing is trained.

    Takes arrays and DataFrames with numbers, categories, truth values, dates, words and missing
    values, and labels of any type. A prediction depends neither on the other query rows nor on the
    names of the classes. Any number of classes, columns and rows, and of targets.

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
    stacking : "auto" or bool
        Show the network, beside a row's columns, what five simple models say of its target: ridge
        regressions on single columns, on products of pairs and on the leaves of random trees,
        from 100 rows on boosted trees and a forest; of context rows, what is learnt from other rows
        (Wolpert 1992). "auto" does so where the network was trained with such columns. Of more than
        10 classes, and fewer than 10 rows, they are left out.
    rows_per_member : "auto", int or None
        Context rows that a view sees. "auto" is all, but of more than 2,048 rows for a network
        whose state grows with them; None is all.
    subsample : "uniform" or "balanced"
        How these are drawn: each class as often as in the context, or as often as any other.
    columns_per_member : "auto", int or None
        Columns that a view sees. "auto" is as many as the network was trained on; None is all.
    many_classes : "auto", "hierarchy", "codes" or "neighbours"
        How more classes than the network's are told apart: in groups and classes of a group, by
        error-correcting codes, or by soft nearest neighbours in the network's space. "auto" is
        "hierarchy".
    balance_probabilities : bool
        Answer as if all classes were equally frequent.
    chain : bool
        Of several targets, predict each from the columns and the targets before it.
    fine_tune : bool or FineTuneOptions
        Train the network for a few steps on folds of the context, and take that up where it lowers
        the loss of held-out rows beyond chance. Takes minutes where `fit` takes less than a second.

    Attributes
    ----------
    classes_ : the labels, sorted; of several targets a list of these.
    class_counts_ : context rows of each class.
    beyond_ : what was done, in words, because the table goes beyond what the network was trained
        on.
    estimators_ : of several targets, a classifier of each; else None.
    n_features_in_, feature_names_in_ : columns of the context.
    encoder_ : the `TableEncoder`; `encoder_.describe()` tells how each column is read.
    temperature_ : what `calibrate` chose, a factor of `softmax_temperature`; else 1.
    statistics_ : the `TargetStatistics`; None without.
    text_scores_ : the `TextScores`; None without, and where no column holds text.
    stacked_ : the `StackedScores`; None without.
    fine_tuning_ : the `FineTuning`, how fine-tuning went; None without.
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
        "stacking",
        "rows_per_member",
        "subsample",
        "columns_per_member",
        "chain",
        "many_classes",
        "balance_probabilities",
        "fine_tune",
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
        stacking: bool | str = "auto",
        rows_per_member: int | str | None = "auto",
        subsample: str = "uniform",
        columns_per_member: int | str | None = "auto",
        many_classes: str = "auto",
        balance_probabilities: bool = False,
        chain: bool = False,
        fine_tune: Any = False,
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
            stacking=stacking,
            rows_per_member=rows_per_member,
            subsample=subsample,
            columns_per_member=columns_per_member,
            chain=chain,
            fine_tune=fine_tune,
        )
        self.softmax_temperature = softmax_temperature
        self.many_classes = many_classes
        self.balance_probabilities = balance_probabilities

    def fit(self, X: Any, y: Any, **unknown: Any) -> PFNClassifier:
        """Show the network the context: rows `X` (n, D) and their labels `y` (n,), or (n, T) for
        several targets.

        Raises ValueError for infinite values and missing labels.
        """
        refuse(self, unknown)
        self._check_parameters()
        table = self._table(X, reset=True)
        self._fit_table(table, y, read=True)
        self.seen_ = table.copy(deep=False), np.array(y)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> PFNClassifier:
        """Show the network further rows of the context, as `PFNEstimator.partial_fit` does.

        A part may bring new classes; where `classes` are given, labels beside these are refused.
        `classes_` holds those that have rows so far.
        """
        odd = [] if classes is None else np.setdiff1d(np.asarray(y), np.asarray(classes)).tolist()
        if odd:
            raise ValueError(f"y holds {odd[0]!r}, which is none of classes. Add it to them.")
        return super().partial_fit(X, y)

    def _fit_table(self, table: pd.DataFrame, y: Any, *, read: bool) -> None:
        if self._fit_targets(table, y):
            return
        labels = self._labels(y, table)
        rows = self._fit_encoder(table)
        n_classes = len(self.classes_)
        self.order_, self.tied_ = canonical_order(rows.numbers, labels, n_classes)
        self.context_, self.statistics_ = None, None
        self.text_scores_, self.stacked_ = None, None
        self.temperature_, self.fine_tuning_ = 1.0, None
        self.beyond_, self.seed_ = (), self._seed()
        self.class_counts_ = np.bincount(labels, minlength=n_classes)
        if n_classes > 1:
            network = find_network(self.checkpoint, self.model, self.device)
            in_order = getattr(network.model, "reads_classes_as_numbers", False)
            if in_order:  # class 1 lies between 0 and 2: keep them as they sort
                self.order_, self.tied_ = np.arange(n_classes), []
            self._check_network(network)
            places = np.argsort(self.order_)[labels]
            order = row_order(self._select(rows.numbers), places)
            rows, places = rows[order], places[order]
            n_shown = min(n_classes, network.max_classes)
            n_shifts = 1 if in_order else n_shown  # nor shift them round
            members = draw_members(int(self.n_estimators), n_shifts, self.seed_)
            network, answers = self._fine_tuned(network, members, rows, places)
            many = n_classes > network.max_classes
            if (self.calibrate or many) and len(rows) >= FEWEST_ROWS:
                answered: Any = slice(None)
                if answers is None:
                    most_rows = None if self.calibrate else MOST_JUDGED
                    answered, answers = self._out_of_fold(network, members, rows, places, most_rows)
                self.temperature_ = self._best_temperature(answers, places[answered])
            self._take_up_context(network, members, rows, places, order, read)

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each of `classes_` for each row of `X` (Q, D), as (Q, k); of
        several targets a list of these."""
        check_is_fitted(self)
        if self.estimators_ is not None:
            return self._each(X, lambda one, rows: one.predict_proba(rows))
        table = self._table(X, reset=False)
        if self.context_ is None:
            return np.ones((len(table), 1))
        return self.probabilities_of(self.read_rows(table))

    def probabilities_of(self, rows: Float[np.ndarray, "Q S"]) -> Float[np.ndarray, "Q k"]:
        """Return the probability of each of `classes_` for query rows as the context reads them."""
        assert self.context_ is not None, "all rows have one class"
        canonical = self._probabilities(self.context_.mean_log_probs(rows), self.temperature_)
        if self.balance_probabilities:
            canonical = balanced(canonical, self.class_counts_[self.order_])
        probabilities = np.empty_like(canonical)
        probabilities[:, self.order_] = canonical
        return probabilities

    def predict_logits(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the logarithms of `predict_proba`: logits whose softmax are the probabilities, in
        nats, finite also where a probability is 0 in double precision."""
        return np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X` (Q, D); of T targets as (Q, T)."""
        check_is_fitted(self)
        if self.estimators_ is not None:
            return np.stack(self._each(X, lambda one, rows: one.predict(rows)), axis=1)
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
        self, answers: Float[np.ndarray, "n k"], places: Int[np.ndarray, " n"]
    ) -> float:
        def loss(temperature: float) -> float:
            return float(self.row_losses(answers, places, temperature).mean())

        return best_factor(loss, len(places))

    def row_losses(
        self,
        answers: Float[np.ndarray, "n k"],
        targets: Int[np.ndarray, " n"],
        temperature: float = 1.0,
    ) -> Float[np.ndarray, " n"]:
        """Return −log of the true class' probability, at a temperature."""
        probabilities = self._probabilities(answers, temperature)
        true = probabilities[np.arange(len(targets)), targets]
        return -np.log(np.maximum(true, LEAST_PROBABILITY))

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
        n_classes = len(self.classes_)
        by_neighbours = n_classes > network.max_classes and self._plan().strategy == "neighbours"
        return (NeighbourContext if by_neighbours else ClassContext)(
            network,
            members,
            rows,
            targets,
            categorical,
            self.device,
            self._limit,
            n_classes=n_classes,
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
            "counts": self.class_counts_.tolist(),
            "beyond": list(self.beyond_),
        }

    def relearn(self, record: Mapping[str, Any]) -> None:
        classes = record["classes"]
        if isinstance(classes, list):  # before format 3
            classes = {"dtype": record["classes_dtype"], "values": classes}
        self.classes_ = array_from_json(classes)
        self.order_, self.tied_ = np.array(record["order"]), record["tied"]
        self.temperature_ = float(record.get("temperature", 1.0))  # before format 4
        even = [1] * len(self.classes_)  # before format 6, which brought balance_probabilities
        self.class_counts_ = np.array(record.get("counts", even))
        self.beyond_ = tuple(record.get("beyond", ()))

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

    def _plan(self) -> Plan:
        return replace(super()._plan(), classes=self.many_classes)

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
