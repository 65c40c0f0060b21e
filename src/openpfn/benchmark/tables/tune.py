"""A random search within a time budget, scored by cross-validation on the context rows alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.metrics import LEAST_PROBABILITY
from openpfn.benchmark.tables.prepare import Reader
from openpfn.benchmark.tables.spaces import Space

N_FOLDS = 3
MOST_CANDIDATES = 500


@dataclass(frozen=True)
class Search:
    """Result of a search."""

    options: dict[str, Any]
    """The best options; empty where the defaults were best."""
    loss: float
    """Their cross-validated log-loss or mean squared error."""
    n_candidates: int
    """Number of candidates tried, the defaults first."""
    seconds: float
    """Duration of the search."""


def random_search(
    build: Callable[[dict[str, Any]], Reader],
    space: Space,
    X: pd.DataFrame,
    y: np.ndarray,
    task: str,
    groups: np.ndarray | None,
    budget: float,
    seed: int,
) -> Search:
    """The options with the least cross-validated loss among those tried in `budget` seconds; the
    defaults are tried first.

    A candidate that fails on a fold is out; one that runs over the budget counts if it was begun in
    time.
    """
    start = time.perf_counter()
    random = np.random.default_rng(seed)
    folds = _folds(y, task, groups, seed)
    best, best_loss, n_candidates = {}, float("inf"), 0
    while n_candidates == 0 or (
        time.perf_counter() - start < budget and n_candidates < MOST_CANDIDATES
    ):
        options = space(random) if n_candidates else {}
        n_candidates += 1
        try:
            loss = float(
                np.mean(
                    [
                        _loss(build(options), X, y, task, fold == fold_of)
                        for fold_of, fold in _with_numbers(folds)
                    ]
                )
            )
        except Exception:  # options that do not fit this table, such as more neighbours than rows
            continue
        if loss < best_loss:
            best, best_loss = options, loss
    return Search(best, best_loss, n_candidates, time.perf_counter() - start)


def _with_numbers(folds: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [(int(f), folds) for f in np.unique(folds)]


def _folds(y: np.ndarray, task: str, groups: np.ndarray | None, seed: int) -> np.ndarray:
    """The fold of each row: groups stay together, otherwise classes are dealt round."""
    random = np.random.default_rng(seed)
    if groups is not None:
        names = random.permutation(np.unique(groups))
        fold_of = {g: i % N_FOLDS for i, g in enumerate(names)}
        return np.array([fold_of[g] for g in groups])
    order = random.permutation(len(y))
    if task == "classification":
        order = order[np.argsort(y[order], kind="stable")]
    folds = np.empty(len(y), dtype=int)
    folds[order] = np.arange(len(y)) % N_FOLDS
    return folds


def _loss(
    estimator: Reader, X: pd.DataFrame, y: np.ndarray, task: str, held_out: np.ndarray
) -> float:
    fitted_X, fitted_y = X[~held_out].reset_index(drop=True), y[~held_out]
    rest = X[held_out].reset_index(drop=True)
    if task == "regression":
        estimator.fit(fitted_X, fitted_y)
        return float(((estimator.predict(rest).reshape(-1) - y[held_out]) ** 2).mean())
    known = np.unique(fitted_y)
    estimator.fit(fitted_X, np.searchsorted(known, fitted_y))
    p = np.zeros((len(rest), int(y.max()) + 1))
    p[:, known[estimator.classes_.astype(int)]] = estimator.predict_proba(rest)
    return float(
        -np.log(np.maximum(p[np.arange(len(rest)), y[held_out]], LEAST_PROBABILITY)).mean()
    )
