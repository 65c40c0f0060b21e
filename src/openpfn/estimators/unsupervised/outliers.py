"""`PFNOutlierDetector`: rows that the others make improbable, by a chain of conditionals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from openpfn.estimators.unsupervised.base import UnsupervisedEstimator

FENCE = 1.5
"""Distances of the quartiles below the lower one, from which on a score is an outlier's (Tukey
1977, section 2C)."""


class PFNOutlierDetector(OutlierMixin, UnsupervisedEstimator):
    """Detector of rows that the context makes improbable: nothing is trained.

    The score of a row is its log-density, log p(x₁) + log p(x₂ | x₁) + …, each factor given by a
    network; the columns come in several random orders, over which the scores are averaged. For each
    order the rows of `fit` are split at random into two halves, each of which is the context of one
    chain. A row that a half holds is scored by the other: no row vouches for itself.

    Takes arrays and DataFrames with numbers, categories, truth values, dates, words and missing
    values. A missing cell counts as the average of the row's others.

    Parameters
    ----------
    checkpoint : str or Path
        "auto" (the shipped "nano"), a shipped name, or the path of a checkpoint. It must
        predict classes for columns of words and of few whole numbers, and numbers for others.
    model : network in memory, optional
        Used in place of a checkpoint; clones share it.
    contamination : "auto" or float
        Share of the rows of `fit` that `predict` calls outliers, above 0 and up to 0.5. "auto"
        calls those outliers whose score lies below the lower quartile of the scores by more than
        1.5 times the distance of the quartiles.
    n_orders : int
        Random orders of the columns; more of them make steadier scores and take longer.
    max_context : int or None
        Rows that a half has at most; None for no limit. Time grows with it.
    n_estimators : int
        Views of the table whose answers are averaged, per factor.
    device : str
        "auto" (cuda, then mps, then cpu) or a torch device.
    random_state : int, RandomState or None
        Decides orders, halves and views.
    memory_limit : int or None
        Bytes that working memory and, apart from it, the kept context of a factor may take.

    Attributes
    ----------
    offset_ : the score below which a row is an outlier.
    chains_ : orders of the columns, each with the rows of one half.
    conditionals_ : the rows of `fit`, and what the network made of them.
    n_features_in_, feature_names_in_ : columns of the table.
    """

    saved_parameters = (
        "contamination",
        "n_orders",
        "max_context",
        "n_estimators",
        "memory_limit",
    )

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        checkpoint: str | Path = "auto",
        *,
        model: Any = None,
        contamination: float | str = "auto",
        n_orders: int = 4,
        max_context: int | None = 256,
        n_estimators: int = 1,
        device: str = "auto",
        random_state: Any = 0,
        memory_limit: int | None = 2**30,
    ) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.contamination = contamination
        self.n_orders = n_orders
        self.max_context = max_context
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state
        self.memory_limit = memory_limit

    def fit(self, X: Any, y: Any = None) -> PFNOutlierDetector:
        """Show the network the rows `X` (n, D), and set `offset_` by their scores; `y` is not used.

        Raises ValueError for fewer than two rows, infinite numbers, and a network that cannot
        predict what a column holds.
        """
        self._check_parameters()
        table = self._table(X, reset=True)
        if len(table) < 2:
            raise ValueError(
                f"X has {len(table)} sample, but {type(self).__name__} needs at least 2: a row is"
                " an outlier among others. Give more rows."
            )
        self.show(table, self._draw_seed())
        if all(variable.kind == "empty" for variable in self.conditionals_.variables):
            raise ValueError(
                f"X holds no values: all of its {table.shape[1]} columns are missing in every row."
                " Give at least one column with values."
            )
        self._draw_chains()
        self.offset_ = self._offset(self.score_samples(X))
        return self

    def score_samples(self, X: Any) -> Float[np.ndarray, " N"]:
        """Return the log-density of each row of `X` (N, D), in nats; the lower, the more of an
        outlier. Numbers are in units of their column's standard deviation."""
        check_is_fitted(self)
        table = self._table(X, reset=False).reset_index(drop=True)
        self._warn_of_unread(table)
        cells = self._read(table)
        identities, known = _identities(cells), _identities(self._read(self.conditionals_.table))
        scores = np.empty((len(self.chains_), len(table)))
        foreign = np.empty(scores.shape, dtype=bool)
        for i, (order, part) in enumerate(self.chains_):
            scores[i] = self._chain(table, cells, order, part)
            inside = {known[row] for row in part}
            foreign[i] = [identity not in inside for identity in identities]
        foreign |= ~foreign.any(axis=0)  # a row that every half holds is scored by all
        return np.where(foreign, scores, 0.0).sum(axis=0) / foreign.sum(axis=0)

    def decision_function(self, X: Any) -> Float[np.ndarray, " N"]:
        """Return `score_samples(X)` less `offset_`: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int[np.ndarray, " N"]:
        """Return −1 for each row of `X` (N, D) that is an outlier, and 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def learnt(self) -> dict[str, Any]:
        return {"offset": float(self.offset_)}

    def relearn(self, record: dict[str, Any]) -> None:
        self._draw_chains()
        self.offset_ = float(record["offset"])

    def _draw_chains(self) -> None:
        """Set `chains_`, which the seed and the table alone decide."""
        random = np.random.default_rng([self.seed_, 2])
        n_rows = len(self.conditionals_.table)
        # rows in the order of what they hold: the order in which they come does not matter
        rows = np.argsort(_identities(self._read(self.conditionals_.table)), kind="stable")
        held = [i for i, v in enumerate(self.conditionals_.variables) if v.kind != "empty"]
        self.chains_: list[tuple[list[int], tuple[int, ...]]] = []
        for _ in range(int(self.n_orders)):
            order = random.permutation(held).tolist()
            shuffled = rows[random.permutation(n_rows)]
            for half in np.array_split(shuffled, 2):
                part = half if self.max_context is None else half[: int(self.max_context)]
                self.chains_.append((order, tuple(sorted(part.tolist()))))

    def _chain(
        self,
        table: pd.DataFrame,
        cells: Float[np.ndarray, "N D"],
        order: list[int],
        part: tuple[int, ...],
    ) -> Float[np.ndarray, " N"]:
        """Return the log-densities by one chain, in which columns come in this `order`."""
        total, n_factors = np.zeros(len(table)), np.zeros(len(table))
        for n_before, place in enumerate(order):
            variable = self.conditionals_.variables[place]
            there = ~variable.missing(table.iloc[:, place])
            if variable.kind == "numbers":  # a word that is no number has no density
                there &= ~np.isnan(cells[:, place])
            context = self.conditionals_.table.iloc[list(part), place]
            if not there.any() or np.isnan(variable.read(context)).all():
                continue
            conditional = self.conditionals_.of(place, order[:n_before], part)
            total[there] += conditional.log_density(table.loc[there], cells[there, place])
            n_factors += there
        return total * len(order) / np.maximum(n_factors, 1)

    def _offset(self, scores: Float[np.ndarray, " n"]) -> float:
        if self.contamination != "auto":
            return float(np.percentile(scores, 100.0 * self.contamination))
        low, high = np.percentile(scores, [25, 75])
        return float(low - FENCE * (high - low))

    def _read(self, table: pd.DataFrame) -> Float[np.ndarray, "N D"]:
        """Return all cells as their variables read them."""
        variables = self.conditionals_.variables
        columns = [v.read(table.iloc[:, i]) for i, v in enumerate(variables)]
        return np.stack(columns, axis=1)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        share = self.contamination
        if share != "auto" and not (isinstance(share, (int, float)) and 0 < share <= 0.5):
            raise ValueError(
                f"contamination is {share!r}, must be 'auto' or a share of the rows above 0 and up"
                " to 0.5."
            )
        for name, otherwise in (("n_orders", ""), ("max_context", ", or None")):
            value = getattr(self, name)
            if value is None and otherwise:
                continue
            if not (isinstance(value, (int, np.integer)) and value >= 1):
                raise ValueError(
                    f"{name} is {value!r}, must be a whole number of at least 1{otherwise}."
                )


def _identities(cells: Float[np.ndarray, "N D"]) -> list[bytes]:
    """Return what tells rows of different content apart."""
    return [row.tobytes() for row in cells + 0.0]  # −0 and 0 are one number
