"""Run a benchmark over tables: plan the cells, skip those already measured, measure the rest in
parallel, write each row at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from openpfn import jobs
from openpfn.benchmark.tables import results
from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.measure import Cell, identity
from openpfn.benchmark.tables.methods import missing_by_default, resolve
from openpfn.benchmark.tables.splitting import n_context
from openpfn.benchmark.tables.suites import Entry, choose, load_table
from openpfn.jobs import Failed, Workers
from openpfn.processes import WorkerDied

WORKER = "openpfn.benchmark.tables.measure:measured"
"""Function that measures a cell."""


def run(
    config: TablesConfig, console: Console | None = None, workers: Workers | None = None
) -> pd.DataFrame:
    """Measure what `config` asks for and is not yet in its results file; returns the rows of this
    run, old and new.

    `workers` do jobs of `WORKER`; without them, new ones do `config.jobs` at a time. Raises
    ValueError or FileNotFoundError for an unknown suite, table or method, before anything is
    measured.
    """
    console = console or Console(stderr=True)
    path = config.out / results.NAME
    cells = plan(config, console)
    file = results.ResultsFile(path)
    known = results.read(path)
    results.require_protocol(
        known,
        {name: value for name, value in asdict(config).items() if name in results.PROTOCOL},
        path,
    )
    done = _done(known, config.retry_failed)
    left = [cell for cell in cells if cell.key not in done]
    console.print(
        f"{len(cells)} cells, {len(cells) - len(left)} already in {path}, {len(left)} to measure",
        highlight=False,
    )
    n_failed = 0
    gpu = config.device.startswith("cuda")
    own = (
        nullcontext(workers)
        if workers is not None
        else jobs.workers(WORKER, config.jobs, config.backend, config.address, gpu=gpu)
    )
    with own as pool, progress_bars(console) as progress:
        bar = progress.add_task("measuring", total=len(left), failed="")
        for row in _measure_all(left, config, pool):
            file.append(row)
            n_failed += row["status"] != "ok"
            progress.update(
                bar,
                advance=1,
                failed=f"{n_failed} failed" if n_failed else "",
                description=f"{row['table']} {row['method']}",
            )
    wanted = {cell.key[:-1] for cell in cells}  # whatever the weights
    rows = results.read(path)
    return rows[
        [key in wanted for key in zip(*(rows[c].astype(str) for c in results.KEY), strict=True)]
    ].reset_index(drop=True)


def plan(config: TablesConfig, console: Console) -> list[Cell]:
    """All cells that `config` asks for: methods × context sizes × splits of each table, tables one
    after the other."""
    methods = resolve(config.methods)
    if "default" in config.methods and missing_by_default():
        console.print(
            f"not installed, left out: {', '.join(missing_by_default())} (pip install"
            ' "openpfn\\[bench]")',
            highlight=False,
        )
    cells, without_context = [], []
    for entry in choose(config.suite, config):
        fitting = [m for m in methods if entry.task in m.tasks]
        sizes = _sizes(config, entry)
        if not sizes or len(fitting) < 2:
            without_context.append(entry.name)
            continue
        for size in sizes:
            for number in range(config.splits):
                cells += [Cell(entry, m, _tuned(m, entry, config), size, number) for m in fitting]
    if without_context:
        console.print(
            f"no method or no context size fits: {', '.join(without_context)}", highlight=False
        )
    if not cells:
        raise ValueError(
            "no method fits any table. Give methods for the tables' task, or smaller context sizes."
        )
    return cells


def _tuned(method: Any, entry: Entry, config: TablesConfig) -> float:
    return config.tuned if method.space(entry.task) is not None else 0.0


def _sizes(config: TablesConfig, entry: Entry) -> list[str]:
    n_rows = len(load_table(config.suite, entry.name).y)
    return [
        size
        for size in dict.fromkeys(config.context_sizes)
        if n_context(size, n_rows, config.max_half) is not None
    ]


def _done(known: pd.DataFrame, retry_failed: bool) -> set[tuple[str, ...]]:
    """Keys of the cells that need no measuring."""
    known = known[~results.unfinished(known)]
    kept = known[known["status"] == "ok"] if retry_failed else known
    columns = [kept[name].fillna("").astype(str) for name in (*results.KEY, "checkpoint_sha256")]
    return set(zip(*columns, strict=True))


def _measure_all(
    cells: list[Cell], config: TablesConfig, workers: Workers
) -> Iterator[dict[str, Any]]:
    """The rows of `cells` as they are done. A cell whose process dies twice, the second time while
    no other is measured, is a failure."""
    death = {
        "status": "failed",
        "error": "its process died (out of memory, or a crash in native code)",
    }
    try:
        for (cell, _), row in workers.answers([(cell, config) for cell in cells], config.jobs):
            if isinstance(row, Failed):
                row = identity(cell, config) | death | {"error": row.reason}
            yield row or identity(cell, config) | death
    except WorkerDied as error:
        raise ValueError(
            f"{error}. Free memory or lower --jobs, then run again to go on."
        ) from error


def progress_bars(console: Console) -> Progress:
    """Return the bar of `measuring` cells, with the number that failed."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    return Progress(*columns, TextColumn("{task.description}"), console=console, transient=True)
