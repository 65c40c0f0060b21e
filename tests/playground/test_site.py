"""The page that is shipped: whole, made from these sources, small, and with the figures of the
budget."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from openpfn import checkpoint
from openpfn.export.budget import budget
from openpfn.export.options import BACKENDS
from openpfn.playground.modules import MODULES, MOST_FEATURES, sources_hash
from openpfn.playground.site import SITE
from openpfn.playground.site_files import RECORD, SAMPLES, sha256

BUILD = "Build the page again: make playground"
LARGER = {"nano.wasm", "nano-numbers.wasm"}
"""Networks that a person asks for; the page works without."""
MOST_BYTES = 300_000


def record() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads((SITE / RECORD).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in MODULES if name != "tiny-int"])
def test_a_module_is_compiled_from_these_sources(name):
    assert record()["modules"][name]["sources"] == sources_hash(MODULES[name]()), BUILD


@pytest.mark.slow
def test_the_module_of_integers_is_compiled_from_these_sources():
    sources = MODULES["tiny-int"]()  # its exponents are calibrated, which takes seconds
    assert record()["modules"]["tiny-int"]["sources"] == sources_hash(sources), BUILD


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_the_one_that_was_recorded(name):
    module = (SITE / f"{name}.wasm").read_bytes()
    assert module.startswith(b"\0asm")
    assert record()["modules"][name]["module"] == sha256(module)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_the_table_of_scikit_learn(name):
    assert (SITE / "samples" / f"{name}.csv").read_text(encoding="utf-8") == SAMPLES[name](), BUILD


def test_every_file_that_the_page_names_is_there():
    page = (SITE / "index.html").read_text(encoding="utf-8")
    script = "".join((SITE / name).read_text(encoding="utf-8") for name in ("page.js", "worker.js"))
    named = set(re.findall(r'(?:src|href)="\./([^"]+)"', page))
    named |= set(re.findall(r'"(\w+\.json)"', script)) | set(re.findall(r"worker\.js", script))
    named |= {f"samples/{name}" for name in re.findall(r'file: ?"([\w.]+)"', script)}
    named |= {f"{name}.wasm" for name in re.findall(r'"((?:tiny|nano)[\w-]*)"', script)}
    shipped = {str(path.relative_to(SITE)) for path in SITE.rglob("*") if path.is_file()}
    assert named == shipped - {"index.html", RECORD}


def test_the_page_names_no_other_place():
    for path in SITE.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            places = re.findall(r"https?://[\w.]+", path.read_text(encoding="utf-8"))
            assert set(places) <= {"http://www.w3.org"}, path.name  # the name of SVG's elements


def test_the_page_is_small():
    files = [path for path in SITE.rglob("*") if path.is_file() and path.name not in LARGER]
    n_bytes = sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)
    assert n_bytes <= MOST_BYTES


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("features", "classes"), [(1, 2), (4, 3), (MOST_FEATURES, 10)])
def test_the_figures_of_a_chip_are_those_of_the_command(backend, features, classes):
    figures = json.loads((SITE / "budgets.json").read_text(encoding="utf-8"))
    config = checkpoint.load("tiny").model.config
    needed = budget(config, 50, features, classes, backend)
    of = figures["backends"][backend]
    fit, cached, predict = figures["operations"][features - 1]
    assert of["weights"][classes - 2] == needed.weight_bytes
    assert of["context"][classes - 2][features - 1] == needed.context_bytes
    assert of["scratch"][classes - 2][features - 1] == needed.scratch_bytes
    assert of["stack"][classes - 2] == needed.stack_bytes
    assert (50 * fit, 50 * cached, predict) == (
        needed.fit_operations,
        needed.cached_fit_operations,
        needed.predict_operations,
    )
