"""The backend int: arithmetic in integers, close to the network's, and safe for any rows."""

from __future__ import annotations

import re
import zlib
from math import erfc, sqrt

import numpy as np
import pytest
from export.c_library import CLibrary, random_network
from export.test_library import table

from openpfn import checkpoint
from openpfn.export.c_code import write_library
from openpfn.export.network.calibrate import measured_ranges
from openpfn.export.network.fixed_point import integer_matrix
from openpfn.export.network.mechanisms import runtime
from openpfn.export.options import CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.targets import SANITIZERS
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import TOLERANCE, relative_error

NETWORKS = {
    "tiny": lambda: checkpoint.load("tiny").model,
    "micro": lambda: random_network(),
    "loops": lambda: random_network(n_layers=2, n_loops=2),
    "relu, three layers": lambda: random_network(
        n_layers=3, attention_options={"features": "relu"}, separate_query_weights=True
    ),
    "one wide head": lambda: random_network(
        n_layers=2,
        d_model=20,
        n_heads=1,
        d_mlp=64,
        scalar_embedding="linear",
        missing_flags=False,
        target_aware=False,
    ),
}
EXTREMES = [1e25, -1e25, 1e-30, 0.0, 3.0, np.nan]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """A network and its library in integers."""
    model = NETWORKS[request.param]()
    return model, CLibrary(
        model,
        tmp_path_factory.mktemp("firmware"),
        CodeOptions("int", max_features=6, max_classes=4),
    )


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("powers", lambda i: min(65535, 65536 * 2 ** (-i / 32))),
        ("tails", lambda i: 65536 * i / 16 * erfc(i / 16 / sqrt(2)) / 2),
        ("roots", lambda i: 32768 / sqrt(1 + i / 16)),
    ],
)
def test_tables_are_the_functions_that_they_stand_for(name, function):
    body = re.search(rf"{name}\[\] = {{([^}}]*)}}", runtime("tables_int.c"))
    assert body is not None
    entries = [int(word) for word in re.findall(r"\d+", body[1])]
    assert len(entries) == {"powers": 33, "tails": 65, "roots": 49}[name]
    assert entries == [round(function(i)) for i in range(len(entries))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_rows", "missing"),
    [
        (4, 0.0),
        (40, 0.15),
        (2_000, 0.15),
        (10_000, 0.0),
        (10_000, 0.15),
    ],
)
def test_logits_are_close_to_those_of_the_network(network, n_rows, missing):
    model, library = network
    x, y = table(n_rows, seed=n_rows, missing=missing)
    queries, _ = table(8, seed=10, missing=missing)
    assert library.fit(x, y) == "ok"
    assert (
        relative_error(library.ask(queries, 3), reference_logits(model, Vectors(x, y, queries, 3)))
        < TOLERANCE["int"]
    )


@pytest.mark.slow
def test_the_same_rows_many_times_over_keep_their_answer(tmp_path):
    model = random_network(n_layers=2)
    library = CLibrary(model, tmp_path, CodeOptions("int", max_features=6, max_classes=4))
    x, y = table(30)
    library.fit(np.tile(x, (2, 1)), np.tile(y, 2))
    few = reference_logits(
        model, Vectors(np.tile(x, (2, 1)), np.tile(y, 2), x[:5], 3)
    ) - library.ask(x[:5], 3)
    assert library.fit(np.tile(x, (300, 1)), np.tile(y, 300)) == "ok"
    many = reference_logits(
        model, Vectors(np.tile(x, (300, 1)), np.tile(y, 300), x[:5], 3)
    ) - library.ask(x[:5], 3)
    assert np.abs(many).max() < 2 * np.abs(few).max() + 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_rows"),
    [
        ("relu, three layers", 300),
        ("micro", 9),
        ("relu, three layers", 10_000),
        ("one wide head", 2),
    ],
)
def test_extreme_rows_overflow_nothing(tmp_path, name, n_rows):
    rng = np.random.default_rng(n_rows)
    x = rng.choice(EXTREMES, size=(n_rows, 6)).astype(np.float32)
    x[:, 0] = 7.0  # a constant column
    x[:, 1] = np.where(np.arange(n_rows) == 0, 1e25, 0.0)  # one far outlier
    queries = rng.choice(EXTREMES, size=(20, 6)).astype(np.float32)
    y = (np.arange(n_rows) % 3 % 2).astype(np.int32)
    write_library(NETWORKS[name](), tmp_path, CodeOptions("int", max_features=6, max_classes=4))
    assert np.isfinite(
        measure(tmp_path, "host", Vectors(x, y, queries, 2), tuple(SANITIZERS)).logits
    ).all()


@pytest.mark.slow
def test_row_order_of_the_context_does_not_matter_to_a_bit(network):
    _, library = network
    x, y = table()
    x = np.round(x * 4) / 4  # so that the sums of the standardisation are exact
    library.fit(x, y)
    before = library.ask(x, 3)
    order = np.random.default_rng(0).permutation(len(x))
    library.fit(x[order], y[order])
    np.testing.assert_array_equal(library.ask(x, 3), before)


@pytest.mark.slow
def test_impossible_states_are_refused(tmp_path):
    options = CodeOptions("int", max_features=6, max_classes=4)
    library = CLibrary(random_network(), tmp_path, options, "-O0")
    x, y = table()
    library.fit(x, y)
    saved = library.save()[1]
    for value in (2**31 - 1, -(2**31), 20_000):
        changed = bytearray(saved[:-4])
        changed[-4:] = (value & 0xFFFFFFFF).to_bytes(4, "little")  # the last sum of keys
        checksum = zlib.crc32(changed).to_bytes(4, "little")
        assert library.load(bytes(changed) + checksum) == "saved"
    assert library.load(saved) == "ok"


def test_a_matrix_in_integers_stands_for_the_matrix():
    matrix = (
        np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
        * np.geomspace(1e-4, 1, 20, dtype=np.float32)[:, None]
    )
    small = integer_matrix(matrix, sum_shift=3)
    restored = small.weight * (small.factor * 2.0**-3 / 2.0 ** small.shift.astype(int))[:, None]
    assert (small.factor >= 128).all()
    assert (np.abs(restored - matrix).max(axis=1) <= 0.55 * np.abs(matrix).max(axis=1) / 80).all()


@pytest.mark.slow
def test_ranges_are_always_those_of_the_same_tasks():
    model = random_network(n_layers=2, separate_query_weights=True)
    ranges = measured_ranges(model, 6, 4)
    assert ranges == measured_ranges(model, 6, 4)
    assert all(0 < size < 100 for size in ranges.values())


@pytest.mark.slow
def test_larger_activations_get_fewer_fraction_bits(tmp_path):
    bits = []
    for factor in (1.0, 8.0):
        model = random_network()
        state = model.state_dict()
        for name in ("layers.0.mlp.hidden.weight", "head.hidden.weight"):
            state[name] *= factor  # the tensors of the network itself
        header = write_library(model, tmp_path, CodeOptions("int", max_features=6, max_classes=4))[
            "pfn_model.h"
        ].read_text()
        bits.append(int(header.split("PFN_HIDDEN_BITS ")[1].split()[0]))
    assert bits[0] - 4 <= bits[1] <= bits[0] - 2
