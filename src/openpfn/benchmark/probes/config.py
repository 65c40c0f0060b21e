"""Options of `openpfn benchmark probes`: which cells of the grid, which methods, how often."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openpfn.configs.checks import check_fields, check_least

ASIDE = ("cells", "methods", "seeds", "out", "page", "jobs", "retry_failed")
"""Options that say which cells are measured and where they go, not how."""


@dataclass(frozen=True)
class ProbesConfig:
    """Select a part of the grid of structures, kinds of columns, widths and context rows."""

    task: Literal["classification", "regression"] = "classification"
    """classification: ROC AUC and log-loss of two classes; regression: R²."""
    methods: tuple[str, ...] = ("default",)
    """default (nano, and CatBoost if it is installed), or words as in `openpfn benchmark tables`:
    nano, pfn:PATH, catboost, module:Class. Logistic (or ridge) regression, extra trees and the
    optimal rule are always measured."""
    structures: tuple[str, ...] = ()
    """Only these structures; all if absent."""
    kinds: tuple[str, ...] = ()
    """Only these kinds of columns, of gaussian, binary, categorical, mixed; all if absent."""
    widths: tuple[int, ...] = (5, 12, 27)
    """Numbers of columns."""
    rows: tuple[int, ...] = (150,)
    """Numbers of context rows, such as 20 50 150 500."""
    cells: tuple[str, ...] = ()
    """Only cells whose name, such as products/gaussian/12/150, matches one of these patterns, such
    as products/*."""
    seeds: int = 3
    """Tables of each cell: a seed decides the columns, the function and the noise, alike for every
    method."""
    query: int = 300
    """Query rows of each table."""
    margin: float = 0.02
    """A cell in which a method is farther behind the better baseline than this counts as one where
    it is behind."""
    out: Path = Path("probes")
    """Folder of results.csv, summary.csv, report.md and the maps. A run with the same folder goes
    on where the last one stopped."""
    page: Path | None = None
    """Also write the report as this Markdown page, such as docs/probes.md."""
    jobs: int = 1
    """Processes, each of one thread."""
    device: str = "cpu"
    """Device of our networks."""
    retry_failed: bool = False
    """Try again what failed in an earlier run."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_least(self, seeds=1, query=10, margin=0, jobs=1)
        for name, least in (("widths", 2), ("rows", 4)):
            values = getattr(self, name)
            if not values or min(values) < least:
                raise ValueError(
                    f"{name} is {values}. Give at least one number, each from {least} on."
                )
        if not self.methods:
            raise ValueError("methods is empty. Name at least one, such as nano.")
