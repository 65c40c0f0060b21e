"""Functionals: the quantities that a martingale posterior is about, as functions of complete
data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

BUILT_IN = ("ols", "mean", "median", "quantile")
"""Functionals that are known by a name."""


@dataclass(frozen=True)
class Rolled:
    """Complete data of S rollouts: the rows that were given and those drawn."""

    x: Float[Tensor, "S N D"] | None
    """Inputs, or the places of rows in `table`; None where there are no inputs."""
    y: Float[Tensor, "S N"]
    """Targets; class indices where `labels` are."""
    table: Any = None
    """The DataFrame that rows are of; None where `x` holds the inputs."""
    labels: np.ndarray | None = None
    """What the classes are called."""

    def first(self, n: int) -> Rolled:
        """The first `n` rows of each rollout."""
        x = None if self.x is None else self.x[:, :n]
        return Rolled(x, self.y[:, :n], self.table, self.labels)

    def one(self, i: int) -> tuple[Any, np.ndarray]:
        """Rollout `i` as its user knows rows and targets: arrays, or a DataFrame and labels."""
        y = self.y[i].numpy()
        y = y if self.labels is None else self.labels[y.astype(int)]
        if self.x is None or self.table is None:
            return None if self.x is None else self.x[i].numpy(), y
        return self.table.iloc[self.x[i, :, 0].numpy().astype(int)], y


class Functional:
    """A function of complete data that gives P numbers for each of S rollouts."""

    needs_numbers = False
    """Whether targets must be numbers, or classes 0 and 1."""
    needs_columns = False
    """Whether inputs must be numbers."""
    n_trace = 16
    """Horizons at which it is looked at, unless the caller says how many."""

    def names(self, columns: Sequence[str]) -> list[str] | None:
        """Names of the P numbers; None where only the values tell how many there are."""
        return None

    def least_rows(self, n_columns: int) -> int:
        """Rows that determine it."""
        return 1

    def __call__(self, data: Rolled) -> Float[np.ndarray, "S P"]:
        raise TypeError("a functional of one's own is given as a function, not as a Functional.")


class LeastSquares(Functional):
    """Least-squares coefficients of y on the columns of x, without an intercept."""

    needs_numbers = needs_columns = True

    def names(self, columns: Sequence[str]) -> list[str]:
        return list(columns)

    def least_rows(self, n_columns: int) -> int:
        return n_columns

    def __call__(self, data: Rolled) -> Float[np.ndarray, "S P"]:
        assert data.x is not None
        x, y = data.x.double().cpu(), data.y.double().cpu().unsqueeze(-1)
        # gelsy: the least solution where columns depend on each other
        return torch.linalg.lstsq(x, y, driver="gelsy").solution.squeeze(-1).numpy()


class Mean(Functional):
    """The mean of y."""

    needs_numbers = True

    def names(self, columns: Sequence[str]) -> list[str]:
        return ["mean"]

    def __call__(self, data: Rolled) -> Float[np.ndarray, "S P"]:
        return data.y.double().mean(dim=1, keepdim=True).numpy()


class Quantile(Functional):
    """Quantiles of y at the given levels."""

    needs_numbers = True

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = [float(level) for level in levels]
        if not self.levels or not all(0 <= level <= 1 for level in self.levels):
            raise ValueError(
                f"level is {levels}; quantiles lie at levels from 0 to 1, such as 0.9."
            )

    def names(self, columns: Sequence[str]) -> list[str]:
        return ["median" if level == 0.5 else f"quantile {level:g}" for level in self.levels]

    def __call__(self, data: Rolled) -> Float[np.ndarray, "S P"]:
        return np.quantile(data.y.double().numpy(), self.levels, axis=1).T


class OfFunction(Functional):
    """A user's function (x, y) -> a number or P numbers, called for one rollout at a time."""

    def __init__(self, function: Callable[[Any, np.ndarray], Any]) -> None:
        self.function = function

    def __call__(self, data: Rolled) -> Float[np.ndarray, "S P"]:
        return np.stack([self._checked(*data.one(i)) for i in range(len(data.y))])

    def _checked(self, x: Any, y: np.ndarray) -> Float[np.ndarray, " P"]:
        found = self.function(x, y)
        try:
            values = np.atleast_1d(np.asarray(found, dtype=np.float64))
        except (TypeError, ValueError):
            values = None
        if values is None or values.ndim != 1:
            raise ValueError(
                f"the functional gave {found!r:.80}; expected a number, or a row of numbers, of"
                " complete data (x, y)."
            )
        return values


