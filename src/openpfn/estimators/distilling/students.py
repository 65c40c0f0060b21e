"""Students: models that scikit-learn fits to a network's answers, kept as arrays and asked without
it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from openpfn.estimators.distilling.inputs import Inputs
from openpfn.estimators.distilling.trees import Trees

ROWS_AT_ONCE = 1024
"""Rows that trees are asked about together; more fall out of a processor's caches."""
HIDDEN = (64, 64)
"""Widths of the hidden layers of the MLP."""


class Student(ABC):
    """Model with V answers for each encoded row. Its arrays are all of it."""

    @classmethod
    @abstractmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "N D"],
        answers: Float[np.ndarray, "N V"],
        categorical: Bool[np.ndarray, " D"],
        seed: int,
    ) -> Student:
        """Return the student that learned `answers` to `rows`."""

    @abstractmethod
    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return the answers to `rows`."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Student:
        """Return the student whose `arrays()` these were."""


@dataclass(frozen=True)
class TreeStudent(Student):
    """Gradient-boosted trees of histograms, one ensemble per answer."""

    trees: Trees

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "N D"],
        answers: Float[np.ndarray, "N V"],
        categorical: Bool[np.ndarray, " D"],
        seed: int,
    ) -> TreeStudent:
        from sklearn.ensemble import HistGradientBoostingRegressor

        fitted = [
            HistGradientBoostingRegressor(
                max_iter=300,
                max_depth=8,
                min_samples_leaf=10,
                early_stopping=True,
                random_state=seed,
            ).fit(rows, column)
            for column in answers.T
        ]
        return cls(Trees.of(fitted))

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        parts = [
            self.trees(rows[start : start + ROWS_AT_ONCE])
            for start in range(0, max(len(rows), 1), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def arrays(self) -> dict[str, np.ndarray]:
        return self.trees.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TreeStudent:
        return cls(Trees(**arrays))


@dataclass(frozen=True)
class LayersStudent(Student):
    """Linear layers with rectifiers between them: an MLP, or, with one layer, a linear model."""

    inputs: Inputs
    weights: list[Float[np.ndarray, "_ _"]]
    """Per layer, from its inputs to its outputs."""
    biases: list[Float[np.ndarray, "_"]]

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        values = self.inputs(rows)
        for i, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = (np.maximum(values, 0.0) if i else values) @ weights + bias
        return values

    def arrays(self) -> dict[str, np.ndarray]:
        layers = {f"weights.{i}": weights for i, weights in enumerate(self.weights)}
        layers |= {f"biases.{i}": bias for i, bias in enumerate(self.biases)}
        return self.inputs.arrays() | layers

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Student:
        n_layers = sum(name.startswith("weights.") for name in arrays)
        return cls(
            Inputs.from_arrays(arrays),
            [arrays[f"weights.{i}"] for i in range(n_layers)],
            [arrays[f"biases.{i}"] for i in range(n_layers)],
        )


class MLPStudent(LayersStudent):
    """MLP."""

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "N D"],
        answers: Float[np.ndarray, "N V"],
        categorical: Bool[np.ndarray, " D"],
        seed: int,
    ) -> MLPStudent:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        inputs = Inputs.fit(rows, categorical)
        fitted: Any = MLPRegressor(
            hidden_layer_sizes=HIDDEN,
            early_stopping=True,
            n_iter_no_change=8,
            max_iter=100,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it stops where it stands
            fitted.fit(inputs(rows), answers if answers.shape[1] > 1 else answers[:, 0])
        return cls(inputs, list(fitted.coefs_), list(fitted.intercepts_))


class LinearStudent(LayersStudent):
    """Ridge regression."""

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "N D"],
        answers: Float[np.ndarray, "N V"],
        categorical: Bool[np.ndarray, " D"],
        seed: int,
    ) -> LinearStudent:
        from sklearn.linear_model import Ridge

        inputs = Inputs.fit(rows, categorical)
        fitted: Any = Ridge(alpha=1.0).fit(inputs(rows), answers)
        weights = np.reshape(fitted.coef_, (answers.shape[1], -1)).T
        return cls(inputs, [weights], [np.ravel(fitted.intercept_)])


STUDENTS: dict[str, type[Student]] = {
    "mlp": MLPStudent,
    "trees": TreeStudent,
    "linear": LinearStudent,
}
"""Students by the name that `distill` takes."""
