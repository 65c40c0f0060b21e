"""Tables of text, their first line the headings: for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

Lines = Sequence[Sequence[str]]


def terminal(lines: Lines, title: str | None = None) -> Table:
    """The table as rich prints it, numbers to the right."""
    from rich.table import Table

    head, *body = lines
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, heading in enumerate(head):
        table.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    for line in body:
        table.add_row(*line)
    return table


def markdown(lines: Lines) -> str:
    """The table in Markdown, numbers to the right; ends with a line break."""
    head, *body = lines
    return "\n".join([_row(head), "|---|" + "---:|" * (len(head) - 1), *map(_row, body), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
