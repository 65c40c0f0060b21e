"""Options of `openpfn benchmark tables` and `openpfn benchmark report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openpfn.configs.checks import check_least

HALF = "half"
"""A context of half the table's rows."""


@dataclass(frozen=True)
class TablesConfig:
    """Select tables and methods, and set the protocol that all methods share."""

    suite: str = "bundled"
    """bundled (inside scikit-learn), a folder with an index.json, openml:99 (a suite),
    openml:data/31,61, openml:task/3,12."""
    methods: tuple[str, ...] = ("default",)
    """default (shipped checkpoints and every installed peer), names of peers, nano, pfn:PATH,
    tabicl[:PATH], tabpfn:PATH, module:Class. Options of our networks are switched on by name:
    nano+fine_tune, pfn:PATH+calibrate+target_statistics; and off, nano+no_stacking."""
    context_sizes: tuple[str, ...] = ("150",)
    """Numbers of context rows, or half (of the rows, at most max_half)."""
    splits: int = 3
    """Number of random splits of each table."""
    tables: tuple[str, ...] = ()
    """Only the tables of these names."""
    only: tuple[str, ...] = ()
    """Only tables with all these tags: the keys that are true in their entry of the index, such as
    small_pfn, and the words of its tags."""
    without: Path | None = None
    """A JSON file, such as the manifest of the tables that a network was trained on: no table is
    measured whose family it names."""
    task: Literal["all", "classification", "regression"] = "all"
    """Only tables of this task."""
    half: Literal["all", "A", "B"] = "all"
    """A for making choices, B for reporting figures: tables are assigned by a hash of their
    family."""
    tuned: float = 0.0
    """Seconds of random search, scored by cross-validation on the context rows, that each method
    gets before it is fitted; 0 for none."""
    max_query: int = 2000
    """Query rows at most: a larger rest is sampled."""
    max_half: int = 1000
    """Context rows at most where the context is half the table."""
    seed: int = 0
    """Decides the splits and every method's own randomness."""
    out: Path = Path("benchmark")
    """Folder of results.csv and report.html. A run with the same folder goes on where the last one
    stopped."""
    jobs: int = 1
    """Processes, each of one thread."""
    backend: Literal["processes", "ray", "dask"] = "processes"
    """Where the jobs run: processes of this machine, or a cluster of Ray or Dask whose machines all
    see OUT (needs the extra openpfn[scale])."""
    address: str | None = None
    """Address of the cluster; without it Ray takes RAY_ADDRESS, and else this machine is one."""
    device: str = "cpu"
    """Device of our networks."""
    retry_failed: bool = False
    """Try again what failed in an earlier run."""
    baseline: Path | None = None
    """An earlier results.csv: the report shows what changed since."""

    def __post_init__(self) -> None:
        for size in self.context_sizes:
            if size != HALF and not (size.isdigit() and int(size) >= 2):
                raise ValueError(
                    f"context_sizes holds {size!r}. Give numbers from 2 on, or {HALF}."
                )
        check_least(self, splits=1, jobs=1, max_query=10, max_half=2, tuned=0, seed=0)
        for name in ("methods", "context_sizes"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty. Name at least one.")


@dataclass(frozen=True)
class ReportConfig:
    """Select the results to show."""

    results: Path = Path("benchmark")
    """A results.csv, or the folder that holds it."""
    out: Path | None = None
    """Path of the page; report.html beside the results if absent."""
    baseline: Path | None = None
    """An earlier results.csv (or its folder): the report shows what changed since."""
    context: str | None = None
    """The context size of the main tables; the most complete one if absent."""
