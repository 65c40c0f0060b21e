"""Options of `openpfn benchmark text`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openpfn.benchmark.tables.config import HALF, TablesConfig


@dataclass(frozen=True)
class TextConfig(TablesConfig):
    """Select tables with free text, and methods that read it; the protocol is that of tables."""

    methods: tuple[str, ...] = ("nano", "skrub", "catboost_text", "boosting_sentences")
    """Our networks, and the peers: skrub's tabular_pipeline; CatBoost, told which columns are
    categories and texts; boosted trees on principal components of a sentence encoder's vectors; or
    any method of the benchmark of tables."""
    context_sizes: tuple[str, ...] = (HALF,)
    """Numbers of context rows, or half (of the rows, at most max_half)."""
    splits: int = 5
    """Number of random splits of each table."""
    only: tuple[str, ...] = ("text_rich",)
    """Only tables with all these tags."""
    out: Path = Path("benchmark-text")
    """Folder of results.csv, report.html and report.md. A run with the same folder goes on where
    the last one stopped."""
