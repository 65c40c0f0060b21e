"""Draw new rows like those of a table, column by column, from what a network believes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openpfn.cli._tables import Report, check_table_output, records, require_out


@dataclass(frozen=True)
class GenerateOptions:
    """Draw new rows like those of a table: the first column from what the network believes of it,
    the second given the first, and so on. Categories and texts are drawn from those of the table.
    """

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]
    """The table: CSV or TSV (as they are, or .gz, .bz2, .xz, .zip), parquet, Excel or ARFF."""
    rows: int
    """Number of new rows."""
    out: Path | None = None
    """Where to write them, in the format that the name says. Needed unless --json is given."""
    force: bool = False
    """Overwrite the file at --out if there is one."""
    json: bool = False
    """Print one JSON object and nothing else; it holds the rows where there is no --out."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_estimators: int = 2
    """Views of the table whose answers are averaged, per column."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides the rows."""


def main(argv: list[str]) -> int:
    """Read the table, draw the rows, write the file."""
    options = tyro.cli(GenerateOptions, args=argv, prog="openpfn generate")
    require_out(options.out, options.json)
    if options.out is not None:
        check_table_output(options.out, [options.table], options.force)
    from openpfn.device import pick_device
    from openpfn.estimators.unsupervised.generation import sample_rows
    from openpfn.tables.load import read_table
    from openpfn.tables.write_file import write_table

    pick_device(options.device)
    report = Report(options.json)
    table = read_table(options.table)
    drawn = sample_rows(
        table,
        options.rows,
        checkpoint=options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
    )
    report.facts |= {"n_context": len(table), "n_rows": len(drawn)}
    if options.out is None:
        report.facts["rows"] = records(drawn)
    else:
        write_table(options.out, drawn)
        report.tell(
            f"{len(drawn)} rows like the {len(table)} of {options.table} are in {options.out}",
            out=str(options.out),
        )
    report.finish()
    return 0
