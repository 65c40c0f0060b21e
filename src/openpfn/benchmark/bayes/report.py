"""The results of `openpfn benchmark bayes` as tables in the terminal and as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.benchmark.page import console, markdown, terminal
from openpfn.benchmark.record import ASIDE, in_one_sentence
from openpfn.files import write_whole

GAP_HEADINGS = (
    "prior",
    "gap, nats a point",
    "of it buckets",
    "bar",
    "reached",
    "processor minutes",
    "steps",
    "parameters",
    "drawing",
)
SPEED_HEADINGS = ("what", "measured", "bar", "reached", "more")


def show(results: Mapping[str, Any]) -> None:
    """Print the results as tables."""
    screen = console(160)
    screen.print(in_one_sentence(results), style="dim")
    for headings, lines in tables(results["rows"]):
        screen.print(terminal([headings, *lines]))


def write_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as Markdown to `path`."""
    parts = [
        INTRODUCTION.format(
            description=in_one_sentence(results), command=command(results["config"])
        )
    ]
    for headings, lines in tables(results["rows"]):
        if headings == GAP_HEADINGS:
            parts.append("## Against the exact posterior predictive\n\n" + GAPS)
        else:
            parts.append("## Speed, and the order of a set\n\n" + SPEED)
        parts.append(markdown([headings, *lines]))
    curves = [row for row in results["rows"] if row["kind"] == "gap"]
    if curves:
        parts.append(
            "## By the number of rows before\n\nThe same gap, in thousandths of a nat, for rows"
            " that have so many before them.\n"
        )
        parts.append(by_row_table(curves))
    write_whole(path, "\n".join(parts))


def tables(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """Headings and lines of the gaps, and of everything else; what was not measured is left out."""
    gaps = [gap_line(row) for row in rows if row["kind"] == "gap"]
    others = [speed_line(row) for row in rows if row["kind"] != "gap"]
    return [
        (headings, lines)
        for headings, lines in ((GAP_HEADINGS, gaps), (SPEED_HEADINGS, others))
        if lines
    ]


def gap_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["what"],
        f"{row['value']:.4f} ± {row['standard_error']:.4f}",
        f"{row['floor']:.4f}",
        f"≤ {row['bar']:g}",
        "yes" if row["reached"] else "no",
        f"{row['processor_minutes']:.1f} of {row['budget']:g}",
        f"{row['steps']:,}",
        f"{row['parameters']:,}",
        f"{row['drawing_share']:.1%}",
    )


def speed_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["what"],
        amount(row, row["value"]),
        bar(row),
        "yes" if row["reached"] else "no",
        more(row),
    )


def amount(row: Mapping[str, Any], value: float) -> str:
    """A value in the words of its unit."""
    if row["unit"] == "times faster":
        return f"{value:.1f}×"
    return f"{value:.1%}" if row["unit"] == "share" else f"{value:.1e}"


def bar(row: Mapping[str, Any]) -> str:
    sign = {"times faster": "≥", "share": "<"}.get(row["unit"], "≤")
    return (
        f"{sign} {row['bar']:g}×"
        if row["unit"] == "times faster"
        else f"{sign} {amount(row, row['bar'])}"
    )


def more(row: Mapping[str, Any]) -> str:
    """Return further facts of a row in words."""
    if "milliseconds" in row:
        return "; ".join(f"{name} {value:.1f} ms" for name, value in row["milliseconds"].items())
    if "logits_apart" in row:
        times = "; ".join(f"{name} {value:.2f} s" for name, value in row["seconds"].items())
        return (
            f"{times}; {row['against_two_streams']:.1f}× against two streams; logits apart"
            f" {row['logits_apart']:.0e}"
        )
    return f"in a sequence {row['autoregressive']:.2f}" if "autoregressive" in row else ""


def by_row_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Gaps after 0, 1, 2, 4, 8, … rows."""
    longest = max(len(row["by_row"]) for row in rows)
    places = [0, *(2**k for k in range(longest.bit_length()) if 2**k < longest - 1), longest - 1]
    lines = [["prior", *map(str, places)]]
    for row in rows:
        gaps = row["by_row"]
        lines.append(
            [row["what"], *(f"{1e3 * gaps[i]:.1f}" if i < len(gaps) else "" for i in places)]
        )
    return markdown(lines)


def one_line(row: Mapping[str, Any]) -> str:
    """A row as it is told when it is done."""
    line = gap_line(row) if row["kind"] == "gap" else speed_line(row)
    return f"{row['name']}: {line[1]}, {'reached' if row['reached'] else 'not reached'}"


def command(config: Mapping[str, Any]) -> str:
    """The command that gives these results again: every option that differs from its default."""
    usual = {
        field.name: getattr(BayesConfig(head=config["head"]), field.name)
        for field in fields(BayesConfig)
    }
    words = ["openpfn benchmark bayes"]
    for name, value in config.items():
        if name in ASIDE or value in (
            usual[name],
            list(usual[name]) if isinstance(usual[name], tuple) else usual[name],
        ):
            if name == "head" and value != "mixture":
                words.append(f"--head {value}")
            continue
        words.append(
            f"--{name.replace('_', '-')}"
            f" {' '.join(map(str, value)) if isinstance(value, list) else value}"
        )
    return " ".join([*words, "--page docs/bayes.md"])


INTRODUCTION = """# Against exact posteriors

{description}.

Times are processor times of one thread, so other work on the machine falls on them little. The
sides of a ratio take turns.

```console
$ {command}
```
"""
GAPS = """A network is trained for the minutes told, tasks drawn included, and compared with the
truth on sequences that it has not seen: the exact log-probability of each row given those before
it, less the network's, averaged over all rows. What the rounding of its buckets costs at best is
told apart, and included; a mixture of normal distributions has no buckets.
"""
SPEED = """Without a cache, pfn_transformers sends all 2 N tokens through the mask anew for each
row; "two streams" is the shorter way of our own `forward`, also anew for each row. The total
variation of a set is rounding.
"""
