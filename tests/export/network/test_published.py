"""Imported TinyPFN weights as C: the network's logits, whatever its heads, layers and classes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from export.c_library import CLibrary
from export.test_budget import stored_bytes
from published_networks import plain_logits, random_weights

from openpfn import cli
from openpfn.checkpoint import published
from openpfn.configs.published import PublishedConfig
from openpfn.export.budget import all_backends, budget
from openpfn.export.c_code import library, write_library
from openpfn.export.network.families import family_of
from openpfn.export.network.weights import quantised
from openpfn.export.options import CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.targets import SANITIZERS, TARGETS
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import TOLERANCE, relative_error
from openpfn.models import PFN

SIZES = {
    "one layer, two classes": (dict(d_model=8, d_mlp=8, n_layers=1, n_outputs=2), 1),
    "two heads": (dict(d_model=8, d_mlp=12, n_layers=2, n_outputs=3), 2),
    "four layers": (dict(d_model=16, d_mlp=32, n_layers=4, n_outputs=4), 1),
    "odd widths": (dict(d_model=6, d_mlp=5, n_layers=3, n_outputs=3), 3),
}
BACKENDS = ("f32", "int8")


@functools.cache
def network(name: str = "two heads") -> Any:
    sizes, n_heads = SIZES[name]
    return published.convert(random_weights("tinypfn", **sizes), "tinypfn", n_heads=n_heads)


def rows(n: int = 30, n_classes: int = 3, missing: float = 0.1, seed: int = 0) -> Vectors:
    """Context rows of classes that differ in their means, some values missing, and queries."""
    rng = np.random.default_rng(seed)
    y = np.arange(n + 8) % n_classes
    x = (rng.normal(size=(len(y), 4)) + y[:, None] * [1, -1, 0.5, 0]) * [1, 100, 0.01, 3]
    x[rng.random(x.shape) < missing] = np.nan
    x = x.astype(np.float32)
    return Vectors(x[:n], y[:n].astype(np.int32), x[n:], n_classes)


@functools.cache
def compiled(backend: str, folder: str) -> CLibrary:
    return CLibrary(network(), folder, CodeOptions(backend, max_features=5))


@pytest.fixture(params=BACKENDS)
def c_library(request, tmp_path_factory):
    return compiled(request.param, str(tmp_path_factory.getbasetemp() / f"c{request.param}"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SIZES)
def test_logits_are_those_of_the_network(tmp_path, name, backend):
    model = network(name)
    c_library = CLibrary(model, tmp_path, CodeOptions(backend, max_features=5))
    for n_classes in range(2, model.config.max_classes + 1):
        shown = rows(n_classes=n_classes)
        assert c_library.fit(shown.x, shown.y) == "ok"
        answered = c_library.ask(shown.queries, n_classes)
        assert relative_error(answered, reference_logits(model, shown)) < TOLERANCE[backend]


@pytest.mark.slow
def test_logits_are_those_of_the_published_equations(tmp_path):
    sizes, n_heads = SIZES["two heads"]
    weights, shown = random_weights("tinypfn", **sizes), rows(missing=0)
    c_library = CLibrary(network(), tmp_path, CodeOptions(max_features=5))
    assert c_library.fit(shown.x, shown.y) == "ok"
    x = torch.from_numpy(np.concatenate([shown.x, shown.queries])).double()
    weights = {name: tensor.double() for name, tensor in weights.items()}
    labels = torch.from_numpy(shown.y).double()
    expected = plain_logits(weights, "tinypfn", n_heads, x, labels, len(labels)).float().numpy()
    assert relative_error(c_library.ask(shown.queries, 3), expected) < 1e-5


@pytest.mark.slow
def test_a_stream_gives_the_same_bits_with_any_cache(c_library):
    shown = rows()
    table = list(zip(shown.x, shown.y, strict=True))
    assert c_library.fit(shown.x, shown.y) == "ok"
    expected = c_library.ask(shown.queries, 3)
    for cache in (0, 4 * 8 * 5 * 7, 4 * 8 * 5 * len(table)):
        source = lambda row: table[row] if row < len(table) else None  # noqa: E731
        assert c_library.fit_stream(source, 4, 3, cache) == "ok"
        np.testing.assert_array_equal(c_library.ask(shown.queries, 3), expected)


@pytest.mark.slow
def test_a_saved_context_answers_the_same_and_one_flipped_bit_is_refused(c_library):
    shown = rows()
    c_library.fit(shown.x, shown.y)
    expected = c_library.ask(shown.queries, 3)
    status, saved = c_library.save()
    assert status == "ok"
    c_library.fit(shown.x[:5], shown.y[:5])
    assert c_library.load(saved) == "ok"
    np.testing.assert_array_equal(c_library.ask(shown.queries, 3), expected)
    for place in range(0, len(saved), 37):
        damaged = bytearray(saved)
        damaged[place] ^= 4
        assert c_library.load(bytes(damaged)) == "saved"


@pytest.mark.slow
def test_classes_keep_their_order_and_those_without_rows_get_no_probability(c_library):
    shown = rows(n_classes=2)
    c_library.fit(shown.x, shown.y)
    expected = c_library.ask(shown.queries, 2)
    assert c_library.fit(shown.x, 2 * shown.y, 3) == "ok"  # nobody has class 1
    answered = c_library.ask(shown.queries, 3)
    np.testing.assert_array_equal(answered[:, [0, 2]], expected)
    assert np.isneginf(answered[:, 1]).all()


@pytest.mark.slow
def test_columns_that_do_not_vary_do_not_matter(c_library):
    shown = rows()
    c_library.fit(shown.x, shown.y)
    expected = c_library.ask(shown.queries, 3)
    wide = np.concatenate([np.full((len(shown.x), 1), 7.0), shown.x], axis=1)
    c_library.fit(wide, shown.y)
    asked = np.concatenate([np.full((len(shown.queries), 1), 9.0), shown.queries], axis=1)
    np.testing.assert_array_equal(c_library.ask(asked, 3), expected)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_told_is_what_the_compiler_lays_out(tmp_path, backend):
    model = network("odd widths")
    c_library = CLibrary(model, tmp_path, CodeOptions(backend, max_features=5, max_classes=3))
    told = budget(model.config, 50, 5, 3, backend)
    assert (told.context_bytes, told.scratch_bytes) == (c_library.n_context, c_library.n_scratch)
    weights = family_of(model.config).gather(model, 3)
    kept = weights if backend == "f32" else quantised(weights)
    assert told.weight_bytes == stored_bytes(kept)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "core",
    [name for name in ("cortex-m0", "cortex-m4f", "rv32imc") if TARGETS[name].missing() is None],
)
def test_a_core_gives_the_logits_within_the_budget(tmp_path, core, backend):
    model, shown = network(), rows()
    write_library(model, tmp_path, CodeOptions(backend, max_features=4, max_classes=3))
    measured = measure(tmp_path, core, shown)
    told, costs = budget(model.config, 30, 4, 3, backend), measured.costs
    has_fpu = core == "cortex-m4f"
    assert relative_error(measured.logits, reference_logits(model, shown)) < TOLERANCE[backend]
    assert measured.ram_bytes == told.context_bytes + told.scratch_bytes
    assert costs["text_bytes"] <= told.flash_bytes(has_fpu) <= costs["text_bytes"] + 5 * 1024
    assert max(costs["fit_stack"], costs["predict_stack"]) <= told.stack_bytes
    if core != "cortex-m0":
        ratio = costs["predict_instructions"] / told.instructions(told.predict_operations, has_fpu)
        assert 0.5 < ratio < 2
        assert 0.5 < costs["fit_instructions"] / told.instructions(told.fit_operations, has_fpu) < 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_sanitizers_find_nothing(tmp_path, backend):
    write_library(network(), tmp_path, CodeOptions(backend, max_features=4))
    answered = measure(tmp_path, "host", rows(), tuple(SANITIZERS)).logits
    assert relative_error(answered, reference_logits(network(), rows())) < TOLERANCE[backend]


def test_networks_whose_state_grows_are_refused_with_what_is_carried():
    with pytest.raises(ValueError, match=r"as in nanoTabPFN.*TinyPFN"):
        library(PFN(PublishedConfig(d_model=8, n_layers=1, d_mlp=8)), CodeOptions())


def test_query_weights_of_their_own_are_refused():
    names = ("datapoints_train", "datapoints_test")
    weights = random_weights("tinypfn", n_layers=1, rows=names)
    with pytest.raises(ValueError, match="separate_query_weights"):
        library(published.convert(weights, "tinypfn", n_heads=1), CodeOptions())


def test_integers_are_refused_with_the_other_backends():
    with pytest.raises(ValueError, match="Imported networks take backend int8 or f32"):
        library(network(), CodeOptions("int"))
    assert set(all_backends(network().config, 50, 5, 3)) == set(BACKENDS)


@pytest.mark.slow
def test_commands_take_a_published_file_to_a_verified_library(tmp_path, capsys):
    source, out = tmp_path / "published.pt", tmp_path / "net.safetensors"
    torch.save({"model_state_dict": random_weights("tinypfn", n_outputs=3)}, source)
    assert cli.main(["import", str(source), "--kind", "tinypfn", "--out", str(out)]) == 0
    firmware = str(tmp_path / "firmware")
    options = ["--max-features", "4", "--context", "iris", "--backend", "int8"]
    assert cli.main(["export", "c", str(out), "--out", firmware, *options]) == 0
    assert cli.main(["export", "verify", firmware, "--queries", "5"]) == 0
    assert cli.main(["export", "verify", firmware, "--frozen", "--queries", "5"]) == 0
    assert cli.main(["export", "budget", str(out)]) == 0
    assert "logits differ by at most" in capsys.readouterr().out
