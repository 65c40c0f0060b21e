"""`train_plan`: a network trained stage after stage, resumable anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs.plan import Plan, Stage
from openpfn.priors.base import TaskPrior, made
from openpfn.training.loop import train
from openpfn.training.ranks import ALONE, Ranks


def train_plan(plan: Plan, folder: str | Path, resume: bool = False, ranks: Ranks = ALONE) -> Any:
    """Return the network that the stages of `plan` leave, trained one after another.

    Each stage is a run in a folder of its own in `folder` (`1-short`, `2-long`, …) and begins with
    the weights of the stage before it. With `resume`, finished stages are left as they are and the
    first unfinished one goes on where it stands; its recorded steps may have been raised in the
    plan, which continues it. Checkpoints record all stages up to theirs. Several `ranks` train
    every stage together. Raises FileExistsError where stages stand in `folder` already and `resume`
    is not set, and as `train` does.
    """
    folder = Path(folder)
    places = [folder / f"{i}-{stage.name}" for i, stage in enumerate(plan.stages, 1)]
    if not resume and (begun := [place for place in places if (place / LATEST).exists()]):
        raise FileExistsError(
            f"{begun[0]} already holds a stage. Continue with resume=True (--resume), or choose"
            " another folder (--out)."
        )
    model: Any = None
    records: list[dict[str, Any]] = []
    for i, (stage, place) in enumerate(zip(plan.stages, places, strict=True)):
        done = steps_done(place)
        if done < stage.training.num_steps:
            config = replace(
                stage.training,
                checkpoint_dir=str(place),
                init_from=str(places[i - 1]) if i else stage.training.init_from,
            )
            model = train(
                stage_prior(plan, stage),
                plan.model,
                config,
                resume_from=place if done else None,
                data_config=_data(plan, stage, records),
                ranks=ranks,
            )
        records.append(_record(stage, place))
    if model is None:
        model = checkpoint.load(places[-1]).model
    return model


LATEST = "latest.safetensors"


def steps_done(place: Path) -> int:
    """How many steps the stage in the folder `place` has been trained; 0 if it has not begun."""
    if not (place / LATEST).exists():
        return 0
    return int(checkpoint.read_header(place).provenance["step"])


def stage_prior(plan: Plan, stage: Stage) -> TaskPrior:
    """The prior of a stage: its own tasks, and, by `replay`, batches of the first stage's."""
    own = made(plan.prior, stage.tasks)
    if not stage.replay:
        return own
    return Replaying(own, made(plan.prior, plan.stages[0].tasks), stage.replay)


class Replaying(TaskPrior):
    """Batches of one prior, and with probability `share` batches of another."""

    def __init__(self, prior: TaskPrior, replayed: TaskPrior, share: float) -> None:
        self.prior, self.replayed, self.share = prior, replayed, share

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        u = float(torch.rand((), generator=generator, device=generator.device))
        return (self.replayed if u < self.share else self.prior).sample(n_tasks, generator)


def _data(plan: Plan, stage: Stage, before: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "prior": plan.prior,
        "config": asdict(stage.tasks),
        "replay": stage.replay,
        "stage": stage.name,
        "stages_before": list(before),
    }


def _record(stage: Stage, place: Path) -> dict[str, Any]:
    provenance: Mapping[str, Any] = checkpoint.read_header(place).provenance
    facts = {name: provenance.get(name) for name in ("step", "tasks", "seconds", "revision")}
    return {"stage": stage.name, **facts, "config": asdict(stage.tasks), "replay": stage.replay}
