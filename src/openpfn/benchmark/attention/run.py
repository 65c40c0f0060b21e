"""`compare`: mechanisms of attention trained on the same tasks, scored on held-out ones, timed, and
reported on one page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.benchmark.attention.worker import LOGISTIC, TASKS, Job
from openpfn.files import write_whole
from openpfn.jobs import Failed, workers

SETTINGS = "settings.json"
WORKER = "openpfn.benchmark.attention.worker:do"


def compare(config: AttentionConfig) -> dict[str, str]:
    """Do what of the comparison is not done yet, write results.csv, summary.csv and report.html
    into `config.out`.

    Gives the jobs that failed, with the reason; the page is written without them. Raises ValueError
    for unknown mechanisms, and for a folder that holds a comparison with other settings.
    """
    from openpfn.benchmark.attention.report import write_report
    from openpfn.benchmark.attention.results import read_results, write_results
    from openpfn.benchmark.attention.tasks import write_training_tasks

    check_mechanisms(config)
    claim_folder(config)
    write_training_tasks(config, config.out / TASKS)
    trainings = [
        Job("train", name, seed) for seed in range(config.seeds) for name in config.mechanisms
    ]
    failed = run_jobs(
        [job for job in [*trainings, Job(LOGISTIC)] if not is_done(config, job)],
        config,
        config.jobs,
    )
    failed |= run_jobs(
        [job for job in [Job("timing")] if not is_done(config, job)], config, 1
    )  # alone: it measures time
    results = read_results(config)
    write_results(results)
    write_report(results, config.out / "report.html", failed)
    return failed


def check_mechanisms(config: AttentionConfig) -> None:
    """Build the prior and every network once. Raises ValueError for unknown names, and for two
    names of one mechanism."""
    from openpfn import registry
    from openpfn.attention.base import RowAttention
    from openpfn.benchmark.attention.tasks import TaskSource
    from openpfn.benchmark.attention.timing import network

    TaskSource(config).with_longest_contexts()
    known: dict[type, str] = {}
    for name in config.mechanisms:
        found = registry.find("attention", name, RowAttention)
        if found in known:
            raise ValueError(f"{known[found]!r} and {name!r} are the same mechanism. Name it once.")
        known[found] = name
        network(config, name)


def claim_folder(config: AttentionConfig) -> None:
    """Note the settings in the folder. Raises ValueError if they differ from those of the runs in
    it."""
    path = config.out / SETTINGS
    wanted = json.loads(json.dumps(config.settings()))
    if not path.is_file():
        config.out.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(wanted, indent=1) + "\n")
        return
    recorded = json.loads(path.read_text(encoding="utf-8"))
    different = sorted(
        name for name in wanted.keys() | recorded.keys() if wanted.get(name) != recorded.get(name)
    )
    if different:
        changes = ", ".join(
            f"{name} {recorded.get(name)} → {wanted.get(name)}" for name in different
        )
        raise ValueError(
            f"{config.out} holds a comparison with other settings: {changes}. Give the same ones,"
            " or another --out."
        )


def is_done(config: AttentionConfig, job: Job) -> bool:
    """Return whether an earlier call finished `job`; the timing is done again when there is another
    mechanism or number of rows."""
    path = config.out / job.name / job.last_file
    if not path.is_file():
        return False
    if job.kind != "timing":
        return True
    import pandas as pd

    timed = (
        pd.read_csv(path)
        if config.inference_rows
        else pd.DataFrame({"mechanism": [], "n_context": []})
    )
    steps = pd.read_csv(path.with_name("steps.csv"))
    return set(config.mechanisms) <= set(steps["mechanism"]) and set(config.inference_rows) <= set(
        timed["n_context"]
    )


def run_jobs(jobs: Sequence[Job], config: AttentionConfig, n_at_a_time: int) -> dict[str, str]:
    """Do each job in a process of its own, `n_at_a_time`; the failed ones and why. What a process
    of this machine prints goes to log.txt in the job's folder."""
    failed: dict[str, str] = {}
    pool = workers(
        WORKER,
        n_at_a_time,
        config.backend,
        config.address,
        gpu=config.device != "cpu",
        fresh=True,
        log=log_of,
    )
    with progress(jobs) as tell, pool:
        orders = [(config, job) for job in jobs]
        for (_, job), answer in pool.answers(
            orders, told=lambda order, share: tell(order[1], share)
        ):
            if answer is None:
                failed[job.name] = f"{last_words(config, job)} (see {log_of((config, job))})"
            elif isinstance(answer, Failed):
                failed[job.name] = answer.reason
            else:
                tell(job, 1.0)
    return failed


def log_of(order: tuple[AttentionConfig, Job]) -> Path:
    """Return the file for what a job prints."""
    config, job = order
    return config.out / job.name / "log.txt"


def last_words(config: AttentionConfig, job: Job) -> str:
    """Return the last line that a process printed before it died."""
    log = log_of((config, job))
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    return text.splitlines()[-1] if text else "its process died"


@contextmanager
def progress(jobs: Sequence[Job]) -> Iterator[Callable[[Job, float], None]]:
    """A bar over all jobs on a terminal, elsewhere a line per finished job; the value takes a job
    and its share done."""
    if not sys.stderr.isatty():
        yield (
            lambda job, share: (
                print(f"{job.name} done", file=sys.stderr, flush=True) if share == 1.0 else None
            )
        )
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    words = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%")
    with Progress(
        *words, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)
    ) as bar:
        whole = bar.add_task("", total=max(1, len(jobs)))
        shares: dict[str, float] = {}

        def tell(job: Job, share: float) -> None:
            shares[job.name] = share
            n_done = sum(share == 1.0 for share in shares.values())
            bar.update(
                whole,
                completed=sum(shares.values()),
                description=f"{job.name}  {n_done}/{len(jobs)} done",
            )

        yield tell
