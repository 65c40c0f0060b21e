"""`teach`: rows made of a context's, the network's answers to them, and a student that learns
both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from openpfn.estimators.distilling.fidelity import Fidelity
from openpfn.estimators.distilling.students import Student
from openpfn.tables.moments import mean_and_variance

ROWS_PER_CONTEXT_ROW = 20
FEWEST, MOST = 2_000, 10_000
"""Rows to learn from, at least and at most, where their number is not given."""
HELD_OUT = 0.1
"""Share of the rows that measures how near the student came, and is not learned from."""
SWAPPED = (0.0, 0.1, 0.3)
"""Shares of a row's cells that come from other rows; each is used for a part of the rows."""
JITTER = (0.05, 0.2)
"""Noise on numbers in standard deviations of their column; each is used for a part of the rows."""

Lessons = Callable[[Any, Float[np.ndarray, "N S"]], Float[np.ndarray, "N V"]]


def teach(
    student: type[Student], fitted: Any, lessons: Lessons, n_rows: int | None, seed: int, X: Any
) -> tuple[Student, Fidelity]:
    """Return a student of the `fitted` estimator, and how near it is.

    Raises ValueError where the estimator came from a file without rows and no table `X` is given.
    """
    rows = fitted.context_.rows
    if X is not None:
        table = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
        rows = fitted.read_rows(table)
    if rows is None:
        raise ValueError(
            "this estimator came from a file without rows, so there are none to make others of."
            " Give a table of such rows as X."
        )
    if n_rows is None:
        n_rows = int(np.clip(ROWS_PER_CONTEXT_ROW * len(rows), FEWEST, MOST))
    random = np.random.default_rng(seed)
    categorical = fitted.context_.categorical
    n_held = max(1, round(HELD_OUT * n_rows))
    made = resampled(rows, categorical, n_rows + n_held, random)
    taught = lessons(fitted, made)
    learned = student.fit(made[n_held:], taught[n_held:], categorical, seed % 2**31)
    return learned, Fidelity.of(taught[:n_held], learned(made[:n_held]))


def resampled(
    rows: Float[np.ndarray, "n S"],
    categorical: Bool[np.ndarray, " S"],
    n_rows: int,
    random: np.random.Generator,
) -> Float[np.ndarray, "N S"]:
    """Return rows near the given ones: each is one of them with some cells of others, and noise on
    its numbers.

    Missing cells stay missing or come from other rows; codes are never changed but for others'.
    """
    made = rows[random.integers(len(rows), size=n_rows)]
    others = rows[random.integers(len(rows), size=made.shape), np.arange(rows.shape[1])]
    share = random.choice(SWAPPED, size=(n_rows, 1))
    made = np.where(random.random(made.shape) < share, others, made)
    _, variance = mean_and_variance(rows)
    noise = random.normal(size=made.shape) * random.choice(JITTER, size=(n_rows, 1))
    return made + np.where(categorical, 0.0, noise * np.sqrt(variance))
