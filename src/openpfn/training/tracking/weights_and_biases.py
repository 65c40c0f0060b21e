"""`WandbLogger`: runs and checkpoints at Weights & Biases."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpfn import checkpoint
from openpfn.training.tracking.base import (
    CheckpointRecord,
    RunRecord,
    State,
    no_such_step,
    only_one,
    resolve_project,
)

FILE = "checkpoint.safetensors"
EXIT_CODES = {"finished": 0, "stopped": 255, "failed": 1}


class WandbLogger:
    """Runs, their figures and their checkpoints at W&B, by the package `wandb`.

    `project` and `entity` are where runs are looked for; None takes WANDB_PROJECT and WANDB_ENTITY.
    `mode` is "online", "offline" (files for `wandb sync`) or "disabled"; None takes WANDB_MODE,
    else W&B's own settings.
    Each checkpoint is an artifact of type "model" called `checkpoint-{run_id}-step-{step}`, with
    the configurations in its metadata. `api` takes the place of `wandb.Api()`.

    Raises ImportError where `wandb` is not installed.
    """

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        mode: str | None = None,
        api: Any = None,
    ) -> None:
        self.wandb = import_wandb()
        self.project, self.entity, self.mode = project, entity, wandb_mode(mode)
        self._api = api
        self._running: dict[str, Any] = {}

    @property
    def api(self) -> Any:
        """W&B's public interface, which reads what was recorded; it needs the network and an
        account."""
        if self._api is None:
            try:
                self._api = self.wandb.Api()
            except self.wandb.errors.Error as error:
                hint = (
                    "Log in with `wandb login`, or look in the registry on disk with"
                    " tracker='disk'."
                )
                raise ConnectionError(f"W&B gives no access ({error}). {hint}") from error
        return self._api

    def start_run(self, run: RunRecord, resumed: bool = False) -> RunRecord:
        started = self.wandb.init(
            id=run.id,
            name=run.name or None,
            project=run.project,
            entity=run.entity,
            tags=list(run.tags) or None,
            notes=run.notes,
            config={
                "model_config": run.model_config,
                "training_config": run.training_config,
                "data_config": run.data_config,
            },
            mode=self.mode,
            dir=os.environ.get("WANDB_DIR")
            or os.getcwd(),  # the client remembers where the process was when its first run began
            resume="allow" if resumed else None,
            reinit="create_new",  # a second run in one notebook is a run of its own
        )
        self._running[run.id] = started
        told = {
            "name": started.name or run.name or run.id,
            "url": started.url,
            "entity": started.entity or run.entity,
        }
        return RunRecord(**{**vars(run), **told})

    def log_metrics(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        self._running[run_id].log(dict(metrics), step=step)

    def log_checkpoint(self, run: RunRecord, step: int, path: Path) -> None:
        artifact = self.wandb.Artifact(
            CheckpointRecord(run.id, step).name,
            type="model",
            metadata=artifact_metadata(run, step, path),
        )
        artifact.add_file(
            str(path), name=FILE
        )  # copied now: the file may be replaced while W&B sends it
        self._running[run.id].log_artifact(artifact)

    def flush(self) -> None:
        """W&B's own process has the figures as soon as they are told."""

    def finish_run(self, run_id: str, state: State) -> None:
        self._running.pop(run_id).finish(exit_code=EXIT_CODES[state])

    def runs(
        self, project: str | None = None, entity: str | None = None, tags: Sequence[str] = ()
    ) -> list[RunRecord]:
        filters = {"tags": {"$in": list(tags)}} if tags else None
        found = self._asked(
            lambda: [
                record_of(run)
                for run in self.api.runs(self._place(project, entity), filters, order="-created_at")
            ]
        )
        return [run for run in found if set(tags) <= set(run.tags)]

    def run(
        self, identifier: str, project: str | None = None, entity: str | None = None
    ) -> RunRecord:
        """Return the run with this id, or the only one of this name; also "entity/project/id", as
        W&B's pages show it."""
        place, _, run_id = identifier.rpartition("/")
        place = place or self._place(project, entity)
        try:
            return record_of(self.api.run(f"{place}/{run_id}"))
        except (
            self.wandb.errors.CommError,
            ValueError,
        ):  # what W&B raises for an id that is not there
            named = self._asked(
                lambda: list(self.api.runs(place, {"display_name": run_id}, order="-created_at"))
            )
            return only_one(
                [record_of(run) for run in named if run.name == run_id],
                identifier,
                f"project {place!r} at W&B",
            )

    def checkpoints(self, run: RunRecord) -> list[CheckpointRecord]:
        artifacts = self._asked(lambda: list(self.api.run(self._path(run)).logged_artifacts()))
        pattern = re.compile(rf"checkpoint-{re.escape(run.id)}-step-(\d+)(:v\d+)?")
        found = ((pattern.fullmatch(artifact.name), artifact) for artifact in artifacts)
        steps = {
            int(match[1]): str(artifact.created_at) for match, artifact in found if match
        }  # the last version of each counts
        return [CheckpointRecord(run.id, step, steps[step]) for step in sorted(steps)]

    def fetch(self, run: RunRecord, step: int) -> Path:
        known = self.checkpoints(run)
        if step not in [one.step for one in known]:
            raise no_such_step(run, step, known, self.described(run.project, run.entity))
        name = CheckpointRecord(run.id, step).name
        artifact = self._asked(
            lambda: self.api.artifact(
                f"{self._path(run).rpartition('/')[0]}/{name}:latest", type="model"
            )
        )
        folder = (
            cache_folder() / (run.entity or "default") / run.project / f"{name}-{artifact.version}"
        )
        return Path(artifact.download(root=str(folder))) / FILE

    def described(self, project: str | None = None, entity: str | None = None) -> str:
        """Return what an error calls the place where runs of a project are looked for."""
        return f"project {self._place(project, entity)!r} at W&B"

    def _place(self, project: str | None, entity: str | None) -> str:
        project, entity = (
            resolve_project(project or self.project),
            entity or self.entity or os.environ.get("WANDB_ENTITY"),
        )
        return f"{entity}/{project}" if entity else project

    def _path(self, run: RunRecord) -> str:
        return f"{self._place(run.project, run.entity)}/{run.id}"

    def _asked(self, question: Any) -> Any:
        try:
            return question()
        except (self.wandb.errors.CommError, ValueError) as error:
            raise LookupError(
                f"W&B does not answer as wanted: {error}. Check project and entity, or use"
                " tracker='disk'."
            ) from error


