"""What the README, the documentation and the docstrings show works as it is written."""

from __future__ import annotations

import doctest
import importlib
import pydoc
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from openpfn import cli

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    path
    for path in sorted((SOURCE / "openpfn").rglob("*.py"))
    if re.search(r">>> (?!.*SKIP)", path.read_text(encoding="utf-8"))
]


SLOW = (
    "adapting.md",
    "benchmark.md",
    "formats.md",
    "inspecting.md",
    "interpretability.md",
    "predicting.md",
    "priors.md",
    "quickstart.md",
    "sequence-models.md",
    "splits.md",
    "tracking.md",
    "without-target.md",
)
"""Pages whose examples take seconds: they start processes or train."""


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced code blocks of a page in these languages, indented ones included."""
    fence = re.compile(
        rf"^(?P<indent> *)```(?:{'|'.join(languages)})[^\n]*\n(?P<code>.*?)^(?P=indent)```",
        re.MULTILINE | re.DOTALL,
    )
    found = fence.finditer(page.read_text(encoding="utf-8"))
    return [re.sub(f"^{block['indent']}", "", block["code"], flags=re.MULTILINE) for block in found]


def shell_commands(page: Path) -> list[list[str]]:
    """The words of each command in the shell blocks of a page; comments left out, continued lines
    joined."""
    lines = "\n".join(blocks(page, "bash", "sh", "console")).replace("\\\n", " ").splitlines()
    return [
        words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))
    ]


COMMANDS = sorted(
    {tuple(words[1:]) for page in PAGES for words in shell_commands(page) if words[0] == "openpfn"}
)
TARGETS = sorted(
    {words[1] for page in PAGES for words in shell_commands(page) if words[0] == "make"}
)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in SLOW else ())
        for page in PAGES
        if blocks(page, "python")
    ],
)
def test_the_python_examples_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page, "python"), start=1):
        exec(compile(code, f"{page.name}, Python example {number}", "exec"), namespace)


def test_the_readme_has_an_example():
    assert blocks(README, "python")
    assert {"demo", "test"} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_that_is_shown_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_that_is_shown_exists_with_its_options(words):
    name, *arguments = words
    if name.startswith("--"):
        assert cli.main([name]) == 0
        return
    assert name in cli.commands()
    has_subcommands = name in (
        "beliefs",
        "benchmark",
        "corpus",
        "export",
        "plot",
        "priors",
        "sweep",
    )
    subcommand = (
        arguments[:1] if has_subcommands and arguments and not arguments[0].startswith("-") else []
    )
    shown = subprocess.run(
        [sys.executable, "-m", "openpfn", name, *subcommand, "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": ""},
        check=True,
    ).stdout
    for option in (word.partition("=")[0] for word in arguments if word.startswith("--")):
        assert re.search(rf"{re.escape(option.replace('_', '-'))}\b", shown), (
            f"openpfn {name} has no option {option}"
        )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_examples_in_docstrings_give_what_they_show(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    )
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        # the pages of examples are made out of the scripts when the documentation is built
        target = (
            ROOT / "examples" / "README.md" if link == "examples/index.md" else page.parent / link
        )
        assert link.startswith("http") or target.exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            name
            for page in PAGES
            for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        }
    ),
)
def test_every_name_that_the_reference_shows_exists(name):
    assert pydoc.locate(name) is not None
