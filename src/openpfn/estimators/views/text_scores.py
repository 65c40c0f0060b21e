"""Text scores: what the texts of a row say of its target, as columns that no row's own target
touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.estimators.views.canonical import folds

PENALTIES = np.geomspace(0.1, 1000, 9)
"""Ridge penalties that are tried."""
MOST_EXACT_ROWS = 2000
"""Rows of which all pairs are compared; of more, the first ones choose the penalty and the weights
come from conjugate gradients."""


@dataclass(frozen=True)
class TextScores:
    """Ridge regression of T target columns on the F features of a row's texts.

    The rows that it was fitted to must not be shown their own scores: theirs are those of
    `out_of_fold`. Features may be many more than rows, and are sparse.
    """

    weights: Float[np.ndarray, "F T"]
    """What a feature adds to each score, in single precision, which halves a saved file."""

    @classmethod
    def fit(cls, features: Any, targets: Float[np.ndarray, "n T"]) -> TextScores:
        """Return the scores with the penalty whose errors for left-out rows are least."""
        centred = targets - targets.mean(axis=0)
        n_exact = min(len(targets), MOST_EXACT_ROWS)
        first = features[:n_exact]
        values, vectors = np.linalg.eigh((first @ first.T).toarray())
        values = np.maximum(values, 0.0)
        rotated = vectors.T @ (targets[:n_exact] - targets[:n_exact].mean(axis=0))  # (n, T)
        errors = [_left_out_error(values, vectors, rotated, penalty) for penalty in PENALTIES]
        penalty = PENALTIES[int(np.argmin(errors))]
        if n_exact < len(targets):
            weights = _by_conjugate_gradients(features, centred, penalty)
        else:
            weights = features.T @ (vectors @ (rotated / (values + penalty)[:, None]))
        return cls(weights.astype(np.float32))

    def __call__(self, features: Any) -> Float[np.ndarray, "N T"]:
        """Return the scores of other rows than those that were fitted."""
        return features @ self.weights

    @classmethod
    def out_of_fold(
        cls, features: Any, targets: Float[np.ndarray, "n T"]
    ) -> Float[np.ndarray, "n T"]:
        """Return the scores of the fitted rows, each from the rows of other folds."""
        scores = np.empty(targets.shape)
        for inside, outside in folds(len(targets)):
            scores[outside] = cls.fit(features[inside], targets[inside])(features[outside])
        return scores

    @property
    def n_columns(self) -> int:
        """Number of columns that it adds."""
        return self.weights.shape[1]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by name."""
        return {"weights": self.weights}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TextScores:
        """Return the scores whose `arrays()` these were."""
        return cls(**arrays)


def _left_out_error(
    values: Float[np.ndarray, " n"],
    vectors: Float[np.ndarray, "n n"],
    rotated: Float[np.ndarray, "n T"],
    penalty: float,
) -> float:
    """Return the mean squared error for each row of the ridge fitted to all others, from the
    eigenvalues and vectors of the rows' inner products (Allen 1974)."""
    kept = penalty / (values + penalty)
    residuals = vectors @ (kept[:, None] * rotated)
    share = (vectors**2) @ kept  # 1 minus the weight of a row's own target in its fitted value
    return float(((residuals / np.maximum(share, 1e-12)[:, None]) ** 2).mean())


def _by_conjugate_gradients(
    features: Any, targets: Float[np.ndarray, "n T"], penalty: float
) -> Float[np.ndarray, "F T"]:
    from sklearn.linear_model import Ridge

    ridge = Ridge(penalty, fit_intercept=False, solver="sparse_cg", tol=1e-6)
    return ridge.fit(features, targets).coef_.reshape(targets.shape[1], -1).T
