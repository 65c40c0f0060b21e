"""`Conditional`: what a network believes about one column of a row, given others of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from openpfn.estimators.beliefs import Certain
from openpfn.estimators.classifier import PFNClassifier
from openpfn.estimators.regressor import PFNRegressor
from openpfn.estimators.unsupervised.variables import Variable
from openpfn.tables.schema import read_column

WINDOW = 0.05
"""Half the width, in standard deviations of the context, over which a density is averaged: columns
repeat values, and the density at one of them may have no bound."""
LEAST_MASS = 1e-5
"""Where the window holds less than this, the density in its middle is taken."""
LEAST_PROBABILITY = 1e-7
"""A smaller probability of a class counts as this."""


@dataclass(frozen=True)
class Settings:
    """How the estimators of all columns are made."""

    checkpoint: Any
    model: Any
    n_estimators: int
    device: str
    seed: int
    memory_limit: int | None
    max_classes: int
    """Classes that the network can tell apart."""

    def estimator(self, kind: type[PFNClassifier] | type[PFNRegressor]) -> Any:
        """Return an estimator that was not fitted yet."""
        return kind(
            self.checkpoint,
            model=self.model,
            n_estimators=self.n_estimators,
            device=self.device,
            random_state=self.seed,
            memory_limit=self.memory_limit,
            stacking=False,  # each column would be fitted from all others, three times over
        )


class Conditional:
    """Distribution of one column given the columns at `given`, in the context of a table's rows.

    Rows whose own cell is missing are no context. Numbers in and out are those of the variable.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        variable: Variable,
        place: int,
        given: Sequence[int],
        how: Settings,
    ) -> None:
        own = variable.read(table.iloc[:, place])
        there = ~np.isnan(own)
        context, own = table.loc[there], own[there]
        self.variable, self.n_rows = variable, len(own)
        # a column without a value in any row of the context says nothing
        self.given = [i for i in given if read_column(context.iloc[:, i]).kind != "empty"]
        if variable.kind == "numbers":
            self.scale = float(own.std()) or 1.0
            self.fitted = how.estimator(PFNRegressor).fit(self._shown(context), own)
        else:
            self._fit_classes(context, own.astype(int), how)
        # a category that rows without the column's own cell have is none that nobody knows
        self.fitted.encoder_.tells = False

    def expected(self, rows: pd.DataFrame) -> Float[np.ndarray, " N"]:
        """Return the mean of each row's number, or the place of its most probable class."""
        if self.variable.kind == "numbers":
            return self.fitted.predict(self._shown(rows))
        probabilities = self.probabilities(rows)
        if self.variable.holds_numbers:
            return probabilities @ np.array(self.variable.labels, dtype=np.float64)
        return probabilities.argmax(axis=1).astype(np.float64)

    def drawn(
        self, rows: pd.DataFrame, uniform: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " N"]:
        """Return one draw per row: the quantile at the level `uniform`."""
        if self.variable.kind == "numbers":
            levels = np.clip(uniform, 2.0**-54, 1 - 2.0**-53)
            drawn = self._believed(rows).icdf(torch.from_numpy(levels)).double().numpy()
            return np.rint(drawn) if self.variable.is_whole else drawn
        total = self.probabilities(rows).cumsum(axis=1)
        places = (total < uniform[:, None] * total[:, -1:]).sum(axis=1)
        return self.variable.value(places.astype(np.float64))

    def log_density(
        self, rows: pd.DataFrame, own: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " N"]:
        """Return the log-density, in nats, of each row's own number in units of the context's
        standard deviation, averaged over a window; or the log-probability of its class.

        NaN stands for a class that the context does not have, which is as probable as one more row
        is among the context's.
        """
        if self.variable.kind == "classes":
            probabilities = np.maximum(self.probabilities(rows), LEAST_PROBABILITY)
            places = np.nan_to_num(own, nan=0.0).astype(int)
            found = np.log(probabilities[np.arange(len(rows)), places])
            return np.where(np.isnan(own), -np.log(self.n_rows + 1.0), found)
        believed, y = self._believed(rows), torch.from_numpy(own)
        if isinstance(believed, Certain):  # a column of one number
            same = np.isclose(own, believed.mean.numpy(), rtol=1e-12, atol=0)
            return np.where(same, -np.log(2 * WINDOW), -np.log(self.n_rows + 1.0))
        reach = WINDOW * self.scale
        mass = (believed.cdf(y + reach) - believed.cdf(y - reach)).numpy()
        averaged = np.log(np.maximum(mass, LEAST_MASS) / (2 * WINDOW))
        at_point = believed.log_prob(y).numpy() + np.log(self.scale)
        return np.where(mass > LEAST_MASS, averaged, np.minimum(at_point, averaged))

    def probabilities(self, rows: pd.DataFrame) -> Float[np.ndarray, "N K"]:
        """Return the probability of each class of the variable."""
        told_apart = self.fitted.predict_proba(self._shown(rows))  # (N, classes of the network)
        return told_apart[:, self.group] * self.share

    def _fit_classes(self, context: pd.DataFrame, places: np.ndarray, how: Settings) -> None:
        """Show the network the classes; where these are too many, the rarest as one class."""
        counts = np.bincount(places, minlength=len(self.variable.labels))
        ranks = np.empty(len(counts), dtype=int)
        ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        n_seen = int((counts > 0).sum())
        most = n_seen if n_seen <= how.max_classes else how.max_classes - 1
        label = np.minimum(ranks, most)
        self.fitted = how.estimator(PFNClassifier).fit(self._shown(context), label[places])
        group = np.searchsorted(self.fitted.classes_, label)
        self.group = group.clip(0, len(self.fitted.classes_) - 1)
        totals = np.bincount(label, weights=counts, minlength=most + 1)[label]
        self.share = counts / np.maximum(totals, 1)

    def _believed(self, rows: pd.DataFrame) -> Any:
        return self.fitted.predict(self._shown(rows), output="distribution")

    def _shown(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the given columns; one of zeros where none is given."""
        if not self.given:
            return pd.DataFrame({"nothing": np.zeros(len(rows))})
        return rows.iloc[:, self.given]
