"""Measurements of estimators as they ship: their checkpoints, all views, the limits of rows and
columns."""

from __future__ import annotations

from functools import partial
from typing import Any

from openpfn.benchmark.speed.ours import random_table, table_shape
from openpfn.benchmark.speed.timers import Measurement, Milliseconds, Paths, Timed

NAMES = ("nano", "tiny")
"""Shipped checkpoints."""
SMALL = (100, 50, 5)
ONE_ROW = (1000, 1, 20)
LARGE = (10_000, 1000, 20)
"""More rows than a view of a softmax network sees."""


def shipped(name: str) -> Any:
    """The classifier of a shipped checkpoint, with its defaults."""
    from openpfn.estimators.classifier import PFNClassifier

    return PFNClassifier(name, device="cpu")


def one_prediction(name: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """`predict_proba` of a classifier that was fitted before."""
    x, y, queries = random_table(*shape)
    model = shipped(name).fit(x, y)
    return Milliseconds(lambda: model.predict_proba(queries))


def fit_and_predictions(name: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """`fit`, then `predict_proba` of all query rows."""
    x, y, queries = random_table(*shape)
    model = shipped(name)
    return Milliseconds(lambda: model.fit(x, y).predict_proba(queries))


def measurements() -> list[Measurement]:
    """The rows of shipped estimators."""
    runs = {
        "fit and predict": (fit_and_predictions, SMALL),
        "one prediction": (one_prediction, ONE_ROW),
        "fit and predict, many rows": (fit_and_predictions, LARGE),
    }
    return [
        Measurement(
            f"shipped-{name}-{shape[0]}x{shape[2]}",
            "shipped",
            f"openpfn {name}, {title}",
            table_shape(*shape),
            "ms",
            partial(run, name, shape),
        )
        for title, (run, shape) in runs.items()
        for name in NAMES
    ]
