"""What commands that read and write tables share: outputs that overwrite nothing, and reports."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Report:
    """What a command tells: lines for people as they come, or all facts as one JSON object."""

    as_json: bool
    """Print nothing but the object, at the end."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts so far, by name."""

    def tell(self, line: str, **facts: Any) -> None:
        """Print `line`, and keep the facts that it states."""
        self.facts |= facts
        if not self.as_json:
            print(line)

    def finish(self) -> None:
        """Print the object, where it is asked for."""
        if self.as_json:
            print(json.dumps(_plain(self.facts), ensure_ascii=False, allow_nan=False))


def check_table_output(out: Path, inputs: Iterable[Path], force: bool) -> None:
    """Do as `check_output` does, and raise ValueError for a name that is no table's, too."""
    from openpfn.tables.write_file import check_format

    check_output(out, inputs, force)
    check_format(out)


def check_output(out: Path, inputs: Iterable[Path], force: bool, option: str = "--out") -> None:
    """Raise ValueError rather than overwrite an input, or any file without --force."""
    for source in inputs:
        if out.resolve() == source.resolve() or (
            out.exists() and source.exists() and out.samefile(source)
        ):
            raise ValueError(
                f"{option} {out} is an input file, which is never overwritten. Choose another."
            )
    if out.is_dir():
        raise ValueError(f"{option} {out} is a folder. Name a file in it.")
    if out.exists() and not force:
        raise ValueError(f"{out} exists. Choose another {option}, or overwrite it with --force.")


def require_out(out: Path | None, as_json: bool) -> None:
    """Raise ValueError where the answer would go nowhere."""
    if out is None and not as_json:
        raise ValueError(
            "there is no --out. Name the file to write, or ask for everything on standard output"
            " with --json."
        )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `table` as JSON holds them."""
    return table.to_dict("records")


def read_context(table: Path, context: Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table, and the rows that the network is shown: those of `context`, with the same
    columns in the same order, or the table's own."""
    from openpfn.tables.load import read_table, require_columns

    rows = read_table(table)
    if context is None:
        return rows, rows
    shown = read_table(context)
    require_columns(shown, list(rows.columns), context)
    return rows, shown[rows.columns]


def _plain(value: Any) -> Any:
    """Return `value` as JSON holds it: numbers that are none as null, all else as words."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else _word(value)


def _word(value: Any) -> str | None:
    text = str(value)
    return None if text in ("NaT", "<NA>") else text
