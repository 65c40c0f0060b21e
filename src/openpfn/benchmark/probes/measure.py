"""One method on the table of one cell and seed: its scores, or why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from openpfn.benchmark.metrics import classification_metrics, regression_metrics
from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.methods import OPTIMAL, build
from openpfn.benchmark.probes.table import Cell, ProbeTable, draw_table
from openpfn.benchmark.tables.measure import failure
from openpfn.benchmark.tables.methods import Method
from openpfn.benchmark.tables.prepare import Reader


@dataclass(frozen=True)
class Order:
    """What one row of the results holds."""

    cell: Cell
    """The cell of the grid."""
    seed: int
    """The table in it."""
    method: Method | None
    """Who reads it; None for the optimal rule."""

    @property
    def identity(self) -> dict[str, Any]:
        """The part of the row that is known before it is measured."""
        return {
            **vars(self.cell),
            "seed": self.seed,
            "method": OPTIMAL if self.method is None else self.method.name,
            "checkpoint_sha256": "" if self.method is None else self.method.checkpoint_sha256,
            "method_version": "" if self.method is None else self.method.version,
        }


def measured(order: tuple[Order, ProbesConfig], tell: Callable[[float], None]) -> dict[str, Any]:
    """Return the row of an order, measured on one thread: a job of its own."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return measure(*order)


def measure(order: Order, config: ProbesConfig) -> dict[str, Any]:
    """Return the row of `order`; where anything fails, status is failed and error says why."""
    began = time.process_time()
    row = order.identity | {"task": config.task, "query": config.query, "status": "ok"}
    try:
        table = draw_table(order.cell, order.seed, config.task, config.query)
        if config.task == "classification":
            row |= _class_scores(_probability(order, table, config), table.y_query)
        else:
            row["r2"] = regression_metrics(table.y_query, _numbers(order, table, config))["r2"]
    except Exception as error:  # whatever a method does wrong is a result, not the end of the run
        row |= failure(error)
    return row | {"cpu_seconds": time.process_time() - began}


def _class_scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    found = classification_metrics(y, np.stack([1 - p, p], axis=1))
    return {"roc_auc": found["roc_auc"], "log_loss": found["log_loss"]}


def _probability(order: Order, table: ProbeTable, config: ProbesConfig) -> np.ndarray:
    """The probability of class 1 for each query row."""
    if order.method is None:
        return table.optimal
    reader = _fitted(order.method, order.seed, table, config)
    given = np.asarray(reader.predict_proba(table.X_query), dtype=float)
    if given.shape != (len(table.y_query), 2) or not np.isfinite(given).all():
        raise ValueError(
            f"predict_proba gave shape {given.shape} with {int((~np.isfinite(given)).sum())}"
            f" values not finite, expected {(len(table.y_query), 2)}."
        )
    return given[:, 1] / given.sum(axis=1)


def _numbers(order: Order, table: ProbeTable, config: ProbesConfig) -> np.ndarray:
    """The predicted number of each query row."""
    if order.method is None:
        return table.optimal
    reader = _fitted(order.method, order.seed, table, config)
    given = np.asarray(reader.predict(table.X_query), dtype=float).reshape(-1)
    if given.shape != table.y_query.shape or not np.isfinite(given).all():
        raise ValueError(
            f"predict gave shape {given.shape} with {int((~np.isfinite(given)).sum())} values not"
            f" finite, expected {table.y_query.shape}."
        )
    return given


def _fitted(method: Method, seed: int, table: ProbeTable, config: ProbesConfig) -> Reader:
    reader = build(method, config.task, table.kinds, seed, config.device)
    return reader.fit(table.X, table.y)
