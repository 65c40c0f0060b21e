"""Fill the missing cells of a table with what a network makes of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openpfn.cli._tables import Report, check_table_output, read_context, records, require_out


@dataclass(frozen=True)
class ImputeOptions:
    """Fill the missing cells of a table: numbers with their mean, categories with the most probable
    one, given all other cells of the row. Cells that are there are written as they are read."""

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]
    """The table: CSV or TSV (as they are, or .gz, .bz2, .xz, .zip), parquet, Excel or ARFF."""
    out: Path | None = None
    """Where to write the filled table, in the format that the name says. Needed unless --json is
    given."""
    context: Path | None = None
    """Another table of the same columns, whose rows are learnt from; TABLE itself by default."""
    sample: bool = False
    """Draw from what is believed, in place of means and most probable categories."""
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
    """Decides the views, and what is drawn."""


def main(argv: list[str]) -> int:
    """Read the table, fill it, write the file."""
    options = tyro.cli(ImputeOptions, args=argv, prog="openpfn impute")
    require_out(options.out, options.json)
    inputs = [options.table, *([options.context] if options.context else [])]
    if options.out is not None:
        check_table_output(options.out, inputs, options.force)
    from openpfn.device import pick_device
    from openpfn.estimators.unsupervised.imputer import PFNImputer
    from openpfn.tables.write_file import write_table

    pick_device(options.device)
    report = Report(options.json)
    table, context = read_context(options.table, options.context)
    imputer = PFNImputer(
        options.checkpoint,
        sample=options.sample,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
    ).fit(context)
    filled = imputer.transform(table)
    n_filled = {}
    for name, variable in zip(table.columns, imputer.conditionals_.variables, strict=True):
        before, after = (int(variable.missing(t[name]).sum()) for t in (table, filled))
        n_filled[name] = before - after
        if before:
            rest = f", {after} stay missing" if after else ""
            report.tell(f"  {variable.column}: {before - after} filled{rest}")
    total = sum(n_filled.values())
    report.tell(
        f"{total} cells of {len(table)} rows filled, from {len(context)} rows",
        n_rows=len(table),
        n_context=len(context),
        filled=n_filled,
    )
    if options.out is None:
        report.facts["rows"] = records(filled)
    else:
        write_table(options.out, filled)
        report.tell(f"the filled table is in {options.out}", out=str(options.out))
    report.finish()
    return 0
