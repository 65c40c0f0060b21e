"""List tracked runs and their checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass(frozen=True)
class RunsOptions:
    """List tracked runs, or the checkpoints of one with the files that hold them."""

    run: Annotated[str | None, tyro.conf.Positional] = None
    """Id or name of a run, to list its checkpoints."""
    registry: Path | None = None
    """Folder of the registry; OPENPFN_REGISTRY or ./openpfn-runs by default."""
    project: str | None = None
    """Runs of this project only."""
    tags: tuple[str, ...] = ()
    """Runs with all these tags only."""
    tracker: Literal["disk", "wandb"] = "disk"
    """The registry on disk, or Weights & Biases."""
    step: int | None = None
    """Of a run: print the path of the file with exactly this step, which W&B sends first."""


def main(argv: list[str]) -> int:
    """Print one line per run, or per checkpoint of a run."""
    options = tyro.cli(RunsOptions, args=argv, prog="openpfn runs")
    if options.step is not None and options.run is None:
        raise ValueError("--step needs a run: openpfn runs RUN --step STEP.")
    from openpfn.training.tracking.pretrained import chosen_tracker
    from openpfn.training.tracking.registry import RunRegistry

    tracker: Any = (
        RunRegistry(options.registry)
        if options.tracker == "disk"
        else chosen_tracker(options.tracker)
    )
    try:
        print("\n".join(lines(tracker, options)))
    except LookupError as error:
        raise ValueError(error.args[0]) from error
    return 0


def lines(tracker: Any, options: RunsOptions) -> Iterable[str]:
    """The lines that the options ask for."""
    if options.run is None:
        found = tracker.runs(options.project, None, options.tags)
        yield from table(
            ("id", "name", "project", "state", "created (UTC)", "checkpoints", "tags"),
            [
                (
                    r.id,
                    r.name,
                    r.project,
                    r.state,
                    r.created_at[:19],
                    steps_of(tracker, r),
                    " ".join(r.tags),
                )
                for r in found
            ],
        )
        return
    run = tracker.run(options.run, options.project)
    if options.step is not None:
        yield str(tracker.fetch(run, options.step))
        return
    yield from table(
        ("step", "name", "created (UTC)"),
        [(str(c.step), c.name, c.created_at[:19]) for c in tracker.checkpoints(run)],
    )


def steps_of(tracker: Any, run: Any) -> str:
    """Return how many checkpoints a run has, and the steps of the first and the last."""
    steps = [one.step for one in tracker.checkpoints(run)]
    return f"{len(steps)} ({steps[0]}–{steps[-1]})" if steps else "none"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Columns as wide as their widest entry.

    >>> list(table(("a", "b"), [("1", "22"), ("333", "")]))
    ['a    b', '1    22', '333']
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        yield "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
