"""The stack that the compiler tells, against made-up call graphs and against emulated cores."""

from __future__ import annotations

import pytest
from export.c_library import random_network
from export.test_freeze import table, vectors_of

from openpfn.cli import main
from openpfn.export.budget import budget
from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.verification.measure import measure
from openpfn.export.verification.stack import Chain, call_graph, stack_usage
from openpfn.export.verification.targets import TARGETS

GRAPH = r"""graph: { title: "a.c"
node: { title: "fit" label: "fit\na.c:1:1\n40 bytes (static)" }
node: { title: "a.c:near" label: "near\na.c:2:1\n100 bytes (static)" }
node: { title: "a.c:far" label: "far\na.c:3:1\n30 bytes (static)" }
node: { title: "a.c:deep.part.0" label: "deep.part.0\na.c:4:1\n80 bytes (dynamic,bounded)" }
node: { title: "a.c:step" label: "step\na.c:5:1\n200 bytes (static)" }
node: { title: "other" label: "other\na.c:6:1\n900 bytes (static)" }
node: { title: "__indirect_call" label: "Indirect Call Placeholder" shape : ellipse }
node: { title: "memcpy" label: "memcpy\n<built-in>" shape : ellipse }
edge: { sourcename: "fit" targetname: "a.c:near" label: "a.c:1:2" }
edge: { sourcename: "fit" targetname: "a.c:far" label: "a.c:1:3" }
edge: { sourcename: "a.c:far" targetname: "a.c:deep.part.0" label: "a.c:3:2" }
edge: { sourcename: "a.c:far" targetname: "memcpy" label: "a.c:3:3" }
"""
POINTER = 'edge: { sourcename: "a.c:deep.part.0" targetname: "__indirect_call" label: "" }\n'


def test_the_deepest_chain_is_the_one_with_the_most_bytes():
    chain = call_graph(GRAPH).deepest("fit")
    assert chain == Chain((("fit", 40), ("a.c:far", 30), ("a.c:deep.part.0", 80)), ("memcpy",))
    assert chain.n_bytes == 150
    assert call_graph(GRAPH).deepest("a.c:step").n_bytes == 200


def test_a_pointer_may_point_at_what_nobody_calls_by_name():
    chain = call_graph(GRAPH + POINTER).deepest("fit")
    assert [name for name, _ in chain.frames][-1] == "a.c:step"
    assert chain.n_bytes == 350


CORES = [
    case
    for case in (("cortex-m4f", "f32"), ("cortex-m4f", "int8"), ("rv32imc", "int"))
    if TARGETS[case[0]].missing() is None
]


@pytest.mark.slow
@pytest.mark.parametrize(("core", "backend"), CORES)
def test_what_the_compiler_tells_bounds_what_a_core_uses(tmp_path, core, backend):
    model, vectors = random_network(n_layers=2, separate_query_weights=True), vectors_of(table())
    options = CodeOptions(backend, max_features=4, max_classes=3, prefix="flower")
    write_library(model, tmp_path, options)
    chains, used = stack_usage(tmp_path, core), measure(tmp_path, core, vectors).costs
    told = budget(model.config, 30, 4, 3, backend)
    assert chains["fit"].frames[0][0] == "flower_fit"
    assert chains["predict"].frames[0][0] == "flower_predict_proba"
    for what, chain in chains.items():
        soft_float = 0 if core == "cortex-m4f" else 64  # the compiler's own library
        assert 0.6 * chain.n_bytes < used[f"{what}_stack"] <= chain.n_bytes + soft_float
        assert chain.n_bytes <= told.stack_bytes


@pytest.mark.slow
def test_the_budget_tells_the_deepest_calls(capsys):
    assert main(["export", "budget", "tiny", "--target", "host"]) == 0
    printed = capsys.readouterr().out
    assert "stack on host" in printed
    assert printed.count("pfn_predict_proba ") == 3
    assert printed.count("> finish_cell ") >= 3


def test_an_unknown_core_is_told_before_anything_is_printed(capsys):
    assert main(["export", "budget", "tiny", "--target", "z80"]) == 2
    told = capsys.readouterr()
    assert "host, cortex-m0" in told.err
    assert told.out == ""
