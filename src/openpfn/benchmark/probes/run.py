"""Run a grid of probes: plan the cells, skip what is measured, measure the rest in parallel, write
each row at once, report."""

from __future__ import annotations

from contextlib import nullcontext

import pandas as pd
from rich.console import Console

from openpfn.benchmark.probes import results
from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.measure import Order
from openpfn.benchmark.probes.methods import resolve
from openpfn.benchmark.probes.table import grid
from openpfn.benchmark.tables.run import progress_bars
from openpfn.jobs import Failed, Pool
from openpfn.processes import WorkerDied

WORKER = "openpfn.benchmark.probes.measure:measured"
"""Function that each process of a run calls."""
DEATH = {
    "status": "failed",
    "error": "its process died (out of memory, or a crash in native code)",
}


def run(
    config: ProbesConfig, console: Console | None = None, workers: Pool | None = None
) -> pd.DataFrame:
    """Measure what `config` asks for and is not yet in its results file; return the rows of this
    run, old and new.

    `workers` are processes of `WORKER`; without them `config.jobs` fresh ones are started. Raises
    ValueError for unknown names, before anything is measured.
    """
    console = console or Console(stderr=True)
    cells, methods = grid(config), resolve(config.methods, config.task)
    orders = [
        Order(cell, seed, method)
        for cell in cells
        for seed in range(config.seeds)
        for method in (None, *methods)
    ]
    file = results.ResultsFile(config.out, config)
    known = results.read(config.out)
    done = _keys(known[known["status"] == "ok"] if config.retry_failed else known)
    left = [order for order in orders if _key(order) not in done]
    console.print(
        f"{len(cells)} cells of {config.seeds} tables, {len(orders)} measurements, {len(left)} of"
        " them to do",
        highlight=False,
    )
    own = nullcontext(workers) if workers is not None else Pool(WORKER, config.jobs)
    n_failed = 0
    with own as pool, progress_bars(console) as bars:
        bar = bars.add_task("measuring", total=len(left), failed="")
        try:
            for (order, _), answer in pool.answers(
                [(order, config) for order in left], config.jobs
            ):
                if isinstance(answer, Failed):
                    raise RuntimeError(f"{order.cell.name} could not be measured: {answer.reason}")
                row = answer or order.identity | DEATH | {
                    "task": config.task,
                    "query": config.query,
                }
                file.append(row)
                n_failed += row["status"] != "ok"
                failed = f"{n_failed} failed" if n_failed else ""
                name = f"{order.cell.name} {row['method']}"
                bars.update(bar, advance=1, failed=failed, description=name)
        except WorkerDied as error:
            raise ValueError(
                f"{error}. Free memory or lower --jobs, then run again to go on."
            ) from error
    rows = results.read(config.out)
    wanted = {_key(order) for order in orders}
    return rows[[key in wanted for key in _key_list(rows)]].reset_index(drop=True)


def _key(order: Order) -> tuple[str, ...]:
    return tuple(str(order.identity[name]) for name in results.KEY)


def _key_list(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(zip(*(rows[name].astype(str) for name in results.KEY), strict=True))


def _keys(rows: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(_key_list(rows))
