"""The results of `openpfn benchmark beliefs` as a table in the terminal and as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from openpfn.benchmark.beliefs.config import BeliefsConfig
from openpfn.benchmark.page import console, markdown, terminal
from openpfn.benchmark.record import ASIDE, in_one_sentence
from openpfn.files import write_whole

HEADINGS = ("what", "measured", "bar", "reached", "more")
INTRODUCTION = """# Predictive resampling, measured

{description}.

```console
$ {command}
```

Ratios are of processor times of one thread; their sides take turns.
"""


def show(results: Mapping[str, Any]) -> None:
    """Print the results as a table."""
    screen = console(160)
    screen.print(in_one_sentence(results), style="dim")
    screen.print(terminal([HEADINGS, *map(line, results["rows"])]))


def write_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as Markdown to `path`."""
    introduction = INTRODUCTION.format(
        description=in_one_sentence(results), command=command(results["config"], path)
    )
    write_whole(path, "\n".join([introduction, markdown([HEADINGS, *map(line, results["rows"])])]))


def line(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row's cells."""
    reached = "yes" if row["reached"] else "no"
    return row["what"], amount(row, row["value"]), bar(row), reached, row["more"]


def amount(row: Mapping[str, Any], value: float) -> str:
    """A value in the words of its unit."""
    return f"{value:.1f}×" if row["unit"] == "times faster" else f"{value:.1%}"


def bar(row: Mapping[str, Any]) -> str:
    """What was to be reached."""
    if isinstance(row["bar"], Sequence):
        return " to ".join(amount(row, end) for end in row["bar"])
    return f"{'≥' if row['better'] == 'higher' else '≤'} {amount(row, row['bar'])}"


def one_line(row: Mapping[str, Any]) -> str:
    """A row as it is told when it is done."""
    return (
        f"{row['name']}: {amount(row, row['value'])},"
        f" {'reached' if row['reached'] else 'not reached'} ({row['more']})"
    )


def command(config: Mapping[str, Any], page: Path) -> str:
    """The command that gives these results again: every option that differs from its default."""
    usual = {field.name: field.default for field in fields(BeliefsConfig)}
    words = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in config.items()
        if name not in ASIDE and value != usual[name]
    ]
    return " ".join(["openpfn benchmark beliefs", *words, f"--page {page}"])
