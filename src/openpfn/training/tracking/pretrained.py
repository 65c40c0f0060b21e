"""`load_from_pretrained`, `load_by_config`: networks of tracked runs, found by run or by
configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from openpfn import checkpoint
from openpfn.training.state_dicts import CheckpointMetadata, load_checkpoint, metadata_of
from openpfn.training.tracking.base import CheckpointRecord, RunRecord, Tracker, no_such_step
from openpfn.training.tracking.names import RunNameScheme, lookup, same_value
from openpfn.training.tracking.registry import RunRegistry
from openpfn.training.tracking.weights_and_biases import WandbLogger

RUN_PAGE = re.compile(
    r"https?://[^/]+/(?P<entity>[^/]+)/(?P<project>[^/]+)/runs/(?P<id>[^/?#]+)(?:[/?#].*)?"
)
"""A run's page at W&B, of any of its servers."""
Step = int | str | None
"""A number of steps, "latest" or "earliest"; None is the latest."""
Loaded = tuple[Any, dict[str, Any] | None, CheckpointMetadata]


@dataclass(frozen=True)
class ModelInfo:
    """A tracked run that has a checkpoint. The configurations are plain JSON."""

    run_id: str
    run_name: str
    run_url: str | None
    checkpoint_step: int
    """The latest step that was kept."""
    created_at: str
    model_config: dict[str, Any]
    training_config: dict[str, Any]
    data_config: dict[str, Any]


@dataclass(frozen=True)
class CheckpointInfo:
    """A kept step of a tracked run."""

    step: int
    artifact_name: str
    """`checkpoint-{run_id}-step-{step}`."""
    created_at: str


def load_from_pretrained(
    run_identifier: str,
    checkpoint_step: Step = None,
    project: str | None = None,
    entity: str | None = None,
    device: str = "auto",
    load_optimizer: bool = False,
    *,
    tracker: Tracker | str | None = None,
    model: nn.Module | None = None,
) -> Loaded:
    """Return the network of a run, its optimizer's state or None, and what the checkpoint says
    about itself.

    `run_identifier` is the run's id, its name if no other run has it, or the URL of its page at W&B
    (`metadata.wandb_run_url`). `checkpoint_step` is exactly that step, or "latest" (also None) or
    "earliest". `tracker` is "disk", "wandb" or a `Tracker`; None looks in the registry on disk if
    there is one (OPENPFN_REGISTRY, else ./openpfn-runs), and at W&B if there is none. `model`
    receives the weights in place of a new network; a model class of your own needs it.

    Raises LookupError where there is no such run or step, ValueError for a URL of something else.
    """
    place, run = _found(run_identifier, project, entity, tracker)
    return _loaded(place, run, checkpoint_step, device, load_optimizer, model)


def load_by_config(
    scheme: RunNameScheme,
    checkpoint_step: Step = "latest",
    device: str = "auto",
    project: str | None = None,
    entity: str | None = None,
    *,
    tracker: Tracker | str | None = None,
    load_optimizer: bool = False,
    model: nn.Module | None = None,
    **config_filters: Any,
) -> Loaded:
    """Return the network of the newest run whose configurations have the values of
    `config_filters`, with a checkpoint of that step.

    Each filter is a field of `scheme`; where several sections have it, all must match:
    `**{"data.input_dim": 10}` names one. Values are compared with those that the run recorded,
    exactly, not with its name. The rest is as in `load_from_pretrained`.
    """
    if not isinstance(scheme, RunNameScheme):
        raise TypeError(
            f"scheme is a {type(scheme).__name__}; expected a RunNameScheme, which"
            " RunNameScheme.from_templates makes."
        )
    place = chosen_tracker(tracker)
    wanted = filters_by_section(scheme, config_filters)
    matching = [run for run in place.runs(looked_in(project), entity) if matches(run, wanted)]
    for run in matching:
        if _step_of(place.checkpoints(run), checkpoint_step) is not None:
            return _loaded(place, run, checkpoint_step, device, load_optimizer, model)
    told = ", ".join(
        f"{section}.{field} = {value!r}"
        for section, fields in wanted.items()
        for field, value in fields.items()
    )
    without = (
        f" {len(matching)} runs match, but have no checkpoint of step {checkpoint_step}."
        if matching
        else ""
    )
    raise LookupError(
        f"no run with {told or 'a checkpoint'} in {_described(place, project, entity)}.{without}"
        " list_available_models tells what is there."
    )


def list_available_models(
    project: str | None = None,
    tags: Sequence[str] | None = None,
    entity: str | None = None,
    *,
    tracker: Tracker | str | None = None,
) -> list[ModelInfo]:
    """Return the runs that have checkpoints and all `tags`, newest first.

    `tracker` is as in `load_from_pretrained`.
    """
    if isinstance(tags, str):
        raise ValueError(f"tags is {tags!r}, one text. Give a list of them: [{tags!r}].")
    place = chosen_tracker(tracker)
    found = []
    for run in place.runs(looked_in(project), entity, tags or ()):
        kept = place.checkpoints(run)
        if kept:
            configs = (dict(run.model_config), dict(run.training_config), dict(run.data_config))
            found.append(
                ModelInfo(run.id, run.name, run.url, kept[-1].step, run.created_at, *configs)
            )
    return found


def list_checkpoints(
    run_id: str,
    project: str | None = None,
    entity: str | None = None,
    *,
    tracker: Tracker | str | None = None,
) -> list[CheckpointInfo]:
    """Return the kept steps of a run, in their order. `tracker` is as in `load_from_pretrained`."""
    place, run = _found(run_id, project, entity, tracker)
    kept = place.checkpoints(run)
    return [CheckpointInfo(one.step, one.name, one.created_at) for one in kept]


