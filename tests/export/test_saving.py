"""Laws of saved contexts: what is saved loads with the same bits, and what is damaged does not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from export.c_library import CLibrary, random_network, small_library, small_network

from openpfn.export.freeze import write_fitted
from openpfn.export.options import BACKENDS, CodeOptions
from openpfn.export.tables import ContextTable
from openpfn.export.values import varies_too_little
from openpfn.export.verification.measure import measure
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import relative_error

pytestmark = pytest.mark.slow


@pytest.fixture(params=BACKENDS)
def library(request):
    """The library of a small network with each backend."""
    return small_library(request.param)


def odd_tables(n_tables: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield small tables with columns that are missing, constant, huge, tiny or partly missing."""
    rng = np.random.default_rng(0)
    for number in range(n_tables):
        n_rows, n_columns = rng.integers(1, 13), rng.integers(1, 7)
        x = rng.normal(size=(n_rows, n_columns))
        for j, kind in enumerate(rng.integers(0, 8, n_columns)):
            x[:, j] = [
                np.full(n_rows, np.nan),
                np.full(n_rows, rng.choice([0.0, 7.0, -1e25, 1e-30])),
                x[:, j].clip(-1, 1) * 1e25,
                x[:, j] * 1e-20,
                np.where(rng.random(n_rows) < 0.5, np.nan, x[:, j]),
                np.where(rng.random(n_rows) < 0.5, np.nan, 3.0),
                x[:, j],
                rng.choice([1e25, -1e25, 0.0, np.nan], n_rows),
            ][kind]
        y = rng.integers(0, rng.integers(1, 5), n_rows)
        yield x.astype(np.float32), y if number % 3 else np.arange(n_rows) % 3


def test_what_is_saved_loads_with_the_same_bits(library):
    rng = np.random.default_rng(1)
    for x, y in odd_tables(150):
        assert library.fit(x, y, n_classes=4) == "ok"
        queries = np.concatenate([x, rng.normal(size=(3, x.shape[1])).astype(np.float32)])
        before, (status, saved) = library.ask(queries, 4), library.save()
        assert status == "ok"
        assert not np.isnan(before).any()
        assert library.fit(np.ones((2, 1)), np.arange(2), n_classes=4) == "ok"
        assert library.load(saved) == "ok", f"{x} cannot be loaded again"
        assert library.ask(queries, 4).tobytes() == before.tobytes()
        assert library.save()[1] == saved


@pytest.mark.parametrize("n_rows", [1, 2, 3, 7, 12])
def test_a_column_missing_in_every_row_changes_nothing(library, n_rows):
    """Fit a column without values alone, and beside others."""
    y = np.arange(n_rows) % 3
    x = np.stack([np.full(n_rows, np.nan), np.arange(n_rows), np.arange(n_rows) ** 2 % 5], axis=1)
    tolerance = {"f32": 2e-5}.get(library.options.backend, 0.05)
    for shown in (x[:, :1], x[:, :2], x, x[:, [1, 0]]):
        vectors = Vectors(shown.astype(np.float32), y, shown.astype(np.float32) + 1, 3)
        assert library.fit(vectors.x, y, n_classes=3) == "ok"
        answers = library.ask(vectors.queries, 3)
        assert relative_error(answers, reference_logits(small_network(), vectors)) <= tolerance
        assert library.load(library.save()[1]) == "ok"
        assert library.ask(vectors.queries, 3).tobytes() == answers.tobytes()


@pytest.mark.parametrize("values", [[np.nan] * 4, [np.nan, 1, 2, 3], [5, 5, 5, 5]], ids=str)
def test_a_frozen_context_compiles_whatever_its_columns_hold(tmp_path, values):
    model = random_network()
    options = CodeOptions("f32", max_features=2, max_classes=3)
    library = CLibrary(model, tmp_path, options, "-O0")
    x, y = np.array(values, dtype=np.float32)[:, None], np.arange(4, dtype=np.int32) % 2
    write_fitted(tmp_path, ContextTable("t.csv", "y", x, y, ("a",), ("no", "yes")))
    frozen = measure(tmp_path, "host", Vectors(x, y, x, 2), ("-O0",), frozen=True)
    assert library.fit(x, y) == "ok"
    assert frozen.logits.tobytes() == library.ask(x, 2).tobytes()


def test_values_that_hardly_vary_are_refused_like_huge_ones(library):
    y = np.arange(8) % 2
    for factor, status in ((1e-26, "value"), (1e-24, "ok"), (1e24, "ok"), (1e26, "value")):
        x = (np.arange(8, dtype=np.float64)[:, None] % 5 * [1, factor]).astype(np.float32)
        assert library.fit(x, y) == status
        assert (status == "value" and factor < 1) == varies_too_little(x).any()
    assert library.fit(np.full((8, 1), 1e-30), y) == "ok", "a constant is no matter of size"


def test_a_flipped_bit_is_refused(library):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 4))
    x[:, 1] = np.nan
    library.fit(x, np.arange(20) % 3)
    saved = library.save()[1]
    for place in rng.integers(0, 8 * len(saved), 1000):
        assert library.load(flipped(saved, place)) == "saved"
        assert library.ask_status(x[0]) == "not_fitted"
    assert library.load(saved) == "ok"


def test_up_to_three_flipped_bits_and_bursts_are_refused(library):
    """CRC-32 finds each of these in so few bytes, whatever they hold."""
    rng = np.random.default_rng(0)
    library.fit(rng.normal(size=(20, 4)), np.arange(20) % 3)
    saved = library.save()[1]
    for _ in range(500):
        places = rng.choice(8 * len(saved), rng.integers(2, 4), replace=False)
        assert library.load(flipped(saved, *places)) == "saved"
        start = rng.integers(0, 8 * len(saved) - 32)
        burst = start + np.flatnonzero(rng.random(32) < 0.5)
        assert library.load(flipped(saved, start, *burst[burst > start])) == "saved"


def test_the_last_four_bytes_are_the_crc_32_of_the_others(library):
    library.fit(np.arange(8)[:, None], np.arange(8) % 2)
    saved = library.save()[1]
    assert zlib.crc32(saved[:-4]).to_bytes(4, "little") == saved[-4:]


def flipped(saved: bytes, *places: int) -> bytes:
    """Return `saved` with the bits at `places` changed."""
    damaged = bytearray(saved)
    for place in places:
        damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)