class OfEstimator(OfFunction):
    """The coefficients, or importances, of a scikit-learn estimator fitted to complete data."""

    n_trace = 4

    def __init__(self, estimator: Any) -> None:
        super().__init__(self.fitted_numbers)
        self.estimator = estimator
        self._names: list[str] | None = None

    def names(self, columns: Sequence[str]) -> list[str] | None:
        return self._names

    def fitted_numbers(self, x: Any, y: np.ndarray) -> Float[np.ndarray, " P"]:
        """Return `coef_` and then `intercept_` of the fitted estimator, or
        `feature_importances_`."""
        if x is None:
            raise ValueError(
                f"{type(self.estimator).__name__} is fitted to x and y, but there is no x. Use"
                " 'mean', 'quantile' or a function of y."
            )
        from sklearn.base import clone

        try:
            fitted = clone(self.estimator).fit(x, y)
        except ValueError as error:
            raise ValueError(
                f"{type(self.estimator).__name__} could not be fitted to the completed data:"
                f" {error}"
            ) from error
        last = fitted[-1] if hasattr(fitted, "named_steps") else fitted
        parts = {
            name: np.ravel(getattr(last, name))
            for name in ("coef_", "intercept_")
            if hasattr(last, name)
        }
        if "coef_" not in parts and hasattr(last, "feature_importances_"):
            parts = {"feature_importances_": np.ravel(last.feature_importances_)}
        if not parts:
            raise ValueError(
                f"{type(last).__name__} has neither coef_ nor feature_importances_ once fitted."
                " Give a function (x, y) that fits it and returns the numbers of interest."
            )
        self._names = [
            name.rstrip("_") if len(values) == 1 and name == "intercept_" else f"{name}{i}"
            for name, values in parts.items()
            for i in range(len(values))
        ]
        return np.concatenate(list(parts.values())).astype(np.float64)


def functional_of(functional: Any, level: float | Sequence[float] | None = None) -> Functional:
    """Return the `Functional` that is meant.

    `functional` is "ols", "mean", "median" or "quantile" (at `level`, also "quantile:0.9"), a
    scikit-learn estimator, or a function (x, y) of complete data. Raises ValueError for an unknown
    name, listing the choices.
    """
    name, _, after = functional.partition(":") if isinstance(functional, str) else ("", "", "")
    if level is not None and name != "quantile":
        raise ValueError(
            f"level is {level}, which goes with functional='quantile' alone. Leave it out."
        )
    if name == "quantile":
        try:
            levels = [float(part) for part in after.split(",")] if after else level
        except ValueError:
            raise ValueError(
                f"functional is {functional!r}; write quantile and its level as 'quantile:0.9'."
            ) from None
        if after and level is not None:
            raise ValueError(f"functional is {functional!r} and level {level}: give one level.")
        levels = 0.5 if levels is None else levels
        return Quantile([levels] if isinstance(levels, int | float) else list(levels))
    if isinstance(functional, str):
        known = {"ols": LeastSquares, "mean": Mean, "median": lambda: Quantile([0.5])}
        if functional not in known:
            raise ValueError(
                f"unknown functional {functional!r}. Choose one of {', '.join(BUILT_IN)}, or give a"
                " scikit-learn estimator or a function (x, y)."
            )
        return known[functional]()
    if isinstance(functional, Functional):
        return functional
    if isinstance(functional, type):
        raise TypeError(
            f"functional is the class {functional.__name__}; give an estimator of it,"
            f" {functional.__name__}()."
        )
    if callable(getattr(functional, "fit", None)) and hasattr(functional, "get_params"):
        return OfEstimator(functional)
    if callable(functional):
        return OfFunction(functional)
    raise TypeError(
        f"functional is a {type(functional).__name__}; expected one of {', '.join(BUILT_IN)}, a"
        " scikit-learn estimator or a function (x, y)."
    )
