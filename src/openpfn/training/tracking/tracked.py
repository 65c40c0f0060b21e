"""`TrackedRun`: one run as its trackers are told of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openpfn.configs.training import TrainingConfig
from openpfn.training.tracking.base import RunRecord, State, Tracker, plain_config, resolve_project
from openpfn.training.tracking.registry import DEFAULT_FOLDER, RunRegistry
from openpfn.training.tracking.weights_and_biases import WandbLogger, wandb_mode

TOLD_EVERY_STEP = ("loss",)


def trackers_of(config: TrainingConfig) -> list[Tracker]:
    """Return the trackers that the configuration asks for.

    W&B with `use_wandb`. The registry on disk in `registry` or OPENPFN_REGISTRY where either is
    set, else in ./openpfn-runs for a run that has a name but no W&B, or whose W&B is offline and
    could not give anything back. No tracker otherwise.
    """
    folder = config.registry or os.environ.get("OPENPFN_REGISTRY")
    offline = config.use_wandb and wandb_mode(config.wandb_mode) == "offline"
    if folder is None and (offline or (config.wandb_run_name and not config.use_wandb)):
        folder = DEFAULT_FOLDER
    found: list[Tracker] = [] if folder is None else [RunRegistry(folder)]
    return [*found, WandbLogger(mode=config.wandb_mode)] if config.use_wandb else found


@dataclass
class TrackedRun:
    """A run and its trackers, of which there may be none."""

    records: Sequence[tuple[Tracker, RunRecord]]
    """Each tracker with the run as it is recorded there; the id is the same in all."""
    keeps_checkpoints: bool
    resumed_from: str | None = None
    """The id of the run that this one continues in another folder."""

    @classmethod
    def begin(
        cls,
        trackers: Sequence[Tracker],
        run_id: str,
        config: TrainingConfig,
        model_config: Any,
        data: Any,
        before: Mapping[str, Any] | None,
        same: bool,
    ) -> TrackedRun:
        """Start to record a run on `data`. `before` is what a resumed checkpoint says of its run,
        `same` that it goes on in its place.

        A run that does not go on is called `run_id`.
        """
        known = before or {}
        goes_on = same and "id" in known
        run = RunRecord(
            known["id"] if goes_on else run_id,
            config.wandb_run_name or (known.get("name", "") if goes_on else ""),
            resolve_project(config.wandb_project),
            config.wandb_entity or os.environ.get("WANDB_ENTITY"),
            tags=tuple(config.wandb_tags or ()),
            notes=config.wandb_notes,
            model_config=plain_config(model_config),
            training_config=plain_config(asdict(config)),
            data_config=plain_config(data),
        )
        records = []
        for tracker in trackers:
            record = tracker.start_run(run, resumed=goes_on)
            records.append((tracker, record))
            run = replace(record, url=None)
        return cls(records, config.wandb_log_model, None if goes_on else known.get("id"))

    def __bool__(self) -> bool:
        return bool(self.records)

    @property
    def keeps_steps(self) -> bool:
        """Whether a tracker keeps the checkpoints of the run."""
        return bool(self.records) and self.keeps_checkpoints

    def provenance(self) -> dict[str, Any]:
        """Return what a checkpoint says of its run; nothing of one that is not tracked."""
        if not self.records:
            return {}
        run = self.records[-1][1]
        told = {
            "id": run.id,
            "name": run.name,
            "project": run.project,
            "entity": run.entity,
            "url": run.url,
        }
        return {"run": told | ({"resumed_from": self.resumed_from} if self.resumed_from else {})}

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Tell the figures of one step."""
        self._log(step, {name: figures[name] for name in TOLD_EVERY_STEP})

    def row(self, step: int, row: Mapping[str, float]) -> None:
        """Tell a row of the history, whose means over steps are called `mean_…`."""
        told = {
            f"mean_{name}" if name in ("loss", "grad_norm") else name: value
            for name, value in row.items()
        }
        self._log(step, {name: value for name, value in told.items() if name != "step"})

    def checkpoint(self, step: int, path: Path | None) -> None:
        """Keep a file as the checkpoint of `step`."""
        for tracker, run in self.records if self.keeps_checkpoints and path is not None else ():
            tracker.log_checkpoint(run, step, Path(path or ""))

    def flush(self) -> None:
        for tracker, _ in self.records:
            tracker.flush()

    def finish(self, error: type[BaseException] | None) -> None:
        """The run has ended, well or by an error."""
        interrupted = error is not None and issubclass(error, KeyboardInterrupt)
        state: State = "finished" if error is None else "stopped" if interrupted else "failed"
        for tracker, run in self.records:
            tracker.finish_run(run.id, state)

    def _log(self, step: int, figures: Mapping[str, float]) -> None:
        known = {
            name: float(value) for name, value in figures.items() if value == value
        }  # NaN stands for: has no meaning here
        for tracker, run in self.records:
            tracker.log_metrics(run.id, step, known)
