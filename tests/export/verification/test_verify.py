"""How answers are compared, and how the shipped C is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import openpfn.export
from openpfn.export.verification.verify import relative_error

FOLDER = Path(openpfn.export.__file__).parent
SHIPPED = [
    path
    for name in ("runtime", "programs", "boards")
    for path in (FOLDER / name).rglob("*")
    if path.is_file() and path.suffix != ".json"
]


@pytest.mark.parametrize(
    ("logits", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.0, -np.inf], [0.0, -np.inf], 0.0),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        ([1e-9, 0.0], [0.0, 0.0], np.inf),
        ([np.nan, 2.0], [1.0, 2.0], np.inf),
        ([1.0, 2.0], [1.0, -np.inf], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
    ],
    ids=str,
)
def test_the_error_is_a_number_whatever_was_answered(logits, expected, error):
    answers, wanted = (np.array([row], dtype=np.float32) for row in (logits, expected))
    assert relative_error(answers, wanted) == pytest.approx(error)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_c_lines_have_at_most_100_columns(path):
    long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 100]
    assert not long, long[0]
