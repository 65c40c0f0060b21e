"""Options of `openpfn benchmark speed`: measurements, repeats, and checkouts of the peers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openpfn.configs.checks import check_least

GROUPS = (
    "gemm",
    "prior",
    "step",
    "stream",
    "fit",
    "predict",
    "fit_predict",
    "first",
    "one_row",
    "state",
    "long",
    "shipped",
    "text",
    "quality",
    "onnx",
)
"""Groups of measurements: matrix products (the floor of everything else), drawing tasks, a training
step, training on a stream of tasks, showing a context, reading query rows of a context shown
before, both in one; with each attention between rows: the first answers, one more answer, the size
of the kept context, very long contexts; the shipped estimators with their defaults; a training step
on a table of text, by what of it is encoded; what equal steps are worth; torch beside
onnxruntime."""
ON_REQUEST = ("quality", "onnx")
"""Groups that take minutes a row: measured where they are named."""


@dataclass(frozen=True)
class SpeedConfig:
    """Select measurements, their repeats, and the checkouts of peers."""

    only: tuple[str, ...] = ()
    """Groups (gemm, prior, step, stream, fit, predict, fit_predict, first, one_row, state, long,
    shipped, text, quality, onnx) or names of measurements; by default all but quality and onnx,
    which train or trace for minutes a row. --list shows them."""
    repeats: int = 5
    """Repeats of each measurement. Those of one group take turns, so that ratios are fair on a
    machine with other work."""
    seconds: float = 1.0
    """A repeat runs its operation again until this much time has passed."""
    threads: int = 2
    """Torch threads of each measurement; priors always run with one."""
    nanotabpfn: Path | None = None
    """A checkout of automl/nanoTabPFN, to time its own training loop and classifier."""
    tinypfn: Path | None = None
    """A checkout of kek0o/TinyPFN, to time its own training loop and classifier."""
    memory_limit: float = 12.0
    """GB of address space per measurement: one that needs more is reported as such, instead of
    taking the machine down."""
    timeout: float = 900.0
    """Seconds that one repeat may take before its measurement is given up."""
    out: Path = Path("speed.json")
    """Results file, with the machine and the versions."""
    page: Path | None = None
    """Also write them as a Markdown page with plots beside it, such as docs/speed.md."""
    list: bool = False
    """Only show what there is to measure."""

    def __post_init__(self) -> None:
        check_least(self, repeats=1, threads=1)
        for name in ("seconds", "memory_limit", "timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive.")
