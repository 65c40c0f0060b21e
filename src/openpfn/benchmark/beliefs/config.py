"""Options of `openpfn benchmark beliefs`: what to measure, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openpfn.configs.checks import check_least

NAMES = (
    "resampling_64",
    "resampling_128",
    "resampling_256",
    "least_squares",
    "calibration_tests",
    "coverage",
    "mean",
)
"""Every measurement, in the order of the page."""


@dataclass(frozen=True)
class BeliefsConfig:
    """Select measurements, and how thorough they are."""

    only: tuple[str, ...] = ()
    """Of resampling_64, resampling_128, resampling_256 (with cached keys and values against the
    whole sequence anew), least_squares (against the closed-form posterior), calibration_tests (of
    right and wrong posteriors), coverage (of a network that is trained for it), mean (of shares in
    real tables, against the Bayesian bootstrap); all by default."""
    minutes: float = 15.0
    """Processor minutes of the training for coverage, tasks drawn included."""
    rollouts: int = 256
    """Rollouts that are timed at once."""
    repeats: int = 3
    """Repeats of what is timed; the sides of a ratio take turns, and the median of the ratios is
    told."""
    n_tasks: int = 1000
    """Data sets of the prior for coverage and for each test of calibration."""
    n_draws: int = 200
    """Draws of a posterior for coverage."""
    n_tests: int = 100
    """Tests of calibration of each kind."""
    n_contexts: int = 60
    """Contexts of 100 rows from each real table."""
    checkpoint: str = "nano"
    """Checkpoint that starts the martingale posteriors of real tables."""
    seed: int = 0
    """Decides weights, tasks and draws."""
    out: Path = Path("beliefs.json")
    """Results file, with the machine and the versions. Rows of an earlier call with the same
    options stay, unless they are measured again."""
    page: Path | None = None
    """Also write them as a Markdown page."""

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in NAMES:
                raise ValueError(f"only holds {name!r}. Choose of {', '.join(NAMES)}.")
        check_least(self, rollouts=1, repeats=1, n_tasks=20, n_draws=20, n_tests=1, n_contexts=2)
        if not self.minutes > 0:
            raise ValueError(f"minutes is {self.minutes}, must be positive.")
