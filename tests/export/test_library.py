"""Laws of the exported C library, compiled for this machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from export.c_library import CLibrary, random_network, small_library

from openpfn import checkpoint
from openpfn.configs.presets import preset
from openpfn.estimators import PFNClassifier
from openpfn.export.options import CodeOptions
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import relative_error
from openpfn.tables.load import load

pytestmark = pytest.mark.slow


def table(
    n: int = 40, n_columns: int = 4, n_classes: int = 3, seed: int = 0, missing: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of classes that differ in their means; columns of very different size and
    offset."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    x = rng.normal(size=(n, n_columns)) + rng.normal(size=(n_classes, n_columns))[y] * 2
    x = x * np.resize([1, 100, 0.01, 3], n_columns) + np.resize([0, 1e4, -5, 1], n_columns)
    x[rng.random(x.shape) < missing] = np.nan
    return x.astype(np.float32), y


NETWORKS = {
    "tiny": lambda: checkpoint.load("tiny").model,
    "micro": lambda: random_network(),
    "loops": lambda: random_network(n_layers=2, n_loops=2),
    "relu, three layers": lambda: random_network(
        n_layers=3, attention_options={"features": "relu"}, separate_query_weights=True
    ),
    "ridge": lambda: random_network(
        n_layers=2, attention_type="ridge", separate_query_weights=True
    ),
    "plain": lambda: random_network(
        n_layers=2,
        scalar_embedding="linear",
        missing_flags=False,
        target_aware=False,
        d_model=6,
        n_heads=1,
    ),
}

ROUNDING = {"f32": 1e-5, "int": 1e-3}
"""What the last bit of a column's mean may change in logits: where values become integers, it can
move one by a step."""


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """A network and its C library."""
    torch.manual_seed(0)
    model = NETWORKS[request.param]()
    return model, CLibrary(
        model,
        tmp_path_factory.mktemp("firmware"),
        CodeOptions("f32", max_features=6, max_classes=4),
    )


@pytest.fixture(params=["f32", "int"])
def library(request):
    """A small network in floats and in integers."""
    return small_library(request.param)


def test_logits_are_those_of_the_network(network):
    model, library = network
    for seed, missing in ((0, 0.0), (1, 0.15)):
        x, y = table(seed=seed, missing=missing)
        queries, _ = table(8, seed=seed + 10, missing=missing)
        assert library.fit(x, y) == "ok"
        assert (
            relative_error(
                library.ask(queries, 3), reference_logits(model, Vectors(x, y, queries, 3))
            )
            < 1e-5
        )


def test_probabilities_are_those_of_the_classifier_on_a_real_table(network):
    model, library = network
    wine = load("wine")
    x, y = wine.X.to_numpy(dtype=np.float32)[:, :6], wine.y.to_numpy()
    order = np.random.default_rng(0).permutation(len(y))[:80]
    x, y = x[order], np.unique(y[order], return_inverse=True)[1]
    assert library.fit(x[:60], y[:60]) == "ok"
    classifier = PFNClassifier(model=model, n_estimators=1).fit(x[:60].astype(np.float64), y[:60])
    np.testing.assert_allclose(
        library.ask(x[60:], 3, "proba"),
        classifier.predict_proba(x[60:].astype(np.float64)),
        atol=1e-5,
    )


def test_all_classes_of_the_network_can_be_told_apart(tmp_path):
    model = random_network(preset("tiny"))
    library = CLibrary(model, tmp_path, CodeOptions("f32", max_features=3, max_classes=10))
    x, y = table(60, 3, n_classes=10)
    assert library.fit(x, y) == "ok"
    assert (
        relative_error(library.ask(x[:5], 10), reference_logits(model, Vectors(x, y, x[:5], 10)))
        < 1e-5
    )


def test_row_order_of_the_context_does_not_matter(library):
    x, y = table()
    library.fit(x, y)
    before = library.ask(x, 3)
    order = np.random.default_rng(0).permutation(len(x))
    library.fit(x[order], y[order])
    np.testing.assert_allclose(
        library.ask(x, 3), before, rtol=1e-4, atol=ROUNDING[library.options.backend]
    )


@pytest.mark.parametrize("counts", [(9, 9, 9), (14, 8, 8), (5, 15, 10)])
def test_names_of_the_classes_do_not_matter(library, counts):
    y = np.repeat(np.arange(3), counts)
    x = np.random.default_rng(1).normal(size=(len(y), 3)) + y[:, None]
    x[:, 0] = (
        np.arange(len(y)) % 2 == 0 if len(set(counts)) > 1 else 1
    )  # the first column may not tell them apart
    library.fit(x, y)
    before = library.ask(x[:6], 3)
    names = np.array([2, 0, 1])
    library.fit(x, names[y])
    np.testing.assert_array_equal(library.ask(x[:6], 3)[:, names], before)


def test_columns_that_do_not_vary_do_not_matter(library):
    x, y = table()
    library.fit(x, y)
    before = library.ask(x[:5], 3)
    padding = np.stack([np.full(len(x), 7.0), np.full(len(x), np.nan)], axis=1)
    wide = np.concatenate([padding, x], axis=1)
    library.fit(wide, y)
    wide[:5, :2] = [[np.nan, 3.0]]
    np.testing.assert_array_equal(library.ask(wide[:5], 3), before)


def test_units_and_offsets_of_columns_do_not_matter(library):
    x, y = table()
    x = np.round(x * 64) / 64  # so that the changed values are exact
    library.fit(x, y)
    before = library.ask(x[:5], 3)
    changed = x.astype(np.float64) * [2.0**20, 2.0**-20, 1, 1] + [0, 0, 4096, 0]
    library.fit(changed, y)
    np.testing.assert_allclose(
        library.ask(changed[:5], 3), before, rtol=1e-4, atol=10 * ROUNDING[library.options.backend]
    )


def test_a_stream_with_any_cache_gives_the_same_bits(library):
    x, y = table(missing=0.1)
    library.fit(x, y)
    before = library.ask(x, 3)
    for cache_bytes in (0, 7 * 5 * 8 * 4, 10**5):
        assert (
            library.fit_stream(
                lambda row: (x[row], y[row]) if row < len(x) else None, 4, 3, cache_bytes
            )
            == "ok"
        )
        np.testing.assert_array_equal(library.ask(x, 3), before)


def test_a_loaded_context_answers_with_the_same_bits(library):
    x, y = table()
    library.fit(x, y)
    before = library.ask(x, 3)
    status, saved = library.save()
    assert status == "ok"
    library.fit(x[::-1] * 3, y)
    assert library.load(saved) == "ok"
    np.testing.assert_array_equal(library.ask(x, 3), before)


def test_damaged_bytes_are_refused(library):
    x, y = table()
    library.fit(x, y)
    saved = library.save()[1]
    for place in range(0, len(saved), 7):
        damaged = bytearray(saved)
        damaged[place] ^= 1 << place % 8
        assert library.load(bytes(damaged)) == "saved"
        assert library.ask_status(x[0]) == "not_fitted"
    assert library.load(saved[:-1]) == "saved"
    assert library.load(b"") == "saved"


def test_one_class_is_certain_and_an_absent_one_impossible(library):
    x, _ = table()
    assert library.fit(x, np.ones(len(x)), n_classes=3) == "ok"
    np.testing.assert_array_equal(library.ask(x[:2], 3, "proba"), [[0, 1, 0]] * 2)
    assert library.fit(x, np.arange(len(x)) % 2 * 2, n_classes=4) == "ok"
    proba = library.ask(x, 4, "proba")
    assert (proba[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)


def test_a_table_in_which_nothing_varies_has_an_answer(network):
    model, library = network
    x, y = np.full((9, 2), 3.0, dtype=np.float32), np.arange(9) % 3
    assert library.fit(x, y) == "ok"
    assert (
        relative_error(
            library.ask(x[:1] + 1, 3), reference_logits(model, Vectors(x, y, x[:1] + 1, 3))
        )
        < 1e-5
    )


def test_every_wrong_input_has_its_status(library):
    x, y = table()
    infinite, huge = x.copy(), x.copy()
    infinite[3, 1], huge[3, 1] = np.inf, 1e26
    assert library.fit(x[:0], y[:0], n_classes=3) == "rows"
    assert library.fit(np.ones((4, 7)), np.arange(4) % 2) == "features"
    assert library.fit(x, y, n_classes=5) == "classes"
    assert library.fit(x, y, n_classes=0) == "classes"
    assert library.fit(x, y, n_classes=2) == "label"
    assert library.fit(x, y - 1, n_classes=3) == "label"
    assert library.fit(infinite, y) == "value"
    assert library.fit(huge, y) == "value"
    assert library.ask_status(x[0]) == "not_fitted"
    assert library.save()[0] == "not_fitted"
    assert library.fit(x, y) == "ok"
    assert library.ask_status(infinite[3]) == "value"
    assert library.save(capacity=100)[0] == "capacity"


def test_a_source_that_fails_or_changes_has_its_status(library):
    x, y = table()
    asked = []

    def shrinking(row):
        asked.append(row)
        return (x[row], y[row]) if row < 30 - asked.count(0) else None

    def failing(row):
        if row == 20:
            raise OSError
        return x[row], y[row]

    assert library.fit_stream(shrinking, 4, 3) == "source"
    assert library.fit_stream(failing, 4, 3) == "source"


def test_a_long_stream_stays_exact(network):
    model, library = network
    x, y = table(3000)
    assert library.fit(x, y) == "ok"
    assert (
        relative_error(library.ask(x[:3], 3), reference_logits(model, Vectors(x, y, x[:3], 3)))
        < 2e-5
    )
