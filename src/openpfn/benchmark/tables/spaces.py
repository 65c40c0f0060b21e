"""Spaces that a random search draws from: one per method and task, each around the ranges its users
tune in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Space = Callable[[np.random.Generator], dict[str, Any]]


def _log(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _log_int(random: np.random.Generator, low: int, high: int) -> int:
    return round(_log(random, low, high))


def _one_of(random: np.random.Generator, *choices: Any) -> Any:
    return choices[int(random.integers(len(choices)))]


def _logistic(random: np.random.Generator) -> dict[str, Any]:
    return {"C": _log(random, 1e-3, 1e3), "class_weight": _one_of(random, None, None, "balanced")}


def _ridge(random: np.random.Generator) -> dict[str, Any]:
    return {"alphas": [_log(random, 1e-3, 1e4)]}


def _lda(random: np.random.Generator) -> dict[str, Any]:
    return {"solver": "lsqr", "shrinkage": _one_of(random, "auto", float(random.uniform(0, 1)))}


def _naive_bayes(random: np.random.Generator) -> dict[str, Any]:
    return {"var_smoothing": _log(random, 1e-9, 1e-1)}


def _knn(random: np.random.Generator) -> dict[str, Any]:
    return {
        "n_neighbors": _log_int(random, 1, 50),
        "weights": _one_of(random, "uniform", "distance"),
        "p": _one_of(random, 1, 2),
    }


def _mlp(random: np.random.Generator) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": _one_of(random, (32,), (100,), (64, 64), (128, 64)),
        "alpha": _log(random, 1e-5, 1.0),
        "learning_rate_init": _log(random, 3e-4, 1e-2),
        "early_stopping": _one_of(random, False, True),
    }


def _forest(random: np.random.Generator) -> dict[str, Any]:
    return {
        "n_estimators": 300,
        "max_features": _one_of(random, "sqrt", "log2", 0.5, 0.8, 1.0),
        "min_samples_leaf": _one_of(random, 1, 2, 4, 8),
        "min_samples_split": _one_of(random, 2, 4, 8),
    }


def _xgboost(random: np.random.Generator) -> dict[str, Any]:
    return {
        "n_estimators": _log_int(random, 50, 600),
        "learning_rate": _log(random, 0.01, 0.3),
        "max_depth": int(random.integers(2, 9)),
        "min_child_weight": _log(random, 0.1, 10),
        "subsample": float(random.uniform(0.5, 1)),
        "colsample_bytree": float(random.uniform(0.4, 1)),
        "reg_lambda": _log(random, 0.01, 10),
    }


def _lightgbm(random: np.random.Generator) -> dict[str, Any]:
    return {
        "n_estimators": _log_int(random, 50, 600),
        "learning_rate": _log(random, 0.01, 0.3),
        "num_leaves": _log_int(random, 4, 64),
        "min_child_samples": _log_int(random, 1, 40),
        "subsample": float(random.uniform(0.5, 1)),
        "subsample_freq": 1,
        "colsample_bytree": float(random.uniform(0.4, 1)),
        "reg_lambda": _log(random, 0.01, 10),
    }


def _catboost(random: np.random.Generator) -> dict[str, Any]:
    return {
        "iterations": _log_int(random, 100, 1000),
        "learning_rate": _log(random, 0.01, 0.3),
        "depth": int(random.integers(2, 8)),
        "l2_leaf_reg": _log(random, 0.5, 20),
    }


def _gaussian_process(random: np.random.Generator) -> dict[str, Any]:
    return {
        "kernel": _one_of(random, "rbf", "matern52", "matern32", "matern12"),
        "own_scales": _one_of(random, False, True),
    }


def _pfn_of_numbers(random: np.random.Generator) -> dict[str, Any]:
    return {"n_estimators": _one_of(random, 1, 2, 4, 8, 16)}


def _pfn(random: np.random.Generator) -> dict[str, Any]:
    return {
        "n_estimators": _one_of(random, 1, 4, 8, 16),
        "softmax_temperature": float(random.uniform(0.7, 1.3)),
    }


SPACES: dict[tuple[str, str], Space] = {
    ("logistic", "classification"): _logistic,
    ("ridge", "regression"): _ridge,
    ("lda", "classification"): _lda,
    ("naive_bayes", "classification"): _naive_bayes,
    ("gaussian_process", "regression"): _gaussian_process,
    ("pfn", "classification"): _pfn,
    ("pfn", "regression"): _pfn_of_numbers,
    **{
        (name, task): space
        for task in ("classification", "regression")
        for name, space in {
            "knn": _knn,
            "mlp": _mlp,
            "random_forest": _forest,
            "extra_trees": _forest,
            "xgboost": _xgboost,
            "lightgbm": _lightgbm,
            "catboost": _catboost,
        }.items()
    },
}
"""By name (of a peer, or `pfn`) and task; a method without a space is run at its defaults."""
