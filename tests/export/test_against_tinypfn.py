"""Memory and instructions beside TinyPFN's sketch, for a network of ours of equal size and for
TinyPFN's own, imported, on equal rows: 50 context rows, 50 queries, 5 columns."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import random_network
from published_networks import random_weights

from openpfn.checkpoint import published
from openpfn.export.c_code import write_library
from openpfn.export.options import BACKENDS, CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.targets import TARGETS
from openpfn.export.verification.vectors import Vectors
from openpfn.tables.load import load

SKETCH = {"ram": 70_656, "call": 5_340_000, "one row": 3_150_000}
"""Its static memory, and its instructions on a Cortex-M4F (-O2) for 50 context rows with 50 queries
and with one: every call reads the context anew. 890 parameters; ours has 900, and 4 classes instead
of 2."""
NETWORKS = {
    "ours": random_network,
    "TinyPFN's": lambda: published.convert(
        random_weights("tinypfn", d_model=8, d_mlp=8, n_layers=1, n_outputs=2), "tinypfn", n_heads=1
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "backend"), [("ours", one) for one in BACKENDS] + [("TinyPFN's", "f32")]
)
@pytest.mark.parametrize(
    "target", [name for name in ("cortex-m4f",) if TARGETS[name].missing() is None]
)
def test_at_equal_size_the_library_needs_a_fraction_of_the_sketch(
    tmp_path, target, network, backend
):
    table = load("breast_cancer")
    rows = np.random.default_rng(0).permutation(len(table.y))[:100]
    x, y = (
        table.X.to_numpy()[rows, :5].astype(np.float32),
        np.unique(table.y, return_inverse=True)[1][rows].astype(np.int32),
    )
    model = NETWORKS[network]()
    write_library(model, tmp_path, CodeOptions(backend, max_features=5, max_classes=2))
    measured = measure(tmp_path, target, Vectors(x[:50], y[:50], x[50:], 2))
    fit, predict = measured.costs["fit_instructions"], measured.costs["predict_instructions"]
    assert SKETCH["ram"] >= 70 * measured.ram_bytes
    assert SKETCH["call"] >= 3.5 * (fit + 50 * predict)
    assert SKETCH["one row"] >= 200 * predict
