"""Pages and tables of results: self-contained HTML in light and dark that loads nothing, tables of
text for Markdown, and tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TextTable = Sequence[Sequence[str]]
"""The lines of a table, the headings first."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --faint: #667079; --line: #dfe3e7; --paper:
  #fcfcfb; --raised: #f2f4f5;
  --accent: #c8452f; --bar: #4a86c533 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --faint: #98a2ab; --line: #343a41; --paper: #15181b; --raised: #1f2428;
    --accent: #ff8464; --bar: #4a86c555 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em }
h2 { font-size: 1.35rem; margin: 3.2rem 0 .4rem; padding-top: 1.2rem; border-top: 1px solid
  var(--line) }
h3 { font-size: 1.05rem; margin: 2.2rem 0 .3rem }
p { margin: .5rem 0; max-width: 46rem } .faint, figcaption { color: var(--faint); font-size: .9rem }
.lede { font-size: 1.12rem } b.ours { color: var(--accent) }
.scroll { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums;
  white-space: nowrap; width: 100% }
th { text-align: right; font-weight: 600; color: var(--faint); padding: .35rem .4rem;
  border-bottom: 1px solid var(--line); vertical-align: bottom; white-space: normal }
td { text-align: right; padding: .3rem .4rem; border-bottom: 1px solid var(--line);
  vertical-align: top }
th:first-child, td:first-child { text-align: left; padding-left: .2rem }
td.words, th.words { text-align: left; white-space: normal }
tr.ours td:first-child { color: var(--accent); font-weight: 650 } td.best { font-weight: 700 }
td small { display: block; color: var(--faint); font-weight: 400; font-size: .72rem; line-height:
  1.25; white-space: pre }
td.bar { background: linear-gradient(90deg, var(--bar) var(--share), transparent var(--share)) }
td.bad { color: var(--accent) }
figure { margin: 1rem 0 } figure svg { width: 100%; height: auto; display: block; color:
  var(--ink) }
details { margin: .8rem 0 } summary { cursor: pointer; color: var(--faint); font-size: .92rem }
nav { margin: 1rem 0 0; font-size: .92rem } nav a { margin-right: 1rem } a { color: inherit;
  text-decoration-color: var(--faint) }
code { font: .85em ui-monospace, Menlo, Consolas, monospace; background: var(--raised); padding:
  .1em .3em; border-radius: 3px }
@media print { details { display: block } }
"""


@dataclass(frozen=True)
class Field:
    """One cell of a table."""

    text: str
    """Its text."""
    small: str = ""
    """Text in small print under it."""
    style: str = ""
    """best, bad, words, or nothing."""
    share: float | None = None
    """Length of a bar behind it, 0 to 1."""


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    fields: Sequence[Field]
    """Its cells."""
    is_ours: bool = False
    """True for a line that is highlighted."""


def page(title: str, subtitle: str, links: Sequence[tuple[str, str]], body: str) -> str:
    """Return the whole page. `links` are (anchor, words) of its sections; `body` is HTML."""
    nav = "".join(f'<a href="#{escape(anchor)}">{escape(words)}</a>' for anchor, words in links)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f'<body><main>\n<h1>{escape(title)}</h1>\n<p class="faint">{escape(subtitle)}</p>'
        f"<nav>{nav}</nav>\n{body}\n</main></body></html>\n"
    )


def heading(words: str, anchor: str) -> str:
    """Return the title of a section that can be linked to."""
    return f'<h2 id="{escape(anchor)}">{escape(words)}</h2>\n'


def subheading(words: str) -> str:
    """Return the title of a part of a section."""
    return f"<h3>{escape(words)}</h3>\n"


def prose(words: str, style: str = "") -> str:
    """Return a paragraph; **words** are highlighted."""
    pieces = escape(words).split("**")
    marked = "".join(
        f'<b class="ours">{piece}</b>' if i % 2 else piece for i, piece in enumerate(pieces)
    )
    return f'<p class="{style}">{marked}</p>\n' if style else f"<p>{marked}</p>\n"


def picture(svg: str, caption: str) -> str:
    """Return an inline picture with its caption."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def table(head: Sequence[str], lines: Sequence[Line]) -> str:
    """Return a table whose first column is aligned left."""
    said = [
        bool(lines) and all(line.fields[i].style == "words" for line in lines)
        for i in range(len(head))
    ]
    top = "".join(
        f"<th{' class=words' if left else ''}>{escape(words)}</th>"
        for words, left in zip(head, said, strict=True)
    )
    body = "".join(
        f"<tr{' class=ours' if line.is_ours else ''}>{''.join(map(_field, line.fields))}</tr>\n"
        for line in lines
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def folded(words: str, inner: str) -> str:
    """Return `inner` folded behind a line of `words` that opens it."""
    return f"<details><summary>{escape(words)}</summary>{inner}</details>\n"


def console(width: int) -> Console:
    """Return the terminal; it is `width` columns wide where the output goes elsewhere."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width)


def terminal(lines: TextTable, title: str | None = None) -> Table:
    """Return the table for rich to print, numbers to the right."""
    from rich.table import Table

    head, *body = lines
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, heading in enumerate(head):
        table.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    for line in body:
        table.add_row(*line)
    return table


def markdown(lines: TextTable) -> str:
    """Return the table in Markdown, numbers to the right; it ends with a line break."""
    head, *body = lines
    return "\n".join([_row(head), "|---|" + "---:|" * (len(head) - 1), *map(_row, body), ""])


def _field(field: Field) -> str:
    classes = " ".join(filter(None, [field.style, "bar" if field.share is not None else ""]))
    style = (
        "" if field.share is None else f' style="--share: {100 * min(1, max(0, field.share)):.1f}%"'
    )
    small = f"<small>{escape(field.small)}</small>" if field.small else ""
    named = f' class="{classes}"' if classes else ""
    return f"<td{named}{style}>{escape(field.text)}{small}</td>"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
