"""Run exported files in onnxruntime and compare their answers with the network's."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openpfn.export.onnx.graphs import Passes, Targets, WholePass
from openpfn.export.onnx.write import WHOLE

TABLES = ((33, 6, 9), (100, 3, 1), (7, 1, 50), (2, 4, 1), (300, 20, 30))
"""Context rows, columns and query rows of the tables that answers are compared on."""
TOLERANCE = 1e-4
"""Largest difference of answers, as a share of the largest."""


def can_check() -> bool:
    """Whether onnxruntime is installed."""
    return find_spec("onnxruntime") is not None


class Session:
    """ONNX files of one network in onnxruntime: arrays by the inputs' names in, answers out."""

    def __init__(self, paths: Sequence[Path], n_threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3
        self.parts: list[Any] = [
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in paths
        ]

    def fit(self, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state after the context rows, by the names of its tensors."""
        fit = self.parts[0]
        answers = fit.run(None, {name: table[name] for name in _inputs(fit)})
        return dict(zip((output.name for output in fit.get_outputs()), answers, strict=True))

    def answers(self, table: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The answers for the query rows of `table`; with two files fit, then predict."""
        return self.last(table | self.fit(table) if len(self.parts) == 2 else table)

    def last(self, table: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The answers of the last file: with two of them `table` holds the state, too."""
        last = self.parts[-1]
        return last.run(None, {name: table[name] for name in _inputs(last)})


def _inputs(session: Any) -> list[str]:
    return [given.name for given in session.get_inputs()]


def largest_difference(model: Any, paths: Sequence[Path], targets: Targets) -> float:
    """The largest difference of any finite answer from the network's own, on five tables, as a
    share of the largest answer; inf where one is finite and the other is not."""
    session, whole = Session(paths), WholePass(model, targets).eval()
    return max(_difference(session, whole, *size) for size in TABLES)


def _difference(
    session: Session, whole: Passes, n_rows: int, n_columns: int, n_queries: int
) -> float:
    table = compared_table(whole.targets, n_rows, n_columns, n_queries)
    names = WHOLE
    with torch.no_grad():
        wanted = whole(*(torch.from_numpy(table[name]) for name in names))
    worst = 0.0
    for ours, theirs in zip(wanted, session.answers(table), strict=True):
        finite = np.isfinite(ours := ours.numpy())
        if (finite != np.isfinite(theirs)).any():
            return float("inf")
        error = np.abs(ours[finite] - theirs[finite]).max()
        worst = max(worst, float(error / max(1.0, np.abs(ours[finite]).max())))
    return worst


def compared_table(
    targets: Targets, n_rows: int, n_columns: int, n_queries: int
) -> dict[str, np.ndarray]:
    """A random table with missing values, a category and a constant column."""
    random = np.random.default_rng([n_rows, n_columns])
    x = random.normal(size=(1, n_rows + n_queries, n_columns)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    categorical = np.zeros((1, n_columns), dtype=bool)
    if n_columns > 2:
        categorical[0, 1] = True
        x[0, :, 1] = random.integers(0, 5, n_rows + n_queries)
        x[0, :, 2] = 3.0
    y = random.integers(0, 3, (1, n_rows))
    y[0, 0] = 2
    numbers = 1e6 + 50 * random.normal(size=(1, n_rows))
    return {
        "x_context": x[:, :n_rows],
        "y_context": y.astype(np.float32) if targets == "classes" else numbers,
        "x_query": x[:, n_rows:],
        "categorical": categorical,
    }
