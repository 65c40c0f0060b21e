"""The JSON file in which a benchmark keeps its results: options, machine, and a list of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openpfn.benchmark.machine import describe_machine
from openpfn.files import write_whole

VERSION = 1


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
