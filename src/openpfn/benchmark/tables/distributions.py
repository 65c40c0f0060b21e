"""Distributions of methods that predict numbers: quantiles beside the number, each as its method
offers them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

Answer = tuple[Float[np.ndarray, " Q"], Float[np.ndarray, "Q L"]]
"""Numbers, and quantiles at the levels asked for."""

N_FOLDS = 5
"""Folds whose residuals tell how far a method is off."""
LOSS_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels at which quantile losses are fitted; quantiles between and beyond follow from these."""
ROWS_AT_ONCE = 500
"""Query rows whose weights over the context are held together."""


class Distribution(ABC):
    """What an estimator's predicted numbers are surrounded with."""

    @abstractmethod
    def fit(
        self,
        estimator: Any,
        columns: Any,
        y: Float[np.ndarray, " n"],
        groups: np.ndarray | None,
        fitting: Mapping[str, Any],
    ) -> None:
        """Learn from the context what quantiles need, once `estimator` has been fitted to it with
        the options `fitting`."""

    @abstractmethod
    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        """Return the numbers and the quantiles at `levels` of the query rows `columns`."""


class OwnQuantiles(Distribution):
    """The distribution that an estimator gives itself, got by `ask(estimator, columns, levels)`."""

    def __init__(self, ask: Callable[[Any, Any, Sequence[float]], Answer]) -> None:
        self.ask = ask

    def fit(self, estimator, columns, y, groups, fitting) -> None:
        pass

    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        return self.ask(estimator, columns, levels)


class ContextQuantiles(Distribution):
    """Quantiles of the context's numbers, the same for all rows: what the floor says."""

    def fit(self, estimator, columns, y, groups, fitting) -> None:
        self.y = y

    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        prediction = _numbers(estimator, columns)
        return prediction, np.tile(np.quantile(self.y, levels), (len(prediction), 1))


class GaussianResiduals(Distribution):
    """Normal around the prediction, with the root mean square of residuals out of fold for its
    standard deviation. Rows of one group are in one fold."""

    def fit(self, estimator, columns, y, groups, fitting) -> None:
        from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

        folds = KFold(min(N_FOLDS, len(y)), shuffle=True, random_state=0)
        if groups is not None and (n_groups := len(np.unique(groups))) > 1:
            folds = GroupKFold(min(N_FOLDS, n_groups))
        held_out = cross_val_predict(
            estimator, columns, y, groups=groups, cv=folds, params=dict(fitting)
        )
        self.std = float(np.sqrt(((y - np.asarray(held_out).reshape(-1)) ** 2).mean()))

    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        prediction = _numbers(estimator, columns)
        return prediction, normal_quantiles(prediction, np.array(self.std), levels)


class LeafQuantiles(Distribution):
    """Quantiles of the context's numbers, each weighted by how often its row shares a leaf with the
    query row (quantile regression forests, Meinshausen 2006, eqs. 4 to 6)."""

    def fit(self, estimator, columns, y, groups, fitting) -> None:
        self.order = np.argsort(y, kind="stable")
        self.y = y[self.order]
        self.leaves = np.asarray(estimator.apply(columns))[self.order]  # (n, trees)

    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        leaves = np.asarray(estimator.apply(columns))
        parts = [
            self._quantiles(leaves[start : start + ROWS_AT_ONCE], levels)
            for start in range(0, len(leaves), ROWS_AT_ONCE)
        ]
        return _numbers(estimator, columns), np.concatenate(parts)

    def _quantiles(self, leaves: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Return the quantiles of rows that lie in `leaves` (q, trees)."""
        weights = np.zeros((len(leaves), len(self.y)))
        for of_query, of_context in zip(leaves.T, self.leaves.T, strict=True):
            same = of_query[:, None] == of_context  # (q, n)
            weights += same / np.maximum(same.sum(axis=1, keepdims=True), 1)
        share = np.cumsum(weights, axis=1)
        share /= share[:, -1:]
        places = [(share < level - 1e-9).sum(axis=1) for level in levels]
        return self.y[np.minimum(np.stack(places, axis=1), len(self.y) - 1)]


class QuantileLoss(Distribution):
    """Copies of an estimator that are fitted with its package's quantile loss at `LOSS_LEVELS`.

    `options(levels, given)` are the options that change the loss of an estimator with the options
    `given`; where the package fits one level at a time, `is_joint` is false. Targets are
    standardised: steps of a quantile loss have a length that does not depend on the target's unit.
    Quantiles that cross are sorted.
    """

    def __init__(
        self,
        options: Callable[[Sequence[float], Mapping[str, Any]], Mapping[str, Any]],
        is_joint: bool,
    ) -> None:
        self.options = options
        self.is_joint = is_joint

    def fit(self, estimator, columns, y, groups, fitting) -> None:
        self.mean, self.std = float(y.mean()), float(y.std()) or 1.0
        z = (y - self.mean) / self.std
        groups_of_levels = [LOSS_LEVELS] if self.is_joint else [(level,) for level in LOSS_LEVELS]
        self.fitted, given = [], estimator.get_params()
        for levels in groups_of_levels:
            copy = type(estimator)(**{**given, **self.options(levels, given)})
            self.fitted.append(copy.fit(columns, z, **fitting))

    def answer(self, estimator: Any, columns: Any, levels: Sequence[float]) -> Answer:
        prediction = _numbers(estimator, columns)
        at_loss_levels = [
            np.asarray(one.predict(columns), dtype=float).reshape(len(prediction), -1)
            for one in self.fitted
        ]
        z = np.sort(np.concatenate(at_loss_levels, axis=1), axis=1)
        return prediction, self.mean + self.std * between(z, LOSS_LEVELS, levels)


def between(
    quantiles: Float[np.ndarray, "Q K"], known: Sequence[float], levels: Sequence[float]
) -> Float[np.ndarray, "Q L"]:
    """Return quantiles at `levels` from those at the `known` ones, which are symmetric about 0.5.

    They are linear in the normal distribution's own quantiles; beyond the outermost each tail is
    that of the normal which has this quantile and the median. Exact for normal distributions.
    """
    from scipy.stats import norm

    at, wanted = norm.ppf(known), norm.ppf(levels)
    median = quantiles[:, [len(known) // 2]]
    inside = np.clip(np.searchsorted(at, wanted) - 1, 0, len(at) - 2)
    part = np.clip((wanted - at[inside]) / (at[inside + 1] - at[inside]), 0, 1)
    values = (1 - part) * quantiles[:, inside] + part * quantiles[:, inside + 1]
    beyond = np.maximum(np.abs(wanted) / at[-1], 1)  # the tails' factor; 1 inside
    return median + (values - median) * beyond


def normal_quantiles(
    mean: Float[np.ndarray, " Q"], std: Float[np.ndarray, "..."], levels: Sequence[float]
) -> Float[np.ndarray, "Q L"]:
    """Return the quantiles of normal distributions."""
    from scipy.stats import norm

    return mean[:, None] + np.broadcast_to(std, mean.shape)[:, None] * norm.ppf(levels)


def _numbers(estimator: Any, columns: Any) -> Float[np.ndarray, " Q"]:
    return np.asarray(estimator.predict(columns), dtype=float).reshape(-1)
