"""Score how improbable each row of a table is, given the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openpfn.cli._tables import Report, check_table_output, read_context, records, require_out

MOST_SHOWN = 5
"""Rows that are printed, the least probable first."""


@dataclass(frozen=True)
class OutlierOptions:
    """Score how improbable each row of a table is, given the others: its log-density, by a chain of
    columns each predicted from those before, averaged over random orders."""

    table: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]
    """The table: CSV or TSV (as they are, or .gz, .bz2, .xz, .zip), parquet, Excel or ARFF."""
    out: Path | None = None
    """Where to write score and outlier (true or false) for each row, in the format that the name
    says. Needed unless --json is given."""
    context: Path | None = None
    """Another table of the same columns, whose rows are usual; TABLE itself by default."""
    contamination: float | None = None
    """Share of the context's rows that count as outliers; by default those far below the
    quartiles of the scores (Tukey's fence)."""
    force: bool = False
    """Overwrite the file at --out if there is one."""
    json: bool = False
    """Print one JSON object and nothing else; it holds the scores where there is no --out."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_orders: int = 4
    """Random orders of the columns; more make steadier scores."""
    n_estimators: int = 1
    """Views of the table whose answers are averaged, per column and order."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides orders and views."""


def main(argv: list[str]) -> int:
    """Read the table, score it, write the file."""
    options = tyro.cli(OutlierOptions, args=argv, prog="openpfn outliers")
    require_out(options.out, options.json)
    inputs = [options.table, *([options.context] if options.context else [])]
    if options.out is not None:
        check_table_output(options.out, inputs, options.force)
    import numpy as np
    import pandas as pd

    from openpfn.device import pick_device
    from openpfn.estimators.unsupervised.outliers import PFNOutlierDetector
    from openpfn.tables.write_file import write_table

    pick_device(options.device)
    report = Report(options.json)
    table, context = read_context(options.table, options.context)
    detector = PFNOutlierDetector(
        options.checkpoint,
        contamination="auto" if options.contamination is None else options.contamination,
        n_orders=options.n_orders,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
    ).fit(context)
    scores = detector.score_samples(table)
    scored = pd.DataFrame({"score": scores, "outlier": scores < detector.offset_})
    n_outliers = int(scored["outlier"].sum())
    report.tell(
        f"{n_outliers} of {len(table)} rows are outliers: their score is below"
        f" {detector.offset_:.4g} nats. The least probable rows (counted from 1):",
        n_rows=len(table),
        n_context=len(context),
        n_outliers=n_outliers,
        offset=detector.offset_,
    )
    for i in np.argsort(scores, kind="stable")[:MOST_SHOWN]:
        report.tell(f"  row {i + 1}: {scores[i]:.4g}")
    if options.out is None:
        report.facts["rows"] = records(scored)
    else:
        write_table(options.out, scored)
        report.tell(f"{len(scored)} scores in {options.out}", out=str(options.out))
    report.finish()
    return 0
