"""`run_sweep`: many runs at a time, each resumable, with one table of results and one figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.configs.sweep import Sweep
from openpfn.files import replacing
from openpfn.jobs import Backend, Failed, threads_of_each, workers
from openpfn.training.sweep_run import RESULT, RunOrder, figures_of, last_row
from openpfn.training.tracking.history import read_rows

RESULTS, PICTURE = "results.csv", "sweep.png"
WORKER = "openpfn.training.sweep_run:do_run"
"""Function that does one run."""


def run_sweep(
    sweep: Sweep,
    out: Path,
    n_jobs: int = 1,
    backend: Backend = "processes",
    address: str | None = None,
    *,
    asha: bool = True,
    gpu: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Return the table of results after doing every run of `sweep` that is not finished, `n_jobs`
    at a time.

    A run that was interrupted goes on where it stood; one that is finished is left alone. The cores
    of this machine are divided among the runs of "processes". On "ray", Ray Tune does the runs and,
    with `asha`, stops those early whose figure falls behind (Li et al. 2018, arXiv 1810.05934). The
    table and a figure stand in `out`, each run has a folder in `out`/runs. Failed runs are told and
    stand in the table.
    """
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    n_threads = threads_of_each(n_jobs) if backend == "processes" else 1
    orders = [
        RunOrder(sweep.function, run, out / "runs" / run.name, n_threads) for run in sweep.runs
    ]
    left = [order for order in orders if not (order.folder / RESULT).is_file()]
    say(f"{len(orders)} runs, {len(orders) - len(left)} of them finished before")
    if backend == "ray" and left:
        from openpfn.training.tune import tuned

        answers: Iterator[tuple[RunOrder, Any]] = tuned(
            sweep, left, n_jobs, address, asha=asha, gpu=gpu
        )
        _tell_all(answers, sweep, say)
    elif left:
        with workers(
            WORKER,
            n_jobs,
            backend,
            address,
            threads=n_threads,
            fresh=True,
            log=lambda order: order.folder / "output.txt",
        ) as at_work:
            _tell_all(at_work.answers(left), sweep, say)
    table = results_table(sweep, out)
    with replacing(out / RESULTS) as unfinished:
        table.to_csv(unfinished, index=False)
    draw(sweep, out, table)
    return table


def results_table(sweep: Sweep, out: Path) -> pd.DataFrame:
    """Return a row for each run: its state, the options in which the runs differ, its figures; the
    best finished run first, those that are not finished last."""
    rows = []
    for run in sweep.runs:
        folder = out / "runs" / run.name
        is_done = (folder / RESULT).is_file()
        figures = figures_of(folder) if is_done else last_row(folder)
        state = "finished" if is_done else "unfinished" if figures else "not begun"
        rows.append({"run": run.name, "state": state} | dict(run.varied) | figures)
    table = pd.DataFrame(rows)
    if sweep.metric not in table:
        return table
    ordered = table.sort_values(sweep.metric, ascending=sweep.mode == "min", kind="stable")
    is_done = ordered["state"] == "finished"
    return pd.concat([ordered[is_done], ordered[~is_done]]).reset_index(drop=True)


def draw(sweep: Sweep, out: Path, table: pd.DataFrame) -> None:
    """Draw the courses of all runs and their last figures into `out`."""
    from openpfn.plots.sweep import sweep_figure

    courses = {}
    for name in table["run"]:
        history = out / "runs" / name / "history.csv"
        rows = read_rows(history) if history.is_file() else []
        points = [(row["step"], row.get(sweep.metric, math.nan)) for row in rows]
        courses[name] = [(step, value) for step, value in points if not math.isnan(value)]
    finals = dict(zip(table["run"], table.get(sweep.metric, []), strict=False))
    with replacing(out / PICTURE) as unfinished:
        sweep_figure(courses, finals, sweep.metric).savefig(unfinished, format="png")


def _tell_all(
    answers: Iterator[tuple[RunOrder, Any]], sweep: Sweep, say: Callable[[str], None]
) -> None:
    for order, answer in answers:
        if isinstance(answer, Failed):
            say(f"{order.run.name} failed: {answer.reason}")
        elif answer is None:
            say(f"{order.run.name} failed: its process died (see {order.folder}/output.txt)")
        else:
            value = answer.get(sweep.metric, math.nan)
            say(f"{order.run.name}: {sweep.metric} {value:.5g}")
