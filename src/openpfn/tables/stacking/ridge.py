"""Ridge regression in the space of rows: its answers to rows of left-out folds, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor
from scipy.linalg.lapack import dpotri

from openpfn.tables.stacking.arrays import Arrays
from openpfn.tables.stacking.partings import N_PARTINGS, partings

PENALTIES = np.geomspace(1e-2, 1e2, 9)
"""Ridge penalties that are tried, in units of the mean squared length of the centred features."""
MOST_ROWS_TO_CHOOSE = 500
"""Rows that choose the penalty, at most."""


@dataclass(frozen=True)
class Solved:
    """Ridge regression of T targets on centred features, of which only the inner products are
    known."""

    mean: Float[np.ndarray, " T"]
    """Means of the targets."""
    dual: Float[np.ndarray, "n T"]
    """What the centred features of each row add to the weights; every column sums to 0."""
    out_of_fold: Float[np.ndarray, "n T"]
    """Answers to the rows themselves, each from the rows of other folds."""


def solve(gram: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n T"]) -> Solved:
    """Return the ridge regression whose error for left-out rows is least, from the inner products
    `gram` of the rows' features."""
    gram = gram - gram.mean(axis=0)
    gram -= gram.mean(axis=1, keepdims=True)
    scale = max(float(np.trace(gram)) / len(gram), 1e-12)
    gram /= scale
    gram += 1 / len(gram)  # else a left-out target is known: centred targets sum to 0
    mean = targets.mean(axis=0)
    centred = targets - mean
    few = slice(MOST_ROWS_TO_CHOOSE)
    penalty = _best_penalty(gram[few, few], centred[few])
    gram.flat[:: len(gram) + 1] += penalty
    inverse = _inverse(gram)
    dual = inverse @ centred
    left_out = np.zeros_like(dual)
    for parting in partings(targets):
        for rows in parting:
            left_out[rows] += np.linalg.solve(inverse[np.ix_(rows, rows)], dual[rows])
    return Solved(mean, dual / scale, targets - left_out / N_PARTINGS)


def _inverse(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Return the inverse of a positive definite matrix, in half the time of a general solver."""
    factor, _ = cho_factor(gram, lower=True)
    lower, _ = dpotri(factor, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


def _best_penalty(gram: Float[np.ndarray, "n n"], centred: Float[np.ndarray, "n T"]) -> float:
    """Return the penalty with the least mean squared error for rows left out one by one (Allen
    1974)."""
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ centred

    def error(penalty: float) -> float:
        kept = penalty / (np.maximum(values, 0.0) + penalty)
        share = (vectors**2) @ kept  # 1 minus the weight of a row's own target in its answer
        residuals = vectors @ (kept[:, None] * rotated)
        return float(((residuals / np.maximum(share, 1e-12)[:, None]) ** 2).mean())

    return float(min(PENALTIES, key=error))


@dataclass(frozen=True)
class Linear(Arrays):
    """offset + features · weights; features may be sparse."""

    weights: Float[np.ndarray, "F T"]
    """In single precision, which halves a saved file."""
    offset: Float[np.ndarray, " T"]

    @classmethod
    def of(cls, features: Any, solved: Solved) -> Linear:
        """Return the weights of the features that `solved` knows by their inner products."""
        weights = (features.T @ solved.dual).astype(np.float32)
        return cls(weights, solved.mean - np.asarray(features.mean(axis=0)).ravel() @ weights)

    def __call__(self, features: Any) -> Float[np.ndarray, "N T"]:
        return features @ self.weights + self.offset


@dataclass(frozen=True)
class Quadratic(Arrays):
    """offset + features · weights + features′ · products · features: ridge regression with the
    kernel (1 + x·y / width)²."""

    products: Float[np.ndarray, "T F F"]
    """In single precision, which halves a saved file."""
    weights: Float[np.ndarray, "F T"]
    offset: Float[np.ndarray, " T"]

    @staticmethod
    def width(features: Float[np.ndarray, "n F"]) -> float:
        """Return the mean squared distance of two rows."""
        return max(2 * float(features.var(axis=0).sum()), 1e-9)

    @staticmethod
    def gram(features: Float[np.ndarray, "n F"], width: float) -> Float[np.ndarray, "n n"]:
        """Return the kernel of all pairs of rows."""
        return (1 + features @ features.T / width) ** 2

    @classmethod
    def of(cls, features: Float[np.ndarray, "n F"], width: float, solved: Solved) -> Quadratic:
        """Return the weights and products that `solved` knows by the kernel."""
        weights = (2 / width * (features.T @ solved.dual)).astype(np.float32)
        products = np.stack([(features.T * one) @ features for one in solved.dual.T])
        raw = cls((products / width**2).astype(np.float32), weights, np.zeros(len(solved.mean)))
        return replace(raw, offset=solved.mean - raw(features).mean(axis=0))

    def __call__(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N T"]:
        of_products = [((features @ one) * features).sum(axis=1) for one in self.products]
        return np.stack(of_products, axis=1) + features @ self.weights + self.offset
