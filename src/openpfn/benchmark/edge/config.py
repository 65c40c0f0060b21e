"""Configuration of `openpfn benchmark edge`: which networks and peers, on which tables, on which
cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.configs.checks import check_least
from openpfn.export.options import BACKENDS, Backend

METRICS = ("log_loss", "accuracy", "calibration_error", "roc_auc")
RENAMED = {"--features": "--max-features", "--train": "--rows", "--test": "--max-query"}
"""Options by the names that TinyPFN's benchmark gives them."""


@dataclass(frozen=True)
class EdgeConfig:
    """Which networks and peers, on which tables, and how large the tables may be that a device
    sees."""

    checkpoints: tuple[str, ...] = ("tiny",)
    """Checkpoints' paths, runs' folders or shipped names. The first one is the measure of bytes."""
    backends: tuple[Backend, ...] = BACKENDS
    """Backends: each checkpoint is exported with those that carry it."""
    suite: tuple[str, ...] = ("bundled",)
    """Suites of tables, as in `openpfn benchmark tables`: bundled, a folder with an index.json,
    openml:99."""
    half: Literal["all", "A", "B"] = "all"
    """A for making choices, B for reporting figures: tables are assigned by a hash of their
    family."""
    rows: tuple[int, ...] = (10, 20, 50, 100)
    """Context rows (also --train); a table needs half as many more."""
    max_features: int = 8
    """Most columns (also --features). Of more numeric ones, those that tell the classes of the
    context rows apart best (F statistic)."""
    max_classes: int = 4
    """Tables with more classes are left out."""
    splits: int = 20
    """Splits of each table and number of context rows."""
    max_query: int = 500
    """Query rows at most (also --test): a larger rest is sampled."""
    precision_bytes: Literal[1, 4] = 1
    """Bytes of a weight: methods that are trained on a computer may take as many bytes, flash and
    memory together, as the first checkpoint's library with int8 (1) or f32 (4)."""
    peers: tuple[str, ...] | None = None
    """Peers by name; by default all whose package is installed."""
    cores: tuple[str, ...] = ("cortex-m4f", "rv32imc")
    """Emulated cores on which flash, memory and instructions are counted; one whose toolchain is
    not installed is left out."""
    seed: int = 0
    """Seed of the splits and of the methods' own randomness."""
    out: Path = Path("edge.json")
    """Where the results go, with the machine and the versions, and a report in HTML beside them.
    Cells (a table with a number of context rows) that stand there already, measured with the same
    options, are not measured again."""
    page: Path | None = None
    """Also write them as a Markdown page, such as docs/edge.md: means over tables."""

    def __post_init__(self) -> None:
        check_least(self, max_features=1, max_classes=2, splits=1, max_query=10, seed=0)
        for name in ("checkpoints", "backends", "suite", "rows"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty. Name at least one.")
        if self.matched_backend not in self.backends:
            raise ValueError(
                f"precision_bytes is {self.precision_bytes}, of the backend"
                f" {self.matched_backend}, which is not among backends. Add it."
            )
        if min(self.rows) < 2:
            raise ValueError(f"rows has {min(self.rows)}, must be at least 2.")

    @property
    def matched_backend(self) -> Backend:
        """The backend whose library is the measure of bytes."""
        return "int8" if self.precision_bytes == 1 else "f32"

    def protocol(self, suite: str, rows: int) -> TablesConfig:
        """Return the configuration for the code that chooses and splits tables."""
        return TablesConfig(
            suite=suite,
            context_sizes=(str(rows),),
            splits=self.splits,
            half=self.half,
            max_query=self.max_query,
            seed=self.seed,
            task="classification",
        )