def record_of(run: Any) -> RunRecord:
    """Return a run of W&B's public interface as ours.

    One that something else recorded has empty configurations.
    """
    parts = {
        name: run.config.get(name) or {}
        for name in ("model_config", "training_config", "data_config")
    }
    tags = tuple(run.tags or ())
    notes = getattr(run, "notes", None)
    return RunRecord(
        run.id,
        run.name,
        run.project,
        run.entity,
        run.url,
        run.state,
        str(run.created_at),
        tags,
        notes,
        **parts,
    )


def artifact_metadata(run: RunRecord, step: int, path: Path) -> dict[str, Any]:
    """Return what an artifact tells of its checkpoint: step, run and the full configurations."""
    header = checkpoint.read_header(path)
    told = {
        "step": step,
        "run_id": run.id,
        "run_name": run.name,
        "run_url": run.url,
        "model": header.model,
    }
    configs = {
        "model_config": header.model_config,
        "training_config": header.training_config,
        "data_config": run.data_config,
    }
    return told | configs


def wandb_mode(mode: str | None) -> str:
    """Return the mode that a run has: `mode`, else WANDB_MODE, else what `wandb offline` and the
    like have set for this folder or user, else "online"; "dryrun" is "offline"."""
    chosen = mode or os.environ.get("WANDB_MODE") or _mode_in_settings_files()
    return {"dryrun": "offline", "run": "online"}.get(chosen, chosen)


def _mode_in_settings_files() -> str:
    settings = import_wandb().Settings()
    if hasattr(settings, "update_from_system_settings"):
        settings.update_from_system_settings()
    return str(settings.mode)


def cache_folder() -> Path:
    """Return where checkpoints from W&B are kept: openpfn/wandb in XDG_CACHE_HOME, or in
    ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openpfn" / "wandb"


def import_wandb() -> Any:
    """Return the package `wandb`. Raises ImportError that names the extra."""
    try:
        import wandb
    except ImportError as error:
        raise ImportError(
            "tracking with W&B needs the package wandb: pip install 'openpfn[wandb]', or leave out"
            " use_wandb."
        ) from error
    return wandb
