"""`compare`: mechanisms of attention trained on the same tasks, scored on held-out ones, timed, and
reported on one page."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.benchmark.attention.worker import LOGISTIC, TASKS, Job
from openpfn.benchmark.process import Worker, WorkerDied, stop_all
from openpfn.files import write_whole

SETTINGS = "settings.json"
WORKER = "openpfn.benchmark.attention.worker:serve"


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


def run_jobs(jobs: Sequence[Job], config: AttentionConfig, n_processes: int) -> dict[str, str]:
    """Run each job in a process of its own, `n_processes` at a time; the failed ones and why."""
    failed: dict[str, str] = {}
    running: list[Worker] = []
    stopping = threading.Event()
    with progress(jobs) as tell, ThreadPoolExecutor(n_processes) as pool:
        futures = {pool.submit(run_job, job, config, running, stopping, tell): job for job in jobs}
        try:
            for future in as_completed(futures):
                if reason := future.result():
                    failed[futures[future].name] = reason
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all(running)
            raise
    return failed


def run_job(
    job: Job,
    config: AttentionConfig,
    running: list[Worker],
    stopping: threading.Event,
    tell: Callable[[Job, float], None],
) -> str:
    """Run one job to its end; why it failed, or nothing. What it prints goes to log.txt in its
    folder."""
    folder = config.out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("ab") as log, Worker(WORKER, log=log) as worker:
        running.append(worker)
        if stopping.is_set():
            return "it was interrupted"
        worker.send((config, job))
        try:
            while True:
                tell(job, worker.receive())
        except WorkerDied:  # at its end too: what it left tells the two apart
            code = worker.process.wait()
    if code == 0:
        tell(job, 1.0)
        return ""
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else f'its process ended with {code}'} (see {folder / 'log.txt'})"


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