def get_checkpoint_metadata(
    run_identifier: str,
    checkpoint_step: Step = None,
    project: str | None = None,
    entity: str | None = None,
    *,
    tracker: Tracker | str | None = None,
) -> CheckpointMetadata:
    """Return what a checkpoint says about itself, without a network; `task_pools` stay in the file.

    As `load_from_pretrained` else.
    """
    place, run = _found(run_identifier, project, entity, tracker)
    header = checkpoint.read_header(place.fetch(run, _existing_step(place, run, checkpoint_step)))
    config = (
        header.model_config if ":" in header.model else header.config
    )  # a model of your own has its record alone
    found = checkpoint.Checkpoint(
        None, config, checkpoint.training_config_of(header), header.provenance
    )
    return _of_run(metadata_of(found, header.path), run)


def chosen_tracker(tracker: Tracker | str | None) -> Tracker:
    """Return the tracker that is meant: "disk", "wandb", itself; None: the registry on disk if
    there is one, else W&B."""
    if tracker is not None and not isinstance(tracker, str):
        return tracker
    if tracker not in (None, "disk", "wandb"):
        raise ValueError(
            f"tracker is {tracker!r}. Choose 'disk' or 'wandb', or give a Tracker such as"
            " RunRegistry('folder')."
        )
    registry = RunRegistry()
    return (
        registry if tracker == "disk" or (tracker is None and registry.exists()) else WandbLogger()
    )


def looked_in(project: str | None) -> str | None:
    """Return the project to look in: that given, else WANDB_PROJECT; else all of a registry, or
    W&B's default of this package."""
    return project or os.environ.get("WANDB_PROJECT") or None


def filters_by_section(scheme: RunNameScheme, filters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a run must have: the filters in each section that has their field, and what the
    scheme fixes."""
    wanted = {
        section: {name: fixed for name, fixed in part.items() if fixed is not None}
        for section, part in scheme.fields().items()
    }
    for name, value in filters.items():
        first, _, rest = name.partition(".")
        sections = (
            [first]
            if rest and first in scheme.fields()
            else [s for s, part in scheme.fields().items() if name in part]
        )
        field = rest if rest and first in scheme.fields() else name
        if not sections or any(field not in scheme.fields()[section] for section in sections):
            known = (
                ", ".join(
                    f"{section}.{each}"
                    for section, part in scheme.fields().items()
                    for each in part
                )
                or "none"
            )
            raise ValueError(f"{name!r} is no field of the scheme. Its fields: {known}.")
        for section in sections:
            wanted[section][field] = value
    return wanted


def matches(run: RunRecord, wanted: dict[str, dict[str, Any]]) -> bool:
    """Return whether the recorded configurations of a run have these values."""
    configs = {"model": run.model_config, "data": run.data_config, "training": run.training_config}
    try:
        return all(
            same_value(lookup(configs[s], name), value)
            for s, part in wanted.items()
            for name, value in part.items()
        )
    except KeyError:
        return False


def _found(
    identifier: str, project: str | None, entity: str | None, tracker: Tracker | str | None
) -> tuple[Tracker, RunRecord]:
    """Return the run, and where it is kept.

    A page at W&B tells project and owner, and that W&B has the run.
    """
    if "://" in str(identifier):
        page = RUN_PAGE.fullmatch(identifier)
        if page is None:
            raise ValueError(
                f"{identifier!r} is no run URL (https://wandb.ai/ENTITY/PROJECT/runs/ID). Give one,"
                " or the run's id or name."
            )
        identifier, project, entity = page["id"], page["project"], page["entity"]
        tracker = "wandb" if tracker is None else tracker
    place = chosen_tracker(tracker)
    return place, place.run(identifier, looked_in(project), entity)


def _loaded(
    tracker: Tracker,
    run: RunRecord,
    step: Step,
    device: str,
    load_optimizer: bool,
    model: nn.Module | None,
) -> Loaded:
    path = tracker.fetch(run, _existing_step(tracker, run, step))
    network, optimizer, metadata = load_checkpoint(path, device, load_optimizer, model=model)
    return network, optimizer, _of_run(metadata, run)


def _of_run(metadata: CheckpointMetadata, run: RunRecord) -> CheckpointMetadata:
    page = (
        metadata.run_url if (metadata.run_url or "").startswith("http") else run.url
    )  # a registry may have been moved since
    return replace(metadata, run_id=run.id, run_name=run.name, run_url=page)


def _existing_step(tracker: Tracker, run: RunRecord, step: Step) -> int:
    kept = tracker.checkpoints(run)
    found = _step_of(kept, step)
    if found is None:
        raise no_such_step(run, step, kept, _described(tracker, run.project, run.entity))
    return found


def _step_of(kept: Sequence[CheckpointRecord], step: Step) -> int | None:
    if isinstance(step, int):
        return step if step in [one.step for one in kept] else None
    if step not in (None, "latest", "earliest"):
        raise ValueError(
            f"checkpoint_step is {step!r}. Give a number of steps, 'latest' or 'earliest'."
        )
    return kept[0 if step == "earliest" else -1].step if kept else None


def _described(tracker: Tracker, project: str | None, entity: str | None) -> str:
    """Return what an error calls the place where a tracker looked for runs of a project."""
    describe = getattr(tracker, "described", None)
    if describe is not None:
        return describe(looked_in(project), entity)
    return f"project {looked_in(project) or 'any'!r} of a {type(tracker).__name__}"
