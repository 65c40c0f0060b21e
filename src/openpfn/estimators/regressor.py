"""`PFNRegressor`: a scikit-learn regressor whose network was trained before it saw any of your
data, and which answers with distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_is_fitted,
)

from openpfn.estimators.base import PFNEstimator
from openpfn.estimators.beliefs import Certain, PooledQuantiles
from openpfn.estimators.calibration import FEWEST_ROWS, best_factor
from openpfn.estimators.contexts.numbers import N_LEVELS, NumberContext
from openpfn.estimators.grid import Grid
from openpfn.estimators.limits.weights import refuse
from openpfn.estimators.network import Network, advice, find_network
from openpfn.estimators.views.canonical import row_order
from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.ensemble import Member, draw_members_for_numbers
from openpfn.heads.base import Predictive, Rescaled
from openpfn.heads.quantiles import increasing

OUTPUTS = ("mean", "median", "mode", "quantiles", "distribution")
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_ROWS_AT_ONCE = 1024
"""Rows whose distributions are held at once whatever the memory limit: some 10 MB."""


class PFNRegressor(RegressorMixin, PFNEstimator):
    """Regressor that predicts in context: `fit` shows the rows to a network, nothing is trained.

    Takes arrays and DataFrames with numbers, categories, truth values, dates, words and missing
    values, and one number per row as the target. The answer is a distribution for each row, of
    which `predict` gives the mean, or what else is asked; it does not depend on the other query
    rows.

    Parameters
    ----------
    checkpoint : str or Path
        "auto" (the shipped "nano"), a shipped name, or the path of a checkpoint.
    model : network in memory, optional
        Used in place of a checkpoint; clones share it.
    n_estimators : int
        Views of the table (orders of columns, transformed columns, every other one with the skew
        of the target taken out) whose quantiles are averaged.
        The first is the table as it is.
    device : str
        "auto" (cuda, then mps, then cpu; a model in memory stays where it is) or a torch device.
    random_state : int, RandomState or None
        Decides the views. None draws other ones at each fit.
    memory_limit : int or None
        Bytes that working memory and, apart from it, the kept context may take; None for no limit.
    calibrate : bool
        Choose how wide the distributions are for the table, by the CRPS of predictions for five
        folds of the context; the means stay. Takes six times as long to fit.
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
        (Wolpert 1992). "auto" does so where the network was trained with such columns. Of fewer
        than 10 rows they are left out.
    rows_per_member : "auto", int or None
        Context rows that a view sees. "auto" is all, but of more than 2,048 rows for a network
        whose state grows with them; None is all.
    subsample : "uniform"
        How these are drawn: each tenth of the numbers as often as in the context.
    columns_per_member : "auto", int or None
        Columns that a view sees. "auto" is as many as the network was trained on; None is all.
    on_grid : "auto" or False
        Whether targets that take evenly spaced values again and again, such as ratings, grades and
        counts, are predicted to take such values alone. False lets every number be possible.
    chain : bool
        Of several targets, predict each from the columns and the targets before it.
    fine_tune : bool or FineTuneOptions
        Train the network for a few steps on folds of the context, and take that up where it lowers
        the loss of held-out rows beyond chance. Takes minutes where `fit` takes less than a second.

    Attributes
    ----------
    n_features_in_, feature_names_in_ : columns of the context.
    beyond_ : what was done, in words, because the table goes beyond what the network was trained
        on.
    estimators_ : of several targets, a regressor of each; else None.
    encoder_ : the `TableEncoder`; `encoder_.describe()` tells how each column is read.
    width_ : what `calibrate` chose, a factor of all distances from the mean; else 1.
    statistics_ : the `TargetStatistics`; None without.
    text_scores_ : the `TextScores`; None without, and where no column holds text.
    stacked_ : the `StackedScores`; None without.
    fine_tuning_ : the `FineTuning`, how fine-tuning went; None without.
    context_ : the `NumberContext`; None where all targets are equal.
    grid_ : the `Grid` of values that targets take; None where they may take any.
    centre_, spread_ : mean and standard deviation of the targets; spread_ is 0 where all are equal.

    >>> import numpy as np
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> PFNRegressor().fit(X, np.full(20, 1.5)).predict([[0.3]], output="quantiles", quantiles=[.9])
    array([[1.5]])
    """

    context_: NumberContext | None
    saved_parameters = (
        "n_estimators",
        "memory_limit",
        "calibrate",
        "target_statistics",
        "text",
        "text_scores",
        "stacking",
        "rows_per_member",
        "subsample",
        "columns_per_member",
        "on_grid",
        "chain",
        "fine_tune",
    )
    targets_name = "targets"

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        checkpoint: str | Path = "auto",
        *,
        model: Any = None,
        n_estimators: int = 4,
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
        on_grid: str | bool = "auto",
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
        self.on_grid = on_grid

    def fit(self, X: Any, y: Any, **unknown: Any) -> PFNRegressor:
        """Show the network the context: rows `X` (n, D) and their numbers `y` (n,), or (n, T) for
        several targets.

        Raises ValueError for infinite values, targets that are missing or no numbers, and a network
        that predicts classes alone.
        """
        refuse(self, unknown)
        self._check_parameters()
        table = self._table(X, reset=True)
        self._fit_table(table, y, read=True)
        self.seen_ = table.copy(deep=False), np.array(y)
        return self

    def _fit_table(self, table: pd.DataFrame, y: Any, *, read: bool) -> None:
        if self._fit_targets(table, y):
            return
        targets = self._numbers(y, table)
        rows = self._fit_encoder(table)
        order = row_order(self._select(rows.numbers), targets)
        rows, targets = rows[order], targets[order]
        self.centre_, self.spread_, standardised = _standardised(targets)
        self.grid_ = Grid.of(targets) if self.on_grid else None
        self.context_, self.statistics_ = None, None
        self.text_scores_, self.stacked_ = None, None
        self.width_, self.fine_tuning_ = 1.0, None
        self.beyond_, self.seed_ = (), self._seed()
        if self.spread_ > 0:
            network = find_network(self.checkpoint, self.model, self.device)
            self._check_network(network)
            members = draw_members_for_numbers(int(self.n_estimators), self.seed_)
            network, answers = self._fine_tuned(network, members, rows, standardised)
            if self.calibrate and len(rows) >= FEWEST_ROWS:
                if answers is None:
                    _, answers = self._out_of_fold(network, members, rows, standardised)
                self.width_ = self._best_width(answers, standardised)
            self._take_up_context(network, members, rows, standardised, order, read)

    def predict(self, X: Any, output: str = "mean", quantiles: Any = None) -> Any:
        """Return what the network believes about each row of `X` (Q, D). Of T targets, arrays have
        them as second axis, (Q, T) or (Q, T, L), and "distribution" is a list.

        Parameters
        ----------
        X : query rows.
        output : "mean", "median" or "mode" (Q,); "quantiles" (Q, L); or "distribution", a
            `Predictive` of shape (Q,) with `log_prob`, `cdf`, `crps` and more, in units of y; of
            targets on a grid one over its `values`, with their `probs`.
        quantiles : sequence of L levels between 0 and 1, for the output "quantiles"; the deciles by
            default.
        """
        check_is_fitted(self)
        if output not in OUTPUTS:
            raise ValueError(f"output is {output!r}, must be one of {', '.join(OUTPUTS)}.")
        if quantiles is not None and output != "quantiles":
            raise ValueError(
                f"quantiles are given, but output is {output!r}. Use output='quantiles'."
            )
        if self.estimators_ is not None:
            each = self._each(X, lambda one, rows: one.predict(rows, output, quantiles))
            return each if output == "distribution" else np.stack(each, axis=1)
        if output == "distribution":
            return self._distribution(self._query(X))
        if output == "quantiles":
            levels = _checked_levels(DECILES if quantiles is None else quantiles)
            return self._answers(X, lambda believed: believed.quantile(levels).T)
        return self._answers(X, lambda believed: getattr(believed, output))

    def interval(
        self, X: Any, coverage: float | int = 0.9
    ) -> tuple[Float[np.ndarray, "Q *T"], Float[np.ndarray, "Q *T"]]:
        """Return the lower and the upper end of the central interval that holds the share
        `coverage` of the probability, for each row of `X` (Q, D)."""
        check_is_fitted(self)
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is {coverage}, must lie between 0 and 1, such as 0.9.")
        ends = [(1 - coverage) / 2, (1 + coverage) / 2]
        found = self.predict(X, output="quantiles", quantiles=ends)
        return found[..., 0], found[..., 1]

    def sample(
        self, X: Any, n_samples: int = 1, random_state: Any = None
    ) -> Float[np.ndarray, "Q *T n_samples"]:
        """Return independent draws for each row of `X` (Q, D); of T targets (Q, T, n_samples).

        `random_state` decides them: an integer gives the same draws at each call, and the first
        rows of a table the same whatever rows follow. None gives others at each call.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}, must be at least 1.")
        random = check_random_state(random_state)
        if self.estimators_ is not None:
            each = self._each(X, lambda one, rows: one.sample(rows, n_samples, random))
            return np.stack(each, axis=1)

        def draws(believed: Predictive) -> torch.Tensor:
            uniform = random.random_sample((*believed.shape, int(n_samples)))
            uniform = np.maximum(uniform, 2.0**-54)  # the quantile at 0 is −∞
            return believed.icdf(torch.from_numpy(uniform.T)).T

        return self._answers(X, draws)

    def _best_width(self, answers: Float[np.ndarray, "n K"], z: Float[np.ndarray, " n"]) -> float:
        def crps(width: float) -> float:
            return float(self.row_losses(answers, z, width).mean())

        usual = max(crps(1.0), 1e-300)  # relative to it, a CRPS falls about as fast as a surprise
        return best_factor(lambda width: crps(width) / usual, len(z))

    def row_losses(
        self,
        answers: Float[np.ndarray, "n K"],
        targets: Float[np.ndarray, " n"],
        width: float = 1.0,
    ) -> Float[np.ndarray, " n"]:
        """Return the CRPS of each row, at a width."""
        return _widened(answers, width).crps(targets).numpy()

    def target_columns(self, targets: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n T"]:
        return targets[:, None]

    def fold_answers(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Float[np.ndarray, " n"],
        query: EncodedRows,
    ) -> Float[np.ndarray, "q K"]:
        centre, spread, z = _standardised(targets)  # those of the other fold must not count
        if spread == 0:
            return np.full((len(query), 1), centre)
        added, context = self._show_context(network, members, rows, z)
        return centre + spread * context.mean_quantiles(self._shown(query, added))

    def make_context(
        self,
        network: Network,
        members: list[Member],
        rows: Float[np.ndarray, "n S"] | None,
        targets: Float[np.ndarray, " n"] | None,
        categorical: Bool[np.ndarray, " S"],
    ) -> NumberContext:
        return NumberContext(network, members, rows, targets, categorical, self.device, self._limit)

    def learnt(self) -> dict[str, Any]:
        return {
            "centre": self.centre_,
            "spread": self.spread_,
            "width": self.width_,
            "grid": None if self.grid_ is None else self.grid_.record(),
            "beyond": list(self.beyond_),
        }

    def relearn(self, record: Mapping[str, Any]) -> None:
        self.centre_, self.spread_ = float(record["centre"]), float(record["spread"])
        self.width_ = float(record["width"])
        grid = record.get("grid")  # absent before it was looked for
        self.grid_ = None if grid is None else Grid(*grid)
        self.beyond_ = tuple(record.get("beyond", ()))  # before format 6

    def facts(self) -> dict[str, bool]:
        context = self.context_
        facts = {
            "scale": math.isfinite(self.centre_) and 0 <= self.spread_ < math.inf,
            "width": 0 < self.width_ < math.inf,
            "context": (self.spread_ > 0) == (context is not None),
        }
        if context is not None and context.targets is not None:
            facts["targets"] = context.targets.dtype == np.float64 and bool(
                np.isfinite(context.targets).all()
            )
        return facts

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.on_grid not in ("auto", False):
            raise ValueError(f"on_grid is {self.on_grid!r}, must be 'auto' or False.")
        if self.subsample == "balanced":
            raise ValueError(
                "subsample is 'balanced', which is of classes. Use 'uniform': it holds each tenth"
                " of the numbers equally often."
            )

    def _query(self, X: Any) -> Float[np.ndarray, "Q S"]:
        """Return the query rows as the context reads them."""
        table = self._table(X, reset=False)
        if self.context_ is None:
            return np.zeros((len(table), 1))
        return self.read_rows(table)

    def _distribution(self, rows: Float[np.ndarray, "Q S"]) -> Predictive:
        if self.context_ is None:
            centre = torch.tensor(self.centre_, dtype=torch.float64)
            return Certain(centre.expand(len(rows)))
        return self.distribution_of(self.context_.mean_quantiles(rows))

    def distribution_of(self, quantiles: Float[np.ndarray, "... K"]) -> Predictive:
        """Return the distributions, in units of y, that averaged standardised `quantiles` mean."""
        centre, spread = (
            torch.tensor(value, dtype=torch.float64) for value in (self.centre_, self.spread_)
        )
        believed = Rescaled(_widened(quantiles, self.width_), centre, spread)
        return believed if self.grid_ is None else self.grid_.of_distribution(believed)

    def _answers(self, X: Any, ask: Callable[[Predictive], torch.Tensor]) -> np.ndarray:
        """Return what `ask` makes of the distributions, some rows at a time."""
        rows = self._query(X)
        parts = [ask(self._distribution(rows[part])).numpy() for part in self._parts(len(rows))]
        largest = np.finfo(np.float64).max
        return np.clip(np.concatenate(parts), -largest, largest)

    def _parts(self, n_rows: int) -> Iterator[slice]:
        size = n_rows
        if self.memory_limit is not None:
            bytes_per_row = 4 * 8 * N_LEVELS  # the quantiles, and what is computed with them
            size = max(int(self.memory_limit) // bytes_per_row, LEAST_ROWS_AT_ONCE)
        return (slice(start, start + size) for start in range(0, n_rows, size))

    def _check_network(self, network: Network) -> None:
        if not network.predicts("numbers"):
            raise ValueError(
                f"{network} predicts classes alone (it has no regression_head), but PFNRegressor"
                f" needs one that predicts numbers. Use {advice('numbers')}; for classes use"
                " PFNClassifier."
            )


def _widened(quantiles: Float[np.ndarray, "... K"], width: float) -> PooledQuantiles:
    """Return the distribution of these quantiles with all distances from its mean times `width`."""
    values = increasing(torch.from_numpy(quantiles))
    if width == 1:
        return PooledQuantiles(values)
    mean = PooledQuantiles(values).mean.unsqueeze(-1)
    return PooledQuantiles(increasing(mean + width * (values - mean)))


def _standardised(y: Float[np.ndarray, " n"]) -> tuple[float, float, Float[np.ndarray, " n"]]:
    """Return mean and standard deviation of `y`, and `y` in units of these.

    Computed in units of a power of two near the largest size, in which no sum overflows and no
    digit is lost. The deviation is 0 where all are equal, and where float64 cannot hold it.
    """
    exponent = int(np.frexp(np.abs(y).max())[1])
    scaled = np.ldexp(y, -exponent)  # within ±1
    mean = scaled.mean()
    std = float(np.sqrt(((scaled - mean) ** 2).sum() / max(1, len(y) - 1)))
    if exponent > 1023:  # 2^1024 is no number in float64
        std = min(std, 0.5)
    spread = math.ldexp(std, exponent)
    if y.min() == y.max() or spread == 0:
        return float(y[0]), 0.0, np.zeros_like(y)
    return math.ldexp(float(mean), exponent), spread, (scaled - mean) / std


def _checked_levels(quantiles: Any) -> list[float]:
    levels = np.atleast_1d(np.asarray(quantiles, dtype=np.float64))
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(
            f"quantiles is {quantiles!r}, must be levels between 0 and 1, such as"
            " [0.05, 0.5, 0.95]."
        )
    return levels.tolist()
