"""The JSON file in which a benchmark keeps its results: options, machine, and a list of rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openpfn.benchmark.machine import describe_machine
from openpfn.files import write_whole

VERSION = 1
ASIDE = ("only", "out", "page")
"""Options that say what is measured and where it goes, not how."""


def measured_rows(
    config: Any,
    order: Sequence[str],
    measure: Callable[[str], dict[str, Any]],
    tell: Callable[[Mapping[str, Any]], str],
) -> dict[str, Any]:
    """Return the results after `measure` gave a row for each name of `config.only`, or of `order`.
    `config.out` is written after each, and keeps earlier rows of the same options; `tell` says a
    row in one line."""
    names = config.only or order
    results = new_record(config, threads=1)
    results["rows"] = [
        row for row in earlier_rows(config.out, results["config"]) if row["name"] not in names
    ]
    for name in names:
        began = time.perf_counter()
        row = {"name": name, **measure(name)}
        row["seconds_of_all"] = round(time.perf_counter() - began, 1)
        results["rows"] = sorted([*results["rows"], row], key=lambda row: order.index(row["name"]))
        write_json(config.out, results)
        print(tell(row), flush=True)
    return results


def earlier_rows(
    path: Path, config: Mapping[str, Any], aside: Sequence[str] = ASIDE
) -> list[dict[str, Any]]:
    """The rows of `path` that were measured with the same options, but for those `aside`; none if
    it is not there, or holds other results."""

    def kept(options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if name not in aside}

    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        return earlier["rows"] if kept(earlier["config"]) == kept(config) else []
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return []


def new_record(config: Any, threads: int) -> dict[str, Any]:
    """Results without rows, of the options `config` on this machine, begun now."""
    return {
        "version": VERSION,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {name: plain(value) for name, value in asdict(config).items()},
        "machine": describe_machine(threads),
        "rows": [],
    }


def plain(value: Any) -> Any:
    """An option as JSON keeps it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results` to `path`, whole or not at all."""
    write_whole(path, json.dumps(results, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The results in `path`. Raises ValueError if it holds something else."""
    results = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(results, dict) or results.get("version") != VERSION or "rows" not in results:
        raise ValueError(
            f"{path} holds no results of openpfn benchmark (version {VERSION}). Give a JSON file"
            " that one of its subcommands wrote."
        )
    return results


def in_one_sentence(results: Mapping[str, Any]) -> str:
    """The machine and the run in one sentence."""
    machine = results["machine"]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}"
        for name in ("openpfn", "torch")
        if machine["versions"].get(name)
    )
    return (
        f"{machine['processor']}, one thread, load before {machine['load_before']}; Python"
        f" {machine['python']}, {versions}; {results['started'][:10]}"
    )
