"""Ten thousand context rows streamed through a core without an FPU: the memory of fifty, the
network's logits."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import random_network

from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.targets import TARGETS
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import TOLERANCE, relative_error


def vectors(n_rows: int) -> Vectors:
    """Rows of three overlapping classes, five columns, some values missing."""
    rng = np.random.default_rng(0)
    means, y = rng.normal(size=(3, 5)), rng.integers(0, 3, n_rows + 4)
    x = rng.normal(size=(len(y), 5)) * [1, 10, 0.1, 3, 1] + means[y]
    x[rng.random(x.shape) < 0.02] = np.nan
    x = x.astype(np.float32)
    return Vectors(x[:n_rows], y[:n_rows].astype(np.int32), x[n_rows:], 3)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["f32", "int"])
@pytest.mark.parametrize(
    "target", [name for name in ("rv32imc",) if TARGETS[name].missing() is None]
)
def test_ten_thousand_rows_need_the_memory_of_fifty(tmp_path, target, backend):
    model = random_network()
    write_library(model, tmp_path, CodeOptions(backend, max_features=5, max_classes=3))
    few, many = (measure(tmp_path, target, vectors(n), time_limit=1200) for n in (50, 10_000))
    assert (many.ram_bytes, many.costs["fit_stack"]) == (few.ram_bytes, few.costs["fit_stack"])
    assert many.costs["predict_instructions"] < 1.1 * few.costs["predict_instructions"]
    assert many.costs["fit_instructions"] < 1.1 * 200 * few.costs["fit_instructions"]
    assert (
        relative_error(many.logits, reference_logits(model, vectors(10_000))) < TOLERANCE[backend]
    )
