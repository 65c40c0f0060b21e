"""Methods that are fitted on the chip: C files of `learners/`, compiled for this machine and called
from Python."""

from __future__ import annotations

import ctypes
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from openpfn.export.verification.host import address
from openpfn.export.verification.measure import run_tool
from openpfn.export.verification.targets import STRICT, find_target

LEARNERS = ("logistic", "lda", "naive_bayes", "knn", "mlp")
"""Their names, which are those of the files."""
CONSTANTS = {
    "logistic": "C = 1",
    "lda": "shrinkage 0.2",
    "naive_bayes": "a tenth of the columns' variance added",
    "knn": "5 neighbours, and one more vote for each class",
    "mlp": "8 hidden units, 3,000 steps of one row, momentum 0.9, weight decay 0.01",
}
"""What is settled in each."""


def learner_source(name: str) -> str:
    """Return the C of a file of learners/, with the header that it includes."""
    folder = resources.files("openpfn.benchmark.edge").joinpath("learners")
    text = folder.joinpath(f"{name}.c").read_text(encoding="utf-8")
    header = folder.joinpath("learner.h").read_text(encoding="utf-8")
    return text.replace('#include "learner.h"', header)


class HostLearner:
    """The C of a learner, compiled for this machine, with memory for tables of at most `max_rows` ×
    `max_features`. What was trained elsewhere is only asked.

    Raises FileNotFoundError where no compiler is installed, ToolError with the compiler's words.
    """

    def __init__(self, source: str, max_rows: int, max_features: int, max_classes: int) -> None:
        strict = [] if "TRAINED_ELSEWHERE" in source else STRICT
        with tempfile.TemporaryDirectory() as place:
            written, built = Path(place) / "learner.c", Path(place) / "learner.so"
            size = "\nconst int32_t learner_bytes = (int32_t)sizeof(learner);\n"
            written.write_text(source + size, encoding="utf-8")
            flags = [*strict, "-O2", "-ffp-contract=off", "-fPIC", "-shared"]
            flags += limit_flags(max_rows, max_features, max_classes)
            compiler = find_target("host").compiler
            run_tool([compiler, *flags, str(written), "-lm", "-o", str(built)], Path(place))
            self.c = ctypes.CDLL(str(built))
        n_bytes = ctypes.c_int32.in_dll(self.c, "learner_bytes").value
        self.model = ctypes.create_string_buffer(n_bytes)

    def fit(self, x: Num[np.ndarray, "n D"], y: Num[np.ndarray, " n"], n_classes: int) -> None:
        """Fit rows and their labels 0 … n_classes − 1. Raises ValueError where they do not fit."""
        x, y = np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(y, dtype=np.int32)
        if not self.c.learner_fit(self.model, address(x), address(y), *x.shape, n_classes):
            raise ValueError(
                f"the learner has no room for {x.shape[0]} rows × {x.shape[1]} columns and"
                f" {n_classes} classes. Compile it for larger tables."
            )

    def predict_proba(
        self, rows: Num[np.ndarray, "Q D"], n_classes: int
    ) -> Float[np.ndarray, "Q k"]:
        """Return the probabilities of all classes."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        answer = np.full((len(rows), n_classes), np.nan, dtype=np.float32)
        for row, out in zip(rows, answer, strict=True):
            self.c.learner_predict_proba(self.model, address(row), address(out))
        return answer


def limit_flags(max_rows: int, max_features: int, max_classes: int) -> list[str]:
    """Return the compiler's flags for the largest table."""
    limits = {"MAX_ROWS": max_rows, "MAX_FEATURES": max_features, "MAX_CLASSES": max_classes}
    return [f"-D{name}={value}" for name, value in limits.items()]
