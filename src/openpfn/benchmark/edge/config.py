"""Configuration of `openpfn benchmark edge`: which networks, on which tables, on which cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.configs.checks import check_least

PEERS = ("logistic", "lda", "naive_bayes", "knn")
"""Methods of scikit-learn that are small enough to be fitted on a device."""
METRICS = ("accuracy", "roc_auc", "log_loss")


@dataclass(frozen=True)
class EdgeConfig:
    """Which networks, on which tables, and how large the tables may be that a device sees."""

    checkpoints: tuple[str, ...] = ("tiny",)
    """Checkpoints' paths, runs' folders or shipped names: each is exported with every backend that
    carries it."""
    suite: tuple[str, ...] = ("bundled",)
    """Suites of tables, as in `openpfn benchmark tables`: bundled, a folder with an index.json,
    openml:99."""
    half: Literal["all", "A", "B"] = "all"
    """A for making choices, B for reporting figures: tables are assigned by a hash of their
    family."""
    rows: int = 50
    """Context rows; a table needs twice as many."""
    max_features: int = 8
    """Of more numeric columns, those that tell the classes of the context rows apart best (F
    statistic)."""
    max_classes: int = 4
    """Tables with more classes are left out."""
    splits: int = 20
    """Splits of each table."""
    max_query: int = 500
    """Query rows at most: a larger rest is sampled."""
    cores: tuple[str, ...] = ("cortex-m4f", "rv32imc")
    """Emulated cores on which flash and instructions are counted; one whose toolchain is not
    installed is left out."""
    seed: int = 0
    """Seed of the splits and of the methods' own randomness."""
    out: Path = Path("edge.json")
    """Where the results go, with the machine and the versions."""
    page: Path | None = None
    """Also write them as a Markdown page, such as docs/edge.md: means over tables."""

    def __post_init__(self) -> None:
        check_least(self, rows=2, max_features=1, max_classes=2, splits=1, max_query=10, seed=0)
        for name in ("checkpoints", "suite"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty. Name at least one.")

    def protocol(self, suite: str) -> TablesConfig:
        """Return the configuration for the code that chooses and splits tables."""
        return TablesConfig(
            suite=suite,
            context_sizes=(str(self.rows),),
            splits=self.splits,
            half=self.half,
            max_query=self.max_query,
            seed=self.seed,
            task="classification",
        )
