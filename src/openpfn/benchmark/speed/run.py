"""`openpfn benchmark speed`: how fast each part runs, beside its peers, interleaved, with spread,
memory and the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from openpfn.benchmark.record import new_record, write_json
from openpfn.benchmark.speed import report as speed_report
from openpfn.benchmark.speed.config import GROUPS, SpeedConfig
from openpfn.benchmark.speed.table import chosen
from openpfn.benchmark.speed.worker import MeasurementFailed, MeasuringWorker


def run(config: SpeedConfig) -> dict[str, Any]:
    """Measure, write `config.out` (and the page), print the table; the results as they stand in the
    file.

    Raises ValueError for a name that is no group and no measurement.
    """
    measurements = chosen(config.only)
    if config.list:
        speed_report.show_choices(measurements)
        return {}
    began = time.perf_counter()
    results = new_record(config, config.threads)
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


def by_shape(measurements: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Measurements of one shape together: they are compared with each other."""
    for shape in dict.fromkeys(m.shape for m in measurements):
        yield shape, [m for m in measurements if m.shape == shape]


def measure_together(
    measurements: Sequence[Any], config: SpeedConfig, where: str
) -> list[dict[str, Any]]:
    """A row for each: they take turns for `config.repeats` rounds, each in a process of its own."""
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
                MeasuringWorker(m.name, config, threads=1 if m.one_thread else config.threads)
            )
        for turn in range(config.repeats + 1):  # the first warms up
            for name, worker in list(workers.items()):
                try:
                    answer = worker.repeat(warm_up=turn == 0)
                except MeasurementFailed as failure:
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
    if not row["values"]:
        return dict(row)
    low, median, high = (float(v) for v in np.quantile(row["values"], (0.25, 0.5, 0.75)))
    return {**row, "median": median, "low": low, "high": high}
