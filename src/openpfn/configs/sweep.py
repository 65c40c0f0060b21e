"""`Sweep`: runs that differ in some options, as a file lists them or spans them by a grid."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = {
    "table": "openpfn.cli._sweep_runs:train_table",
    "task-diversity": "openpfn.cli._sweep_runs:train_task_diversity",
}
"""What the runs of a sweep do, and the function that does one."""
KEYS = ("kind", "base", "grid", "runs", "metric", "mode")


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep."""

    name: str
    """Name of the run and of its folder; runs with other options have other names."""
    options: Mapping[str, Any]
    """All its options."""
    varied: Mapping[str, Any]
    """Those in which the runs differ."""


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, and the figure that they are compared by."""

    function: str
    """What does a run, as "module:name": `function(options, folder, tell_row)` trains in `folder`,
    or goes on there, tells rows of figures on the way and returns the last."""
    runs: tuple[SweepRun, ...]
    metric: str = "loss"
    """Name of the figure."""
    mode: str = "min"
    """min or max: which values of the figure are good."""


def read_sweep(path: str | Path) -> Sweep:
    """Return the sweep in the YAML, TOML or JSON file `path`.

    The file has `base`, the options that all runs share; `grid`, lists of values of options, of
    which every combination is a run; or `runs`, a list of runs with options of their own, each of
    which is combined with the grid. Options are called as on the command line of `openpfn train`,
    those of a group (`tasks.max-features`) also as a table. `kind` is table, task-diversity or
    "module:function"; `metric` and `mode` say what is compared. Raises ValueError, naming the file,
    for anything else.
    """
    path = Path(path)
    try:
        return _sweep(_content(path))
    except (UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


def words(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of a command line.

    >>> words({"batch_size": 4, "tasks.learnable": False, "training": {"compile": True}})
    ['--batch-size', '4', '--tasks.no-learnable', '--training.compile']
    """
    found: list[str] = []
    for name, value in flat(options).items():
        group, dot, last = name.rpartition(".")
        if isinstance(value, bool):
            found.append(f"--{group}{dot}{'' if value else 'no-'}{last}")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            found += [f"--{name}", *map(str, values)]
    return found


def flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose groups are tables as one table of `group.option`, with dashes."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        name = str(name).replace("_", "-")
        inner = {name: value}
        if isinstance(value, Mapping):
            inner = {f"{name}.{key}": item for key, item in flat(value).items()}
        for key, item in inner.items():
            if key in found:
                raise ValueError(f"the option {key} is given twice.")
            found[key] = item
    return found


def _content(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no sweep at {path}. Give a YAML, TOML or JSON file.")
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return tomllib.loads(text)
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({error})") from error


def _loader() -> Any:
    """Return PyYAML's safe loader, which also reads 1e-3 as a number, as YAML 1.2 says."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader


def _sweep(content: Any) -> Sweep:
    if not isinstance(content, dict):
        raise ValueError(
            f"it holds a {type(content).__name__}, wanted a table of {', '.join(KEYS)}"
        )
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise ValueError(f"it has {', '.join(unknown)}, which is not among {', '.join(KEYS)}")
    kind, mode = content.get("kind", "table"), content.get("mode", "min")
    if kind not in KINDS and ":" not in str(kind):
        raise ValueError(f"kind is {kind!r}. Choose {', '.join(KINDS)} or 'module:function'.")
    if mode not in ("min", "max"):
        raise ValueError(f"mode is {mode!r}. Choose min or max.")
    base, grid = flat(_table(content, "base")), flat(_table(content, "grid"))
    listed = content.get("runs", [{}])
    if not isinstance(listed, list) or not all(isinstance(run, dict) for run in listed):
        raise ValueError("runs is no list of tables")
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"grid.{name} is {values!r}, wanted a list of values")
    own = [flat(run) for run in listed]
    varied = [
        run | dict(zip(grid, values, strict=True))
        for run in own
        for values in itertools.product(*grid.values())
    ]
    runs = [SweepRun(_name(base | one, one), base | one, one) for one in varied]
    if len({run.name for run in runs}) < len(runs):
        raise ValueError("two of its runs have the same options")
    evaluates = any("eval-every" in run.options for run in runs)
    metric = content.get("metric", "eval_loss" if evaluates else "loss")
    return Sweep(KINDS.get(str(kind), str(kind)), tuple(runs), str(metric), mode)


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    table = content.get(name) or {}
    if not isinstance(table, dict):
        raise ValueError(f"{name} is a {type(table).__name__}, wanted a table of options")
    return table


def _name(options: Mapping[str, Any], varied: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()
    told = "_".join(f"{name.rpartition('.')[2]}={value}" for name, value in varied.items())
    return f"{re.sub(r'[^A-Za-z0-9=_.,-]+', '-', told)[:80] or 'run'}-{digest[:8]}"
