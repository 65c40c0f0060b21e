"""The exported library on emulated cores: the same logits, within held budgets of instructions,
flash, memory and stack."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import random_network

from openpfn import checkpoint
from openpfn.export.budget import budget
from openpfn.export.c_code import write_library
from openpfn.export.options import BACKENDS, CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.targets import SANITIZERS, STRICT, TARGETS, find_target
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import TOLERANCE, relative_error

EMULATED = [
    name for name, target in TARGETS.items() if target.emulator and target.missing() is None
]
"""Cores whose toolchain is installed here; CI installs all of them."""
WITH_FPU = ("cortex-m4f", "rv32imafc")
# (instructions of fit and predict, flash bytes) of micro, 20 rows × 5 columns, -O2; at most 10%
# more
HELD = {
    ("f32", "cortex-m0"): (6_500_000, 411_000, 12_750),
    ("f32", "cortex-m3"): (2_990_000, 184_000, 9_900),
    ("f32", "cortex-m4f"): (185_000, 10_200, 7_830),
    ("f32", "rv32imc"): (6_110_000, 382_000, 14_540),
    ("f32", "rv32imafc"): (215_000, 11_400, 8_100),
    ("int8", "cortex-m4f"): (262_000, 15_000, 5_910),
    ("int8", "rv32imc"): (7_600_000, 473_000, 12_640),
    ("int", "cortex-m0"): (717_000, 29_900, 11_960),
    ("int", "cortex-m3"): (461_000, 17_900, 8_610),
    ("int", "cortex-m4f"): (265_000, 14_500, 6_960),
    ("int", "rv32imc"): (578_000, 23_200, 12_990),
    ("int", "rv32imafc"): (335_000, 18_300, 7_160),
}
HELD_OF_TINY = {  # the same of tiny on Cortex-M4F, flash at -Os, and fit with the whole row cache
    "int8": (22_000_000, 10_700_000, 435_000, 21_200),
    "int": (22_000_000, 10_900_000, 431_000, 21_960),
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
    """A network of micro's size and the folders of its libraries by backend."""
    model, folders = (
        random_network(),
        {backend: tmp_path_factory.mktemp(backend) for backend in BACKENDS},
    )
    for backend, folder in folders.items():
        write_library(model, folder, CodeOptions(backend, max_features=8, max_classes=3))
    return model, folders


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "target"), [case for case in HELD if case[1] in EMULATED])
def test_a_core_gives_the_networks_logits_within_its_budget(micro, backend, target):
    model, folders = micro
    measured = measure(folders[backend], target, vectors())
    costs = measured.costs
    assert relative_error(measured.logits, reference_logits(model, vectors())) < TOLERANCE[backend]
    told = budget(model.config, 20, 5, 3, backend)
    assert (costs["context_bytes"], costs["scratch_bytes"]) == (
        told.context_bytes,
        told.scratch_bytes,
    )
    assert max(costs["fit_stack"], costs["predict_stack"]) <= told.stack_bytes
    assert costs["text_bytes"] <= told.flash_bytes(has_fpu=target in WITH_FPU)
    for cost, held in zip(
        ("fit_instructions", "predict_instructions", "text_bytes"),
        HELD[backend, target],
        strict=True,
    ):
        assert 0 < costs[cost] <= 1.1 * held, f"{cost} is {costs[cost]:,}, held at {held:,}"
    if backend == "int":
        on_host = measure(folders["int"], "host", vectors()).logits
        np.testing.assert_array_equal(
            measured.logits.view(np.uint32), on_host.view(np.uint32)
        )  # to the bit, on every core


@pytest.mark.slow
@pytest.mark.parametrize("target", [name for name in EMULATED if name == "cortex-m0"])
def test_a_board_that_is_too_small_is_told_by_how_much(target, tmp_path):
    write_library(random_network(n_layers=5), tmp_path, CodeOptions(max_features=60, max_classes=3))
    x = np.random.default_rng(0).normal(size=(8, 60)).astype(np.float32)
    with pytest.raises(ValueError, match=r"the board has \d+ bytes of ram too few"):
        measure(tmp_path, target, Vectors(x[:6], np.arange(6, dtype=np.int32) % 3, x[6:], 3))


@pytest.mark.slow
@pytest.mark.parametrize("backend", HELD_OF_TINY)
@pytest.mark.parametrize("target", [name for name in EMULATED if name == "cortex-m4f"])
def test_tiny_fits_and_predicts_within_its_budget(tmp_path, target, backend):
    write_library(
        checkpoint.load("tiny").model, tmp_path, CodeOptions(backend, max_features=8, max_classes=3)
    )
    quick, cached = (
        measure(tmp_path, target, vectors()).costs,
        measure(tmp_path, target, vectors(cached_rows=20)).costs,
    )
    small = measure(tmp_path, target, vectors(), ("-Os",)).costs
    found = (
        quick["fit_instructions"],
        cached["fit_instructions"],
        quick["predict_instructions"],
        small["text_bytes"],
    )
    for cost, held in zip(found, HELD_OF_TINY[backend], strict=True):
        assert 0 < cost <= 1.1 * held, f"{found} for {HELD_OF_TINY[backend]}"
    assert small["text_bytes"] <= 22 * 1024
    assert small["context_bytes"] + small["scratch_bytes"] <= 8 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["f32", "int8", "int"])
def test_sanitizers_find_nothing(tmp_path, backend):
    model = random_network(n_layers=2, separate_query_weights=True)
    write_library(model, tmp_path, CodeOptions(backend, max_features=6, max_classes=4))
    error = relative_error(
        measure(tmp_path, "host", vectors(), tuple(SANITIZERS)).logits,
        reference_logits(model, vectors()),
    )
    assert error < TOLERANCE[backend]


def test_an_unknown_target_lists_the_choices():
    with pytest.raises(ValueError, match="host, cortex-m0"):
        find_target("z80")


def test_the_library_compiles_under_strict_flags():
    assert {"-std=c99", "-Wconversion", "-Wdouble-promotion", "-Werror"} <= set(STRICT)
