"""`Plan`: a training in stages, each with tasks, rates and a length of its own, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from openpfn.configs.presets import preset
from openpfn.configs.prior import PriorConfig
from openpfn.configs.tabular import TabularConfig
from openpfn.configs.training import TrainingConfig


@dataclass(frozen=True)
class Stage:
    """One stage of a plan: how long, on which tasks, at which rates."""

    name: str
    """Name of the stage, and of its folder in the run's folder behind the stage's number."""
    training: TrainingConfig
    """How the stage is trained; `num_steps` is its own number of steps."""
    tasks: PriorConfig
    """The tasks of the stage."""
    replay: float = 0.0
    """Share of batches that are drawn like those of the first stage, so that short tasks are not
    forgotten."""

    def __post_init__(self) -> None:
        if not self.name or any(c in self.name for c in "/\\ "):
            raise ValueError(
                f"the name of a stage is {self.name!r}; it names a folder: give letters, digits"
                " and dashes."
            )
        if not 0 <= self.replay < 1:
            raise ValueError(f"replay is {self.replay} in stage {self.name}, must lie in [0, 1).")


@dataclass(frozen=True)
class Plan:
    """A network and the stages of its training."""

    model: TabularConfig
    prior: str
    """Where tasks come from: a file name in `openpfn.priors`, an alias or "module:Class"."""
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("the plan has no stages. Add at least one [[stages]] table.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"the stages are called {', '.join(names)}: give each its own name.")
        for stage in self.stages:
            if stage.tasks.max_classes > self.model.max_classes:
                raise ValueError(
                    f"the tasks of stage {stage.name} have up to {stage.tasks.max_classes} classes,"
                    f" but the network tells {self.model.max_classes} apart. Lower max_classes in"
                    " [tasks] or raise it in [model]."
                )


def read_plan(path: str | Path) -> Plan:
    """Return the plan in the TOML file at `path`.

    The file has `preset`, `prior`, and the tables `[model]`, `[training]` and `[tasks]`, whose
    fields are those of `TabularConfig`, `TrainingConfig` and `PriorConfig`; and one `[[stages]]`
    table per stage: `name`, `replay`, any field of `TrainingConfig`, and a table `tasks`, which
    change what the plan says for all stages. Raises ValueError, naming the file, for unknown
    fields and for values that do not fit.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return _plan(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _plan(content: dict[str, Any]) -> Plan:
    allowed = ("preset", "prior", "model", "training", "tasks", "stages")
    _refuse_unknown(content, allowed, "the plan")
    model = _changed(preset(content.get("preset", "nano")), content.get("model", {}), "[model]")
    training = _changed(TrainingConfig(), content.get("training", {}), "[training]")
    tasks = _changed(PriorConfig(), content.get("tasks", {}), "[tasks]")
    stages = content.get("stages", [])
    if not isinstance(stages, list):
        raise ValueError("stages is a single table; begin each stage with [[stages]].")
    return Plan(
        model,
        content.get("prior", "mixture"),
        tuple(_stage(dict(stage), training, tasks) for stage in stages),
    )


def _stage(table: dict[str, Any], training: TrainingConfig, tasks: PriorConfig) -> Stage:
    name, replay = table.pop("name", ""), table.pop("replay", 0.0)
    where = f"stage {name!r}"
    own_tasks = _changed(tasks, table.pop("tasks", {}), f"the tasks of {where}")
    return Stage(name, _changed(training, table, where), own_tasks, replay)


def _changed(config: Any, values: Mapping[str, Any], where: str) -> Any:
    """`config` with `values` in place of its own; lists become tuples."""
    _refuse_unknown(values, [f.name for f in fields(config)], where)
    return replace(config, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _refuse_unknown(values: Mapping[str, Any], allowed: Any, where: str) -> None:
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        raise ValueError(
            f"{where} has {', '.join(unknown)}, which is not among {', '.join(sorted(allowed))}."
        )
