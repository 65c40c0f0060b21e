"""What is told before compiling is what the compiler finds."""

from __future__ import annotations

import pytest
from export.c_library import CLibrary, random_network

from openpfn.configs.presets import preset
from openpfn.export.budget import CHIPS, all_backends, budget, shortages
from openpfn.export.c_code import CodeOptions, gather, quantised
from openpfn.export.quantize import QuantisedMatrix


def stored_bytes(weights):
    """Bytes of all that the C structs hold."""
    if isinstance(weights, dict):
        return sum(map(stored_bytes, weights.values()))
    if isinstance(weights, list):
        return sum(map(stored_bytes, weights))
    return weights.weight.nbytes + weights.scale.nbytes if isinstance(weights, QuantisedMatrix) else weights.nbytes


@pytest.mark.parametrize("changes", [{}, {"d_model": 6, "n_layers": 3, "separate_query_weights": True}], ids=str)
def test_sizes_of_integers_are_those_of_the_compiled_library(tmp_path, changes):
    model = random_network(**changes)
    library = CLibrary(model, tmp_path, CodeOptions("int", max_features=5, max_classes=3))
    told = budget(model.config, 50, 5, 3, "int")
    assert (told.context_bytes, told.scratch_bytes) == (library.n_context, library.n_scratch)


@pytest.mark.parametrize(
    "changes", [{}, {"n_layers": 3, "separate_query_weights": True}, {"attention_type": "ridge", "n_layers": 2}], ids=str
)
def test_sizes_are_those_of_the_compiled_library(tmp_path, changes):
    model = random_network(**changes)
    library = CLibrary(model, tmp_path, CodeOptions("f32", max_features=5, max_classes=3))
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


def test_a_chip_that_is_too_small_is_told_what_it_lacks():
    needed = all_backends(preset("tiny"), 50, 5, 3)
    assert "flash" in shortages(needed["f32"], CHIPS["stm32f030f4"])[0]
    assert "RAM" in shortages(needed["f32"], CHIPS["stm32f030f4"])[1]
    assert not shortages(needed["int8"], CHIPS["esp32-wroom"])
