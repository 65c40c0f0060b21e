"""Any bytes into fit, predict and context_load, under the address and undefined-behaviour
sanitizers."""

from __future__ import annotations

import re
import subprocess
from typing import cast

import pytest
from export.c_library import random_network
from published_networks import random_weights

from openpfn.checkpoint import published
from openpfn.export.c_code import write_library
from openpfn.export.options import Backend, CodeOptions
from openpfn.export.verification.measure import program
from openpfn.export.verification.targets import SANITIZERS, find_target

NETWORKS = {
    "int8": lambda: random_network(n_layers=2, separate_query_weights=True),
    "int": lambda: random_network(n_layers=2, separate_query_weights=True),
    "f32": lambda: random_network(n_layers=2, attention_type="ridge"),
    "f32 published": lambda: published.convert(random_weights("tinypfn"), "tinypfn", n_heads=2),
}
"""Networks of two layers by backend, with each attention between rows, and an imported one."""


def fuzz(folder, case: str, n_inputs: int) -> str:
    """Compile the fuzz target and run it; what it prints."""
    backend = cast(Backend, case.partition(" ")[0])
    write_library(NETWORKS[case](), folder, CodeOptions(backend, max_features=4, max_classes=3))
    (folder / "fuzz.c").write_text(program("fuzz.c"))
    compiler = find_target("host").compiler
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [compiler, *strict, *SANITIZERS, "pfn.c", "fuzz.c", "-lm", "-o", "fuzz"],
        cwd=folder,
        check=True,
    )
    done = subprocess.run(["./fuzz", str(n_inputs)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("case", NETWORKS)
def test_no_input_has_a_finding(tmp_path, case):
    counts = [int(word) for word in re.findall(r"\d+", fuzz(tmp_path, case, 20_000))]
    assert counts[0] == 20_000
    assert counts[1] > 5_000, "most inputs are refused before anything happens"
    least = (
        500 if case == "int" else 1_000
    )  # integers are checked one by one, floats may be anything
    assert counts[2] > least, "hardly any changed context gets past its checks"


@pytest.mark.long
@pytest.mark.parametrize("case", NETWORKS)
def test_a_million_inputs_have_no_finding(tmp_path, case):
    assert "1000000 inputs" in fuzz(tmp_path, case, 1_000_000)
