"""`RankFigures`: how fast each rank of a run is, in a CSV beside the history."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from openpfn.files import write_whole
from openpfn.training.ranks import Ranks

NAME = "ranks.csv"
COLUMNS = ("step", "rank", "tasks_per_second", "wait_share", "sync_share")
"""Steps done; the rank; its own tasks per second since its last row; the shares of that time in
which it waited for tasks, and for the other ranks."""


class RankFigures:
    """Rows of `COLUMNS` in the file `NAME` of `folder`; rank 0 writes those of all ranks. A single
    rank, and a run without a folder, write none."""

    def __init__(self, folder: Path | None, step: int, ranks: Ranks) -> None:
        self.ranks = ranks
        self._file: IO[str] | None = None
        self._begin()
        if folder is not None and ranks.size > 1:
            path = folder / NAME
            lines = [",".join(COLUMNS), *_lines_up_to(path, step)]
            write_whole(path, "\n".join(lines) + "\n")
            self._file = path.open("a", encoding="utf-8")

    def count(self, n_tasks: int, waited: float) -> None:
        """Count a step of this rank: its tasks, and the seconds that it waited for them."""
        self._tasks += n_tasks
        self._waited += waited

    def row(self, step: int) -> str:
        """Write a row for each rank, and return them as one line; what they count begins anew.
        Every rank calls this at the same steps."""
        seconds = time.perf_counter() - self._began
        synced = self.ranks.contact_seconds - self._contact_before
        own = (self._tasks / seconds, self._waited / seconds, synced / seconds)
        rows = self.ranks.gathered(own)
        self._begin()
        for rank, row in enumerate(rows):
            if self._file is not None:
                self._file.write(",".join([str(step), str(rank), *map(repr, row)]) + "\n")
                self._file.flush()
        return _told(rows)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._began = time.perf_counter()
        self._contact_before = self.ranks.contact_seconds
        self._tasks, self._waited = 0, 0.0


def _told(rows: Sequence[tuple[float, float, float]]) -> str:
    """Return the figures of a few ranks, or the range of those of many."""
    if len(rows) > 4:
        speeds, waits, syncs = zip(*rows, strict=True)
        return (
            f"per rank {min(speeds):.1f} to {max(speeds):.1f} tasks/s, at most {max(waits):.0%}"
            f" waiting for tasks and {max(syncs):.0%} for the others"
        )
    return "  ".join(
        f"rank {rank}: {speed:.1f} tasks/s ({waited:.0%} waiting for tasks, {synced:.0%} for"
        " the others)"
        for rank, (speed, waited, synced) in enumerate(rows)
    )


def _lines_up_to(path: Path, step: int) -> list[str]:
    """Return the whole rows of an earlier start up to `step`."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(line for line in file if line.endswith("\n")))[1:]
    return [",".join(row) for row in rows if len(row) == len(COLUMNS) and int(row[0]) <= step]
