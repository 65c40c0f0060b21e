"""Draw figures: the history of training runs (plot history RUN… --out FILE)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from openpfn.plots.history import Run

USAGE = "usage: openpfn plot history RUN… --out FILE"
LABELS = {"step": "step", "seconds": "seconds of training", "tasks": "tasks seen"}


@dataclass(frozen=True)
class HistoryOptions:
    """Draw the loss and accuracy of training runs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or their history.csv."""
    out: Path
    """The figure: a .png, .svg or .pdf file."""
    against: Literal["step", "seconds", "tasks"] = "step"
    """What the horizontal axis counts."""
    log: bool = False
    """Logarithmic horizontal axis."""


def main(argv: list[str]) -> int:
    """Draw the figure that the first argument names."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"{USAGE}\n\n{__doc__}\n\nopenpfn plot history --help tells the options.")
        return 0
    if argv[0] != "history":
        raise ValueError(f"unknown figure {argv[0]!r}. Choose history. {USAGE}")
    draw_history(tyro.cli(HistoryOptions, args=argv[1:], prog="openpfn plot history"))
    return 0


def draw_history(options: HistoryOptions) -> None:
    """Read the histories and write the figure. Raises ValueError when there is none, or two of one
    name."""
    from openpfn.plots.history import history_figure

    if not options.runs:
        raise ValueError(f"no run given. {USAGE}")
    figure = history_figure(
        read_runs(options.runs), options.against, LABELS[options.against], options.log
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out)
    print(f"wrote {options.out}")


def read_runs(paths: tuple[Path, ...]) -> dict[str, Run]:
    """Each run's history by a name: its folder's, or its whole path where two folders share one."""
    import numpy as np

    from openpfn.training.tracking.history import COLUMNS, read_rows

    files = [path / "history.csv" if path.is_dir() else path for path in paths]
    short = [
        (file.parent.resolve().name if file.name == "history.csv" else file.stem) for file in files
    ]
    names = [
        name if short.count(name) == 1 else str(path)
        for name, path in zip(short, paths, strict=True)
    ]
    runs = {}
    for name, file in zip(names, files, strict=True):
        rows = read_rows(file)
        if not rows:
            raise ValueError(
                f"{file} has no row yet: the run has not come to its first log_every steps."
            )
        runs[name] = {
            column: np.array([row.get(column, np.nan) for row in rows], dtype=float)
            for column in COLUMNS
        }
    return runs
