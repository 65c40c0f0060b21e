"""`ProgressLine`: how a run is going, on one live line of a terminal or in plain lines of a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any


class ProgressLine:
    """Step, loss, tasks per second and time left. A terminal gets a live line, anything else one
    line per history row."""

    def __init__(self, done: int, total: int, shown: bool = True) -> None:
        self.done, self.total = done, total
        self.began = time.perf_counter()
        self.first = done
        self.live: Any = None
        if shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.completed}/{task.total}"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            self.live = Progress(*columns, console=Console(stderr=True))
            self.task = self.live.add_task("", total=total, completed=done)
            self.live.start()
        self.lines = shown and self.live is None

    def say(self, words: str) -> None:
        """Tell `words` once, above the live line or as a line of the log."""
        if self.live is not None:
            self.live.console.print(words)
        elif self.lines:
            print(words, file=sys.stderr, flush=True)

    def step(self, done: int) -> None:
        self.done = done
        if self.live is not None:
            self.live.update(self.task, completed=done)

    def row(self, row: Mapping[str, float]) -> None:
        text = describe(row)
        if self.live is not None:
            self.live.update(self.task, description=text)
        elif self.lines:
            left = (
                (time.perf_counter() - self.began)
                / max(1, self.done - self.first)
                * (self.total - self.done)
            )
            print(
                f"step {self.done}/{self.total}  {text}  {clock(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()


def describe(row: Mapping[str, float]) -> str:
    """Return the figures of a history row that a reader wants while waiting."""
    parts = [f"loss {row['loss']:.4f}", f"{row['tasks_per_second']:.0f} tasks/s"]
    if not math.isnan(row.get("eval_loss", math.nan)):
        parts.append(f"eval loss {row['eval_loss']:.4f}")
    if not math.isnan(row.get("eval_accuracy", math.nan)):
        parts.append(f"accuracy {row['eval_accuracy']:.3f}")
    if row.get("nan_losses"):
        parts.append(f"{row['nan_losses']:.0f} losses not finite")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock(3725)
    '1:02:05'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
