"""The measurements of `openpfn benchmark scale`, each on commands as users call them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.benchmark.scale.config import ScaleConfig
from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents
from openpfn.jobs import Failed, workers
from openpfn.processes import thread_variables

TASKS = "--prior mixture --min_features 2 --max_features 40 --min_seq_len 30 --max_seq_len 400"
TASKS += " --min_context_share 0.15 --max_context_share 0.85 --regression_share 0.5"
"""Tasks of recipes/nano.toml as options of `openpfn priors generate`."""
CLASSES = " --min_features 2 --max_features 20 --min_seq_len 30 --max_seq_len 400"
NETWORK = "--preset nano --model.n-thinking-rows 8 --model.column-shifts 0 1 3"
NETWORK += " --model.regression-head quantiles"
STREAM = "--tasks.min-features 2 --tasks.max-features 40 --tasks.min-seq-len 30"
STREAM += " --tasks.max-seq-len 400 --tasks.min-context-share 0.15"
STREAM += " --tasks.max-context-share 0.85 --tasks.regression-share 0.5"
TRAINING = "--batch-size 4 --optimizer muon --muon-learning-rate 0.0004 --learning-rate 0.0006"
TRAINING += " --precision float32 --n-threads 1 --n-workers 0 --device cpu --save-minutes 1000"
SMALL = "--preset micro --prior scm_mlp --tasks.max-features 3 --tasks.max-seq-len 16"
SMALL += " --tasks.no-learnable --batch-size 4 --n-workers 0 --device cpu --log-every 10"
MOST_BYTES = 2**31
"""Memory that keeping the cells of a long context may take; beyond it they are computed again."""
FIT = f"{__name__}:fit"
"""Function that fits one number of rows in a process of its own."""


def generate(config: ScaleConfig) -> dict[str, Any]:
    """Return tasks per second of `openpfn priors generate` with one job and with `n`, each with as
    many shards, start of the processes included."""
    with tempfile.TemporaryDirectory() as folder:

        def seconds(name: str, n_batches: int, jobs: int = 1) -> float:
            began = time.monotonic()
            _generate(Path(folder) / name, n_batches, jobs)
            return time.monotonic() - began

        # the difference of two runs leaves out the start of the process
        few, more = (seconds(f"trial-{n}", n) for n in (8, 40))
        n_batches = max(8, round(config.seconds * 32 / max(more - few, 0.1)))
        speeds = {
            jobs: n_batches * 8 / seconds(f"{jobs}", n_batches, jobs) for jobs in (1, config.n)
        }
    return {
        "tasks_per_second_1": speeds[1],
        f"tasks_per_second_{config.n}": speeds[config.n],
        "ratio": speeds[config.n] / speeds[1],
    }


def equal(config: ScaleConfig) -> dict[str, Any]:
    """Return the largest difference of the losses of 20 steps of `nano` between one process and
    `n` ranks: with the batches of a step divided among them, and with a batch for each."""
    differences = {}
    with tempfile.TemporaryDirectory() as folder:
        for accumulation in (1, config.n):
            options = f"{NETWORK} {STREAM} {TRAINING} --num-steps 20 --log-every 1"
            losses = []
            for ranks in (None, config.n):
                out = Path(folder) / f"{accumulation}-{ranks}"
                _train(f"{options} --accumulation {accumulation}", out, ranks)
                losses.append(pd.read_csv(out / "history.csv")["loss"].to_numpy())
            differences[f"difference_accumulation_{accumulation}"] = float(
                np.abs(losses[0] - losses[1]).max()
            )
    return differences


def ranks(config: ScaleConfig) -> dict[str, Any]:
    """Return tasks per second of the stream that trains `nano`, of one process and of `n` ranks,
    each of one thread; the first rows of the history, which warm up, do not count."""
    speeds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for accumulation in (1, config.n):
            n_steps = max(40, round(config.seconds * 2 / accumulation))
            options = f"{NETWORK} {STREAM} {TRAINING} --log-every 10"
            options += f" --num-steps {n_steps} --accumulation {accumulation}"
            for n in (1, config.n):
                out = Path(folder) / f"{accumulation}-{n}"
                _train(options, out, None if n == 1 else n)
                history = pd.read_csv(out / "history.csv")
                first, last = history.iloc[0], history.iloc[-1]
                speed = (last["tasks"] - first["tasks"]) / (last["seconds"] - first["seconds"])
                speeds[f"tasks_per_second_{n}_accumulation_{accumulation}"] = float(speed)
    for accumulation in (1, config.n):
        one, many = (
            speeds[f"tasks_per_second_{n}_accumulation_{accumulation}"] for n in (1, config.n)
        )
        speeds[f"ratio_accumulation_{accumulation}"] = many / one
    return speeds


def kills(config: ScaleConfig) -> dict[str, Any]:
    """Return how many tasks were lost or doubled where processes of a generation and of a training
    by `n` ranks were killed at random moments and the same command continued."""
    moments = random.Random(config.seed)
    wrong = 0
    half = config.kills // 2
    options = f"{SMALL} --num-steps 400 --save-every 20"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def drawing(out: Path) -> list[str]:
            return _words_of_generate(out, 60, config.n, CLASSES)

        def training(out: Path) -> list[str]:
            return [*_torchrun(config.n), "train", *options.split(), "--out", str(out)]

        _generate(folder / "whole", 60, 1, CLASSES)
        for out in _killed(drawing, folder / "shards", half, moments, with_parent=True):
            _generate(out, 60, config.n, CLASSES, "--resume")
            wrong += _different_tasks(out, folder / "whole")
        for out in _killed(training, folder / "ranks", config.kills - half, moments):
            resume = "--resume" if (out / "latest.safetensors").exists() else "--overwrite"
            _finished([*training(out), resume])
            state = checkpoint.load_training_state(out).counters
            wrong += abs(state["tasks"] - 1600) + 4 * abs(state["position"] - 400)
    return {"killed": config.kills, "tasks_lost_or_doubled": wrong}


def read(config: ScaleConfig) -> dict[str, Any]:
    """Return tasks per second of reading a dump of `nano`'s tasks in `n` shards, in random order,
    against those of training on it."""
    with tempfile.TemporaryDirectory() as name:
        dump = Path(name) / "shards"
        _generate(dump, 60, config.n)
        loader = PriorDumpDataLoader(dump, None, 8)
        began, n_tasks = time.monotonic(), 0
        for batch in loader:
            n_tasks += batch.n_tasks
            if time.monotonic() - began > min(20.0, config.seconds):
                break
        reading = n_tasks / (time.monotonic() - began)
        options = f"{NETWORK} {TRAINING.replace('--batch-size 4', '--batch-size 8')}"
        out = Path(name) / "run"
        _train(f"{options} --dump {dump} --num-steps 30 --log-every 10", out, None)
        training = pd.read_csv(out / "history.csv")["tasks_per_second"].iloc[1:].mean()
    return {
        "tasks_read_per_second": reading,
        "tasks_trained_per_second": float(training),
        "ratio": reading / float(training),
    }


def rows(config: ScaleConfig) -> dict[str, Any]:
    """Return seconds and most memory of fitting each number of rows × 10 columns, and how far the
    time of a row is from that of the numbers of rows before it."""
    found: dict[str, Any] = {}
    for mechanism in config.mechanisms:
        per_row = []
        for n_rows in config.rows:
            with workers(FIT, 1, fresh=True) as pool:
                ((_, answer),) = pool.answers([(mechanism, n_rows)])
            if answer is None or isinstance(answer, Failed):
                found[f"{mechanism}_{n_rows}"] = answer.reason if answer else "its process died"
                continue
            seconds, gigabytes = answer
            per_row.append(seconds / n_rows)
            found[f"{mechanism}_{n_rows}_seconds"] = seconds
            found[f"{mechanism}_{n_rows}_gigabytes"] = gigabytes
        if len(per_row) > 1:
            # microseconds of a row at the most rows, against those where the fixed cost is small
            found[f"{mechanism}_last_row_to_row_before"] = per_row[-1] / per_row[-2]
    return found


def fit(order: tuple[str, int], tell: Any) -> tuple[float, float]:
    """Return seconds and gigabytes of showing a context of random rows to a network of the size of
    tiny; a job of its own."""
    from dataclasses import replace

    from openpfn.configs import preset
    from openpfn.memory import peak_memory_mb
    from openpfn.models import PFN

    mechanism, n_rows = order
    torch.manual_seed(0)
    model = PFN(replace(preset("tiny"), attention_type=mechanism)).eval()
    times = []
    for n in (min(1000, n_rows), n_rows):  # the first warms up
        x = torch.randn(1, n + 1, 10)
        batch = TaskBatch(x=x, y=(x[..., 0] > 0).float(), n_train=n)
        began = time.perf_counter()
        with torch.no_grad():
            model.summarize(batch, most_bytes=MOST_BYTES)
        times.append(time.perf_counter() - began)
    return times[-1], peak_memory_mb() / 1e3


def _words_of_generate(path: Path, n_batches: int, jobs: int, tasks: str = TASKS) -> list[str]:
    words = f"priors generate {tasks} --batch_size 8 --num_batches {n_batches} --jobs {jobs}"
    return ["-m", "openpfn", *f"{words} --shards {jobs} --save_path {path}".split()]


def _generate(path: Path, n_batches: int, jobs: int, tasks: str = TASKS, *more: str) -> None:
    _finished([*_words_of_generate(path, n_batches, jobs, tasks), *more])


def _train(options: str, out: Path, n_ranks: int | None) -> None:
    start = ["-m", "openpfn"] if n_ranks is None else _torchrun(n_ranks)
    _finished([*start, "train", *options.split(), "--out", str(out)])


def _torchrun(n_ranks: int) -> list[str]:
    return f"-m torch.distributed.run --standalone --nproc-per-node {n_ranks} -m openpfn".split()


def _started(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | thread_variables(1),
    )


def _finished(words: Sequence[str]) -> None:
    _end_well(_started(words))


def _end_well(process: subprocess.Popen[str]) -> None:
    output = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{process.args} failed:\n{output[-2000:]}")


def _killed(
    words: Callable[[Path], list[str]],
    folder: Path,
    n: int,
    moments: random.Random,
    *,
    with_parent: bool = False,
) -> Iterator[Path]:
    """Yield the folders of `n` runs of a command, one of whose children (or itself, too, if
    `with_parent`) was killed in each: at a moment drawn between its first files and the end of a
    run that nobody kills."""
    whole = _started(words(folder / "whole"))
    began = _first_files(whole, folder / "whole")
    _end_well(whole)
    longest = time.monotonic() - began
    for number in range(n):
        for trial in count():  # a run may be over before its moment
            out = folder / f"{number}-{trial}"
            process = _started(words(out))
            _first_files(process, out)
            time.sleep(longest * moments.random())
            killed = process.poll() is None and _kill_one_of(process.pid, moments, with_parent)
            if killed:
                process.communicate()  # what is left of it ends by itself
                yield out
                break
            _end_well(process)


def _first_files(process: subprocess.Popen[str], out: Path) -> float:
    """Wait for the first files of a command, or for its end; return when that was."""
    while not list(out.glob("*.h5")) and not (out / "latest.safetensors").exists():
        if process.poll() is not None:
            break
        time.sleep(0.01)
    return time.monotonic()


def _kill_one_of(parent: int, moments: random.Random, with_parent: bool) -> bool:
    """Kill one of a process's children, or it; return whether there was one to kill."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    victims = [*children, *([str(parent)] if with_parent else [])]
    if not victims:
        return False
    try:
        os.kill(int(moments.choice(victims)), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _different_tasks(path: Path, other: Path) -> int:
    """Return how many tasks of two dumps are not the same, in the same place."""
    n = {read_contents(each).n_tasks for each in (path, other)}
    if len(n) > 1:
        return max(n)
    loaders = [PriorDumpDataLoader(each, None, 8, shuffle=False) for each in (path, other)]
    n_batches = loaders[0].batches_per_epoch
    wrong = 0
    for a, b in zip(*(islice(loader, n_batches) for loader in loaders), strict=True):
        same = a.y.shape == b.y.shape and torch.equal(a.y, b.y)
        wrong += 0 if same and torch.equal(a.x.nan_to_num(9), b.x.nan_to_num(9)) else b.n_tasks
    return wrong


ALL = {
    "generate": generate,
    "equal": equal,
    "ranks": ranks,
    "kills": kills,
    "read": read,
    "rows": rows,
}
"""The measurements by name."""
