"""Tracking: what a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class TrainingEvent:
    """Something that happened in a run."""

    kind: Literal["step", "log", "eval", "checkpoint"]
    """An optimizer step, a row of the history, an evaluation, or a file written."""
    step: int
    """Optimizer steps done."""
    model: nn.Module
    """The network; at an evaluation or checkpoint with the weights that would be exported."""
    figures: Mapping[str, Any]
    """Figures by name: those of the history's columns that are known."""
    path: Path | None = None
    """The file written, of a checkpoint event."""


def notify(callbacks: Iterable[Any], event: TrainingEvent) -> None:
    """Call each callback: its method `on_<kind>` if it has any method `on_…`, else the callback
    itself."""
    for callback in callbacks:
        if any(hasattr(callback, f"on_{kind}") for kind in ("step", "log", "eval", "checkpoint")):
            method = getattr(callback, f"on_{event.kind}", None)
            if method is not None:
                method(event)
        else:
            callback(event)
