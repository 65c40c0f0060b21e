"""What is told before compiling is what the compiler finds."""

from __future__ import annotations

import itertools

import pytest
from export.c_library import CLibrary, random_network
from export.test_freeze import table, vectors_of

from openpfn.configs.presets import preset
from openpfn.export.budget import (
    CHIPS,
    CODE_BYTES,
    PREDICT_CODE_BYTES,
    all_backends,
    budget,
    shortages,
)
from openpfn.export.c_code import write_library
from openpfn.export.freeze import write_fitted
from openpfn.export.network.quantize import QuantisedMatrix
from openpfn.export.network.weights import gather, quantised
from openpfn.export.options import BACKENDS, CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.targets import TARGETS


def stored_bytes(weights):
    """Bytes of all that the C structs hold."""
    if isinstance(weights, dict):
        return sum(map(stored_bytes, weights.values()))
    if isinstance(weights, list):
        return sum(map(stored_bytes, weights))
    return (
        weights.weight.nbytes + weights.scale.nbytes
        if isinstance(weights, QuantisedMatrix)
        else weights.nbytes
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"d_model": 6, "n_layers": 3, "separate_query_weights": True},
        {"n_layers": 2, "n_loops": 2},
    ],
    ids=str,
)
def test_sizes_of_integers_are_those_of_the_compiled_library(tmp_path, changes):
    model = random_network(**changes)
    library = CLibrary(model, tmp_path, CodeOptions("int", max_features=5, max_classes=3), "-O0")
    told = budget(model.config, 50, 5, 3, "int")
    assert (told.context_bytes, told.scratch_bytes) == (library.n_context, library.n_scratch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_layers": 3, "separate_query_weights": True},
        {"attention_type": "ridge", "n_layers": 2},
        {"n_layers": 2, "n_loops": 2},
    ],
    ids=str,
)
def test_sizes_are_those_of_the_compiled_library(tmp_path, changes):
    model = random_network(**changes)
    library = CLibrary(model, tmp_path, CodeOptions("f32", max_features=5, max_classes=3), "-O0")
    told = budget(model.config, 50, 5, 3, "f32")
    assert (told.context_bytes, told.scratch_bytes) == (library.n_context, library.n_scratch)
    weights = gather(model, 3)
    assert told.weight_bytes == stored_bytes(weights)
    assert budget(model.config, 50, 5, 3, "int8").weight_bytes == stored_bytes(quantised(weights))


def test_memory_does_not_grow_with_rows_and_work_grows_in_proportion():
    few, many = (budget(preset("tiny"), n, 5, 3, "f32") for n in (50, 5000))
    assert few.ram_bytes == many.ram_bytes
    assert many.fit_operations == 100 * few.fit_operations
    assert many.predict_operations == few.predict_operations
    assert few.cached_fit_operations < few.fit_operations


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_is_laid_out_for_the_maxima_and_work_goes_with_the_table(tmp_path, backend):
    model = random_network(n_layers=2)
    library = CLibrary(model, tmp_path, CodeOptions(backend, max_features=6, max_classes=4), "-O0")
    told, least = (budget(model.config, 50, 5, 3, backend, *maxima) for maxima in ((6, 4), ()))
    assert (told.context_bytes, told.scratch_bytes) == (library.n_context, library.n_scratch)
    assert told.weight_bytes > least.weight_bytes
    assert (told.fit_operations, told.cache_bytes, told.row_bytes) == (
        least.fit_operations,
        least.cache_bytes,
        least.row_bytes,
    )


QUICK = [("cortex-m4f", "int8", "linear", True), ("rv32imc", "int", "linear", False)]
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product(
        ("cortex-m4f", "rv32imc"), BACKENDS, ("linear", "ridge"), (False, True)
    )
    if TARGETS[case[0]].missing() is None and case[1:3] != ("int", "ridge")
]


@pytest.mark.slow
@pytest.mark.parametrize(("core", "backend", "attention", "frozen"), CASES)
def test_what_is_told_holds_on_a_core(tmp_path, core, backend, attention, frozen):
    """Memory exactly; flash and stack at most, and not by far; instructions within a factor of
    2."""
    model = random_network(n_layers=2, separate_query_weights=True, attention_type=attention)
    has_fpu = core == "cortex-m4f"
    write_library(model, tmp_path, CodeOptions(backend, max_features=4, max_classes=3))
    write_fitted(tmp_path, table())
    measured = measure(tmp_path, core, vectors_of(table()), frozen=frozen)
    told, costs = budget(model.config, 30, 4, 3, backend, frozen=frozen), measured.costs
    assert measured.ram_bytes == told.ram_bytes - told.stack_bytes
    assert costs["text_bytes"] <= told.flash_bytes(has_fpu) <= costs["text_bytes"] + 5 * 1024
    assert max(costs["fit_stack"], costs["predict_stack"]) <= told.stack_bytes
    assert (
        0.5
        < costs["predict_instructions"] / told.instructions(told.predict_operations, has_fpu)
        < 2
    )
    if frozen:
        assert costs["fit_instructions"] < 200, "a tick or two of the counter"
    else:
        assert 0.5 < costs["fit_instructions"] / told.instructions(told.fit_operations, has_fpu) < 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 5, 3), "rows is 0"),
        ((50, 0, 3), "features is 0"),
        ((50, 5, 0), "classes is 0"),
        ((50, 9, 3, 8), "features is 9, must lie between 1 and 8"),
        ((50, 5, 4, 8, 3), "classes is 4, must lie between 1 and 3"),
        ((50, 300, 3), "max_features is 300"),
        ((50, 5, 11), "at most 10 classes"),
    ],
    ids=str,
)
def test_tables_that_cannot_be_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        all_backends(preset("tiny"), *sizes)


def test_a_frozen_context_moves_from_memory_to_flash():
    fitted, frozen = (
        budget(preset("tiny"), 50, 5, 3, "f32", frozen=which) for which in (False, True)
    )
    assert fitted.ram_bytes - frozen.ram_bytes == fitted.context_bytes
    code = PREDICT_CODE_BYTES["soft"] - CODE_BYTES["soft"]
    assert (
        frozen.flash_bytes(has_fpu=False) - fitted.flash_bytes(has_fpu=False)
        == fitted.context_bytes + code
    )
    assert code < 0


def test_a_chip_that_is_too_small_is_told_what_it_lacks():
    needed = all_backends(preset("tiny"), 50, 5, 3)
    assert "flash" in shortages(needed["f32"], CHIPS["stm32f030f4"])[0]
    assert "RAM" in shortages(needed["f32"], CHIPS["stm32f030f4"])[1]
    assert not shortages(needed["int8"], CHIPS["esp32-wroom"])
