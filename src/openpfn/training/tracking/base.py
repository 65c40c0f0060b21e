"""`Tracker`: where runs are recorded, and where they and their checkpoints are found again."""

from __future__ import annotations

import json
import os
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from openpfn.checkpoint import plain

DEFAULT_PROJECT = "openpfn"
"""The project of runs that name none."""

State = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. The configurations are plain JSON."""

    id: str
    """Unique in its tracker; also in the names of its checkpoints."""
    name: str = ""
    """The name that a person gave it, which need not be unique."""
    project: str = DEFAULT_PROJECT
    entity: str | None = None
    """User or team that owns the project, where there are several."""
    url: str | None = None
    """Where the run is shown."""
    state: str = "running"
    """running, finished, stopped (by a signal) or failed; W&B also says crashed or killed."""
    created_at: str = ""
    """ISO 8601, UTC."""
    tags: tuple[str, ...] = ()
    notes: str | None = None
    model_config: Mapping[str, Any] = field(default_factory=dict)
    training_config: Mapping[str, Any] = field(default_factory=dict)
    data_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointRecord:
    """One kept step of a run."""

    run_id: str
    step: int
    created_at: str = ""

    @property
    def name(self) -> str:
        """`checkpoint-{run_id}-step-{step}`."""
        return f"checkpoint-{self.run_id}-step-{self.step}"


@runtime_checkable
class Tracker(Protocol):
    """Records runs, and finds them again. `openpfn.training` writes; `openpfn.wandb` reads."""

    def start_run(self, run: RunRecord, resumed: bool) -> RunRecord:
        """Begin to record `run`, or go on if it is `resumed`; gives it as recorded, with a new id
        where its own is taken."""
        ...

    def log_metrics(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record figures of one step, by name. A step told again replaces what was told before."""
        ...

    def log_checkpoint(self, run: RunRecord, step: int, path: Path) -> None:
        """Keep a copy of the file `path` as the run's checkpoint of `step`."""
        ...

    def flush(self) -> None:
        """Make sure that the figures so far survive the end of this process."""
        ...

    def finish_run(self, run_id: str, state: State) -> None:
        """No more is told of this run."""
        ...

    def runs(
        self, project: str | None = None, entity: str | None = None, tags: Sequence[str] = ()
    ) -> list[RunRecord]:
        """Return the runs of a project that have all `tags`, newest first."""
        ...

    def run(
        self, identifier: str, project: str | None = None, entity: str | None = None
    ) -> RunRecord:
        """Return the run with this id, or the only one of this name.

        Raises LookupError if there is none or more.
        """
        ...

    def checkpoints(self, run: RunRecord) -> list[CheckpointRecord]:
        """Return the kept steps of a run, in their order."""
        ...

    def fetch(self, run: RunRecord, step: int) -> Path:
        """Return a file with the run's checkpoint of exactly this step.

        Raises LookupError if there is none.
        """
        ...


def new_run_id() -> str:
    """Eight letters and digits at random, as W&B's ids."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def resolve_project(project: str | None) -> str:
    """`project`, else WANDB_PROJECT, else "openpfn"."""
    return project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT


def plain_config(config: Any) -> dict[str, Any]:
    """Return a configuration of any kind as plain JSON: a dataclass or mapping by its fields, None
    as {}, the rest under "value"."""
    values = json.loads(json.dumps(config, default=plain))
    if values is None:
        return {}
    return values if isinstance(values, dict) else {"value": values}


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def only_one(found: Sequence[RunRecord], identifier: str, where: str) -> RunRecord:
    """Return the one run found by its name.

    Raises LookupError with what to do about none or several.
    """
    if len(found) == 1:
        return found[0]
    if not found:
        raise LookupError(
            f"no run with id or name {identifier!r} in {where}. list_available_models tells what is"
            " there."
        )
    ids = ", ".join(run.id for run in found[:8])
    raise LookupError(
        f"{len(found)} runs are called {identifier!r} in {where}: {ids}. Give the id of one."
    )


def no_such_step(
    run: RunRecord, step: int | str | None, known: Sequence[CheckpointRecord], where: str
) -> LookupError:
    """Return the error that tells which steps there are of a run in `where`, a project of a
    tracker."""
    if not known:
        return LookupError(f"run {run.id} ({run.name}) in {where} has no checkpoint.")
    steps = ", ".join(str(checkpoint.step) for checkpoint in known[-12:])
    dots = "…, " if len(known) > 12 else ""
    return LookupError(
        f"run {run.id} ({run.name}) in {where} has no checkpoint of step {step}. Steps kept:"
        f" {dots}{steps}."
    )
