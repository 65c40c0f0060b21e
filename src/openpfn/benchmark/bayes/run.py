"""`openpfn benchmark bayes`: networks against exact posteriors, and how fast sequences are drawn
and generated."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from openpfn.benchmark.bayes import report as bayes_report
from openpfn.benchmark.bayes import speed as bayes_speed
from openpfn.benchmark.bayes.config import ASIDE, GAP_NAMES, SPEED_NAMES, BayesConfig
from openpfn.benchmark.bayes.gap import measured_gap
from openpfn.benchmark.record import new_record, write_json


def run(config: BayesConfig) -> dict[str, Any]:
    """Measure, write `config.out` after each row, print the tables, write the page; the results as
    they stand in the file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a processor minute is one of one core
    names = config.only or (*SPEED_NAMES, *GAP_NAMES)  # what is quick comes first
    results = new_record(config, threads=1)
    results["rows"] = [
        row for row in earlier_rows(config.out, results["config"]) if row["name"] not in names
    ]
    try:
        for name in names:
            began = time.perf_counter()
            row = (
                measured_gap(name, config)
                if name in GAP_NAMES
                else bayes_speed.measured(name, config)
            )
            row["seconds_of_all"] = round(time.perf_counter() - began, 1)
            results["rows"] = sorted(
                [*results["rows"], row],
                key=lambda row: (*SPEED_NAMES, *GAP_NAMES).index(row["name"]),
            )
            write_json(config.out, results)
            print(bayes_report.one_line(row), flush=True)
    finally:
        torch.set_num_threads(threads)
    bayes_report.show(results)
    if config.page is not None:
        bayes_report.write_page(config.page, results)
    return results


def place(row: Mapping[str, Any]) -> int:
    """Return where a row stands among the others."""
    return (*SPEED_NAMES, *GAP_NAMES).index(row["name"])


def earlier_rows(path: Path, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `path` that were measured with the same options; none if it is not there, or
    holds other results."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        others = {name: value for name, value in found["config"].items() if name not in ASIDE}
        return (
            found["rows"]
            if others == {name: value for name, value in config.items() if name not in ASIDE}
            else []
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
