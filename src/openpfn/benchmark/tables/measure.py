"""One cell of a benchmark: one method on one split of one table, timed and scored; a failure is a
result too."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from openpfn.benchmark import metrics
from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.methods import Method
from openpfn.benchmark.tables.prepare import Reader
from openpfn.benchmark.tables.splitting import n_context, split, split_seed
from openpfn.benchmark.tables.suites import Entry, LoadedTable, load_table
from openpfn.benchmark.tables.tune import Search, random_search
from openpfn.memory import memory_growth

WITH_DEVICE = ("pfn", "text", "tabicl", "tabpfn")
"""Kinds of methods that run on the device of the configuration; others run on the CPU."""
LEVELS = np.arange(0.5, 100) / 100
"""Levels of the quantiles that a distribution is scored by: the middles of a hundred equal
steps."""


@dataclass(frozen=True)
class Cell:
    """Identity of one row of the results."""

    entry: Entry
    """The table."""
    method: Method
    """The method."""
    tuned: float
    """Seconds of random search; 0 for defaults."""
    context: str
    """Context size as asked for."""
    split: int
    """Number of the split."""

    @property
    def key(self) -> tuple[str, ...]:
        """Return the identity among the cells of one run, weights included."""
        return (
            self.entry.name,
            self.method.name,
            f"{self.tuned:g}",
            self.context,
            str(self.split),
            self.method.checkpoint_sha256,
        )


def measured(order: tuple[Cell, TablesConfig], tell: Callable[[float], None]) -> dict[str, Any]:
    """Return the row of a cell, measured on one thread: a job of its own."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return measure(*order)


def identity(cell: Cell, config: TablesConfig) -> dict[str, Any]:
    """Return the part of a cell's row that is known before it is measured."""
    return {
        "suite": config.suite,
        "table": cell.entry.name,
        "family": cell.entry.family,
        "half": cell.entry.half,
        "counted": cell.entry.counted,
        "task": cell.entry.task,
        "method": cell.method.name,
        "tuned": f"{cell.tuned:g}",
        "context": cell.context,
        "split": cell.split,
        "seed": config.seed,
        "max_query": config.max_query,
        "max_half": config.max_half,
        "checkpoint_sha256": cell.method.checkpoint_sha256,
        "method_version": cell.method.version,
        "device": config.device if cell.method.kind in WITH_DEVICE else "cpu",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **_versions(),
    }


def measure(cell: Cell, config: TablesConfig) -> dict[str, Any]:
    """Return the row of `cell`; where anything fails, status is failed and error says why."""
    row = identity(cell, config) | {"status": "ok"}
    try:
        table = load_table(config.suite, cell.entry.name)
        n = n_context(cell.context, len(table.y), config.max_half)
        assert n is not None, "cells without query rows are not planned"
        context, query = split(table, n, cell.split, config)
        row |= {
            "n_context": len(context),
            "n_query": len(query),
            "n_features": table.X.shape[1],
            "n_classes": table.n_classes,
            "data_sha256": table.sha256,
            "target_std": float(np.std(table.y)) if cell.entry.task == "regression" else "",
        }
        row |= _run(cell, table, context, query, config)
    except Exception as error:  # whatever a method does wrong is a result, not the end of the run
        row |= failure(error)
    return row


def failure(error: Exception) -> dict[str, str]:
    """Return what a row says of a method that failed with `error`."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
    return {"status": "failed", "error": f"{type(error).__name__}: {error} ({place})"}


def _run(
    cell: Cell, table: LoadedTable, context: np.ndarray, query: np.ndarray, config: TablesConfig
) -> dict[str, Any]:
    task = cell.entry.task
    X, y = table.X.iloc[context].reset_index(drop=True), table.y[context]
    X_query, y_query = table.X.iloc[query].reset_index(drop=True), table.y[query]
    known = np.unique(y)
    shown = (
        np.searchsorted(known, y) if task == "classification" else y
    )  # a context may lack a class: methods see 0 … k−1
    seed = split_seed(table.name, config.seed + 1, cell.split) % 2**31
    groups = None if table.groups is None else table.groups[context]
    found: Search | None = None
    space = cell.method.space(task)
    if cell.tuned and space is not None:

        def build(options: dict[str, Any]) -> Reader:
            return cell.method.build(task, table.kinds, seed, config.device, **options)

        found = random_search(build, space, X, shown, task, groups, cell.tuned, seed)
    estimator = cell.method.build(
        task, table.kinds, seed, config.device, **(found.options if found else {})
    )
    out: dict[str, Any] = (
        {
            "tune_seconds": found.seconds,
            "n_candidates": found.n_candidates,
            "options": found.options,
        }
        if found
        else {}
    )
    with memory_growth() as peak:
        cpu, start = time.process_time(), time.perf_counter()
        estimator.fit(X, shown)
        if task == "regression":
            estimator.fit_distribution(X, shown, groups)
        fitted = time.perf_counter()
        answer: Any = (
            _probabilities(estimator, X_query, known, table)
            if task == "classification"
            else _numbers(estimator, X_query)
        )
        done = time.perf_counter()
    out |= {
        "fit_seconds": fitted - start,
        "predict_seconds": done - fitted,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": peak[0],
    }
    if task == "classification":
        p = answer
        bins = metrics.calibration_bins(p.max(axis=1), p.argmax(axis=1) == y_query)
        out |= metrics.classification_metrics(y_query, p)
    else:
        prediction, quantiles = answer
        bins = metrics.coverage_bins(y_query, LEVELS, quantiles)
        out |= metrics.regression_metrics(y_query, prediction, LEVELS, quantiles)
    return out | {"calibration": ";".join(f"{c:.4f},{a:.4f},{n:.0f}" for c, a, n in bins)}


def _probabilities(estimator: Reader, X: Any, known: np.ndarray, table: LoadedTable) -> np.ndarray:
    """Probabilities of all the table's classes, 0 for one that the context lacks. Raises ValueError
    unless they are probabilities."""
    given = estimator.predict_proba(X).astype(float)
    if given.shape != (len(X), len(known)):
        raise ValueError(
            f"predict_proba gave shape {given.shape}, expected {(len(X), len(known))}."
        )
    sums = given.sum(axis=1)
    if not np.isfinite(given).all() or (given < 0).any() or np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "predict_proba gave rows that are no probabilities (not finite, negative, or not"
            " summing to 1)."
        )
    p = np.zeros((len(X), table.n_classes))
    p[:, known[estimator.classes_.astype(int)]] = given / sums[:, None]
    return p


def _numbers(estimator: Reader, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Predicted numbers (Q,), and quantiles at `LEVELS` (Q, L). Raises ValueError unless they are
    finite."""
    prediction, quantiles = estimator.predict_numbers(X, list(LEVELS))
    for what, given, shape in (
        ("numbers", np.asarray(prediction, dtype=float), (len(X),)),
        ("quantiles", np.asarray(quantiles, dtype=float), (len(X), len(LEVELS))),
    ):
        if given.shape != shape or not np.isfinite(given).all():
            raise ValueError(
                f"the predicted {what} have shape {given.shape} and"
                f" {int((~np.isfinite(given)).sum())} of them are not finite, expected {shape}, all"
                " finite."
            )
    return np.asarray(prediction, dtype=float), np.asarray(quantiles, dtype=float)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("openpfn", "scikit-learn", "numpy", "torch")
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name.replace("-", "_"): version(name) for name in names},
    }
