"""`sweep`: a network for each pool size and seed, resumable, with one table of results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn import checkpoint
from openpfn.bayes.task_diversity.experiment import experiment_of
from openpfn.bayes.task_diversity.scores import row_of, scores
from openpfn.configs.diversity import TaskDiversityConfig
from openpfn.files import replacing
from openpfn.jobs import Failed, threads_of_each, workers
from openpfn.training import train

RESULT = "result.json"
RESULTS = "results.csv"
PICTURE = "task-diversity.png"
WORKER = f"{__name__}:do_run"
"""Function that does one run."""
RunOrder = tuple[TaskDiversityConfig, int, int, int | None]


def sweep(
    config: TaskDiversityConfig, say: Callable[[str], None] = lambda line: None
) -> pd.DataFrame:
    """Return the table of results after training every run that is not finished.

    A run that was interrupted goes on where it stood; one that is finished is left alone. Each has
    its own folder, random id and seed. `config.jobs` runs go at the same time, each with its share
    of the cores; `say` is told of each that ends.
    """
    runs = [(n_tasks, seed) for n_tasks in config.tasks for seed in config.seeds]
    config.out.mkdir(parents=True, exist_ok=True)
    log = _Log(config.log_file, say)
    left = [run for run in runs if not (config.folder(*run) / RESULT).is_file()]
    log.line(f"{len(runs)} runs, {len(runs) - len(left)} of them finished before")
    if left and config.jobs == 1:
        for run in left:
            log.result(one_run(config, *run, None))
    elif left:
        n_threads = threads_of_each(config.jobs)
        with workers(WORKER, config.jobs, threads=n_threads, fresh=True, log=_output_of) as at_work:
            for (_, *run), answer in at_work.answers([(config, *run, n_threads) for run in left]):
                if answer is None or isinstance(answer, Failed):
                    reason = answer.reason if answer else "its process died"
                    raise RuntimeError(f"the run of pool size and seed {run[:2]} failed: {reason}")
                log.result(answer)
    table = results_table(config)
    with replacing(config.out / RESULTS) as unfinished:
        table.to_csv(unfinished, index=False)
    from openpfn.plots.task_diversity import raventos_figure

    if len(table):
        with replacing(config.out / PICTURE) as unfinished:
            raventos_figure(table).savefig(unfinished, format="png")
    return table


def one_run(
    config: TaskDiversityConfig, n_tasks: int, seed: int, n_threads: int | None
) -> dict[str, Any]:
    """Train one network, or go on with it, and return its scores, which its folder then holds."""
    data = config.data(n_tasks, seed)
    experiment = experiment_of(data)
    folder = config.folder(n_tasks, seed)
    began = time.monotonic()
    model = train(
        experiment.prior(),
        config.network(),
        config.training(n_tasks, seed, n_threads),
        data_config=data,
        resume_from=folder if (folder / "latest.safetensors").is_file() else None,
    )
    header = checkpoint.read_header(folder)
    found = scores(model, experiment, config.eval_batch, seed)
    result = {
        "run": config.name(n_tasks, seed),
        "run_id": (header.provenance.get("run") or {}).get("id"),
        "n_tasks": n_tasks,
        "seed": seed,
        "steps": config.steps,
        "seconds": time.monotonic() - began,
        "by_row": {name: values.tolist() for name, values in found.items()},
    }
    with replacing(folder / RESULT) as unfinished:
        unfinished.write_text(json.dumps(result), encoding="utf-8")
    return result


def do_run(order: RunOrder, tell: Callable[[float], None]) -> dict[str, Any]:
    """`one_run` as a job of its own."""
    return one_run(*order)


def _output_of(order: RunOrder) -> Path:
    """Return the file for what a run prints that has a process of its own."""
    config, n_tasks, seed, _ = order
    return config.folder(n_tasks, seed) / "output.txt"


def results_table(config: TaskDiversityConfig) -> pd.DataFrame:
    """Return a row for each finished run: its scores averaged over rows, and those of each row."""
    rows = []
    for n_tasks in config.tasks:
        for seed in config.seeds:
            path = config.folder(n_tasks, seed) / RESULT
            if path.is_file():
                rows.append(row_of(json.loads(path.read_text(encoding="utf-8"))))
    return pd.DataFrame(rows)


class _Log:
    """Lines about the sweep, told and written to a file."""

    def __init__(self, path: Path | None, say: Callable[[str], None]) -> None:
        self.path, self.say = path, say

    def line(self, text: str) -> None:
        self.say(text)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def result(self, result: dict[str, Any]) -> None:
        row = row_of(result)
        self.line(
            f"{result['run']} (id {result['run_id']}): error {row['mse_old']:.4f} on old tasks,"
            f" {row['mse_new']:.4f} on new ones; from dMMSE {row['new_to_dmmse']:.4f}, from ridge"
            f" {row['new_to_ridge']:.4f}; {result['seconds']:.0f} s"
        )
