"""`openpfn benchmark speed`: how fast each part runs, beside its peers, interleaved, with spread,
memory and the machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openpfn.configs.checks import check_least
from openpfn.files import write_whole

GROUPS = (
    "gemm",
    "prior",
    "step",
    "stream",
    "fit",
    "predict",
    "fit_predict",
    "first",
    "one_row",
    "state",
    "long",
    "quality",
)
"""What can be measured: matrix products (the floor of everything else), drawing tasks, a training
step, training on a stream of tasks, showing a context, reading query rows of a context shown
before, both in one; with each attention between rows: the first answers, one more answer, the size
of the kept context, very long contexts; what equal steps are worth."""
ON_REQUEST = ("quality",)
"""Groups that take minutes a row: measured where they are named."""


@dataclass(frozen=True)
class SpeedConfig:
    """What to measure, how often, and where the peers are."""

    only: tuple[str, ...] = ()
    """Groups (gemm, prior, step, stream, fit, predict, fit_predict, first, one_row, state, long,
    quality) or names of measurements; by default all but quality, which trains for minutes a row.
    --list shows them."""
    repeats: int = 5
    """Repeats of each measurement. Those of one group take turns, so that ratios are fair on a
    machine with other work."""
    seconds: float = 1.0
    """A repeat runs its operation again until this much time has passed."""
    threads: int = 2
    """Torch threads of each measurement; priors always run with one."""
    nanotabpfn: Path | None = None
    """A checkout of automl/nanoTabPFN, to time its own training loop and classifier."""
    tinypfn: Path | None = None
    """A checkout of kek0o/TinyPFN, to time its own training loop and classifier."""
    memory_limit: float = 12.0
    """GB of address space per measurement: one that needs more is reported as such, instead of
    taking the machine down."""
    timeout: float = 900.0
    """Seconds that one repeat may take before its measurement is given up."""
    out: Path = Path("speed.json")
    """Where the results go, with the machine and the versions."""
    page: Path | None = None
    """Also write them as a Markdown page with plots beside it, such as docs/speed.md."""
    list: bool = False
    """Only show what there is to measure."""

    def __post_init__(self) -> None:
        check_least(self, repeats=1, threads=1)
        for name in ("seconds", "memory_limit", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive.")


def run(config: SpeedConfig) -> dict[str, Any]:
    """Measure, write `config.out` (and the page), print the table; the results as they stand in the
    file.

    Raises ValueError for a name that is no group and no measurement.
    """
    from openpfn.benchmark.speed import report as speed_report
    from openpfn.benchmark.speed.table import chosen

    measurements = chosen(config.only)
    if config.list:
        speed_report.show_choices(measurements)
        return {}
    began = time.perf_counter()
    results: dict[str, Any] = {
        "version": 1,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {name: plain(value) for name, value in asdict(config).items()},
        "machine": machine(config.threads),
        "rows": [],
    }
    for group in GROUPS:
        for shape, members in by_shape([m for m in measurements if m.group == group]):
            results["rows"] += measure_together(members, config, where=f"{group}, {shape}")
        results["seconds"] = round(time.perf_counter() - began, 1)
        speed_report.add_shares(results["rows"])
        write_json(config.out, results)
    speed_report.show(results)
    if config.page is not None:
        speed_report.write_page(config.page, results)
    return results


def plain(value: Any) -> Any:
    """An option as JSON keeps it."""
    return (
        str(value)
        if isinstance(value, Path)
        else list(value)
        if isinstance(value, tuple)
        else value
    )


def by_shape(measurements: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Measurements of one shape together: they are compared with each other."""
    for shape in dict.fromkeys(m.shape for m in measurements):
        yield shape, [m for m in measurements if m.shape == shape]


def measure_together(
    measurements: Sequence[Any], config: SpeedConfig, where: str
) -> list[dict[str, Any]]:
    """A row for each: they take turns for `config.repeats` rounds, each in a process of its own."""
    from openpfn.benchmark.speed.worker import Worker, WorkerFailed

    rows: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        workers: dict[str, Any] = {}
        for m in measurements:
            rows[m.name] = {**m.record(), "values": [], "status": "ok", "note": ""}
            missing = m.missing(config)
            if missing:
                rows[m.name] |= {"status": "missing", "note": missing}
                continue
            workers[m.name] = stack.enter_context(
                Worker(m.name, config, threads=1 if m.one_thread else config.threads)
            )
        for turn in range(config.repeats + 1):  # the first warms up
            for name, worker in list(workers.items()):
                try:
                    answer = worker.repeat(warm_up=turn == 0)
                except WorkerFailed as failure:
                    rows[name] |= {"status": "failed", "note": str(failure)}
                    workers.pop(name).close()
                    continue
                facts = answer["facts"]
                if turn:
                    rows[name]["values"].append(answer["value"])
                    rows[name].setdefault("cpu_values", []).append(facts.pop("cpu_ms", None))
                rows[name] |= facts
            print(
                f"{where}: {f'round {turn} of {config.repeats}' if turn else 'warmed up'}",
                flush=True,
            )
    return [with_summary(row) for row in rows.values()]


def with_summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the median and the quartiles of its values."""
    import numpy as np

    if not row["values"]:
        return dict(row)
    low, median, high = (float(v) for v in np.quantile(row["values"], (0.25, 0.5, 0.75)))
    return {**row, "median": median, "low": low, "high": high}


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on: processor, load, threads, versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    versions = {}
    for package in ("openpfn", "torch", "numpy", "tabicl", "schedulefree"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name as the system tells it."""
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results` to `path`, whole or not at all."""
    write_whole(path, json.dumps(results, indent=1) + "\n")
