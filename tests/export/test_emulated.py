"""The exported library on emulated cores: the same logits, within held budgets of instructions, flash, memory and stack."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import random_network

from openpfn import checkpoint
from openpfn.cli.export import reference_logits
from openpfn.export.budget import budget
from openpfn.export.c_code import BACKENDS, CodeOptions, write_library
from openpfn.export.verify import SANITIZERS, STRICT, TARGETS, TOLERANCE, Vectors, find_target, measure, relative_error

EMULATED = [name for name, target in TARGETS.items() if target.emulator and target.missing() is None]
"""Cores whose toolchain is installed here; CI installs all of them."""
WITH_FPU = ("cortex-m4f", "rv32imafc")
HELD = {    # (instructions of fit and predict, flash bytes) of micro in f32, 20 rows × 5 columns, -O2; at most 10% more
    "cortex-m0": (7_000_000, 446_000, 15_500),
    "cortex-m3": (3_400_000, 206_000, 12_000),
    "cortex-m4f": (252_000, 13_600, 9_400),
    "rv32imc": (6_700_000, 418_000, 16_800),
    "rv32imafc": (300_000, 16_000, 9_700),
}


def vectors(n_rows: int = 20, cached_rows: int = 0) -> Vectors:
    """Rows of three classes with some values missing."""
    rng = np.random.default_rng(0)
    y = np.arange(n_rows + 5) % 3
    x = rng.normal(size=(len(y), 5)) + y[:, None] * rng.normal(size=5)
    x[rng.random(x.shape) < 0.05] = np.nan
    x = x.astype(np.float32)
    return Vectors(x[:n_rows], y[:n_rows].astype(np.int32), x[n_rows:], 3, cached_rows)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """A network of micro's size and its library."""
    model, folder = random_network(), tmp_path_factory.mktemp("micro")
    write_library(model, folder, CodeOptions("f32", max_features=8, max_classes=3))
    return model, folder


@pytest.mark.parametrize("target", EMULATED)
def test_a_core_gives_the_networks_logits_within_its_budget(micro, target):
    model, folder = micro
    measured = measure(folder, target, vectors())
    costs = measured.costs
    assert relative_error(measured.logits, reference_logits(model, vectors())) < 1e-5
    told = budget(model.config, 20, 5, 3, "f32")
    assert (costs["context_bytes"], costs["scratch_bytes"]) == (told.context_bytes, told.scratch_bytes)
    assert max(costs["fit_stack"], costs["predict_stack"]) <= told.stack_bytes
    assert costs["text_bytes"] <= told.flash_bytes(has_fpu=target in WITH_FPU)
    for cost, held in zip(("fit_instructions", "predict_instructions", "text_bytes"), HELD[target], strict=True):
        assert 0 < costs[cost] <= 1.1 * held, f"{cost} is {costs[cost]:,}, held at {held:,}"


@pytest.fixture(scope="module")
def integer_micro(tmp_path_factory):
    """A network of micro's size, its library in integers, and what that answers on the host."""
    model, folder = random_network(), tmp_path_factory.mktemp("integers")
    write_library(model, folder, CodeOptions("int", max_features=8, max_classes=3))
    return model, folder, measure(folder, "host", vectors()).logits


@pytest.mark.parametrize("target", EMULATED)
def test_integers_give_the_same_bits_on_every_core(integer_micro, target):
    model, folder, on_host = integer_micro
    measured = measure(folder, target, vectors())
    np.testing.assert_array_equal(measured.logits.view(np.uint32), on_host.view(np.uint32))
    assert relative_error(on_host, reference_logits(model, vectors())) < TOLERANCE["int"]


@pytest.mark.parametrize("target", [name for name in EMULATED if name == "cortex-m4f"])
def test_tiny_fits_and_predicts_within_its_budget(tmp_path, target):
    model = checkpoint.load("tiny").model
    write_library(model, tmp_path, CodeOptions("int8", max_features=8, max_classes=3))
    costs = measure(tmp_path, target, vectors(cached_rows=20), ("-Os",)).costs
    assert costs["text_bytes"] <= 22 * 1024
    assert costs["context_bytes"] + costs["scratch_bytes"] <= 8 * 1024
    assert costs["predict_instructions"] <= 530_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_sanitizers_find_nothing(tmp_path, backend):
    model = random_network(n_layers=2, separate_query_weights=True)
    write_library(model, tmp_path, CodeOptions(backend, max_features=5, max_classes=3))
    error = relative_error(measure(tmp_path, "host", vectors(), tuple(SANITIZERS)).logits, reference_logits(model, vectors()))
    assert error < TOLERANCE[backend]


def test_an_unknown_target_lists_the_choices():
    with pytest.raises(ValueError, match="host, cortex-m0"):
        find_target("z80")


def test_the_library_compiles_under_strict_flags():
    assert {"-std=c99", "-Wconversion", "-Wdouble-promotion", "-Werror"} <= set(STRICT)
