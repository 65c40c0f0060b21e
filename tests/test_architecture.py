"""The house keeps its own rules: import layers, file sizes, names, docstrings, and cheap
imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from openpfn import cli, registry
from openpfn.attention.base import RowAttention
from openpfn.heads.base import Head
from openpfn.priors.base import TaskPrior

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "src" / "openpfn").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BASES = {"attention": RowAttention, "heads": Head, "priors": TaskPrior}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
BANNED_WORDS = re.compile(
    r"\b(TODO|FIXME|NotImplementedError|xfail|importorskip)\b|type:"
    r" ignore(?!\[)|pytest\.skip|mark\.skip"
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules_loaded_by(code: str) -> set[str]:
    """The modules in memory after a fresh interpreter ran `code`."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('MODULES', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(printed.stdout.rpartition("MODULES ")[2].split())


def test_every_layer_imports_only_what_stands_below_it():
    linter = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert linter.returncode == 0, linter.stdout


def test_the_architecture_page_shows_these_layers():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"][0]
    existing = {path.stem for path in (ROOT / "src" / "openpfn").iterdir()}
    layers = [
        [name for name in re.findall(r"\w+", layer) if name in existing]
        for layer in contract["layers"]
    ]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = "cli" + page.partition("```\ncli")[2].partition("\n```")[0]
    shown = [re.split(r" {3,}", line)[0].split(" | ") for line in block.splitlines()]
    assert shown == [names for names in layers if names]


def module_name(path: Path) -> str:
    """What a file of the package is imported as."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_files(path: Path, modules: dict[str, Path]) -> set[Path]:
    """The files of the package that a file imports, at its top or within a function; what is
    imported for types alone is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found = whole & modules.keys()
            names |= found | ({node.module} if len(found) < len(whole) else set())
    return {modules[name] for name in names & modules.keys()} - {path}


def circles(edges: dict[Path, set[Path]]) -> list[str]:
    """The circles of files that import each other, as "a -> b -> a"."""
    found, done, way = [], set(), []

    def visit(path: Path) -> None:
        if path in way:
            circle = [*way[way.index(path) :], path]
            found.append(" -> ".join(map(module_name, circle)))
        elif path not in done:
            way.append(path)
            for other in sorted(edges[path]):
                visit(other)
            done.add(way.pop())

    for path in edges:
        visit(path)
    return found


def test_files_import_each_other_in_one_direction():
    modules = {module_name(path): path for path in SOURCE}
    assert circles({path: imported_files(path, modules) for path in SOURCE}) == []


def test_a_circle_of_files_is_found_wherever_it_imports(tmp_path):
    a, b, c = (tmp_path / "src" / f"{name}.py" for name in "abc")
    a.parent.mkdir()
    a.write_text("import b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c\n")
    b.write_text("def late():\n    from c import thing\n")
    c.write_text("def later():\n    import b\n")
    modules = {path.stem: path for path in (a, b, c)}
    edges = {path: imported_files(path, modules) for path in (a, b, c)}
    assert edges == {a: {b}, b: {c}, c: {b}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ROOT", tmp_path)
        assert circles(edges) == ["b -> c -> b"]


def test_every_file_is_short():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in SOURCE + TESTS}
    assert [relative(path) for path, lines in lengths.items() if lines > 500] == []


def test_every_file_opens_with_a_sentence_that_says_what_it_gives():
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCE + TESTS}
    assert [relative(path) for path, text in texts.items() if not text.startswith('"""')] == []


def test_names_say_what_is_inside():
    words = {path: set(re.split(r"[/_.]", relative(path))) for path in SOURCE + TESTS}
    assert [relative(path) for path, found in words.items() if found & BANNED_NAMES] == []


def test_nothing_is_left_undone_or_silenced():
    texts = {
        path: path.read_text(encoding="utf-8") for path in {*SOURCE, *TESTS} - {Path(__file__)}
    }
    assert [relative(path) for path, text in texts.items() if BANNED_WORDS.search(text)] == []


@pytest.mark.parametrize("folder", BASES)
def test_the_registry_finds_every_file(folder):
    files = {path.stem for path in (ROOT / "src" / "openpfn" / folder).glob("*.py")} - {
        "__init__",
        "__main__",
        "base",
    }
    assert set(registry.names(folder)) == files
    for name in files:
        found = registry.find(folder, name, BASES[folder])
        assert issubclass(found, BASES[folder])
        for alias in found.aliases:
            assert registry.find(folder, alias.upper(), BASES[folder]) is found


@pytest.mark.parametrize("folder", BASES)
def test_an_unknown_name_lists_the_choices(folder):
    with pytest.raises(ValueError, match=", ".join(registry.names(folder))):
        registry.find(folder, "no-such-name", BASES[folder])


def test_importing_openpfn_loads_no_torch():
    assert not modules_loaded_by("import openpfn; dir(openpfn)") & {
        "torch",
        "numpy",
        "sklearn",
        "pandas",
    }


def test_the_help_loads_no_torch():
    assert not modules_loaded_by("from openpfn.cli import main; main(['--help'])") & {
        "torch",
        "numpy",
        "sklearn",
        "pandas",
    }


@pytest.mark.parametrize("command", cli.commands())
def test_the_help_of_a_command_loads_no_torch(command):
    code = (
        "import contextlib\nfrom openpfn.cli import main\nwith contextlib.suppress(SystemExit):"
        f" main([{command!r}, '--help'])"
    )
    loaded = modules_loaded_by(code)
    assert not loaded & {"torch", "sklearn", "pandas"}
