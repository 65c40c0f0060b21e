"""`save` and `load`: a network with its configurations into one file, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from openpfn.checkpoint.fingerprint import content_digest
from openpfn.checkpoint.header import (
    FORMAT,
    TASKS,
    TRAINING,
    Header,
    damaged,
    kind_of,
    names_in,
    opened,
    read_header,
    record_of,
    training_config_of,
)
from openpfn.checkpoint.location import locate, previous_of
from openpfn.configs.training import TrainingConfig
from openpfn.files import flush_to_disk, replacing, unfinished_name
from openpfn.models import PFN


@dataclass(frozen=True)
class Checkpoint:
    """A model with its weights, and the record of how they were made."""

    model: Any
    """The network, on the CPU, in evaluation mode."""
    model_config: Any
    """The configuration that the network was built from."""
    training_config: TrainingConfig | None
    """How it was trained; None if the checkpoint does not say."""
    provenance: dict[str, Any]
    """Versions, seeds, tasks seen, wall time, data: whatever the writer recorded."""
    task_pools: Mapping[str, Tensor] = field(default_factory=dict)
    """The finite pools that the prior drew its tasks from, by name; empty where every task was
    new."""


@dataclass(frozen=True)
class TrainingState:
    """What a run needs beside the usable weights to continue exactly."""

    tensors: Mapping[str, Tensor]
    """Raw weights, optimizer state and random states, by name."""
    counters: Mapping[str, Any]
    """Counters and other plain values, JSON."""


def save(
    path: str | Path,
    model: nn.Module,
    *,
    training_config: TrainingConfig | None = None,
    provenance: Mapping[str, Any] | None = None,
    training_state: TrainingState | None = None,
    task_pools: Mapping[str, Tensor] | None = None,
    keep_previous: bool = False,
) -> Path:
    """Write `model` (with its `.config`) to `path`, atomically: a reader finds the old file or the
    new one, whole.

    `keep_previous` keeps what was at `path` beside it as `NAME.previous.safetensors`.
    """
    path = Path(path)
    config: Any = model.config
    state = {} if training_state is None else training_state.tensors
    parts = {
        prefix: {prefix + name: _portable(tensor) for name, tensor in tensors.items()}
        for prefix, tensors in (
            ("", model.state_dict()),
            (TRAINING, state),
            (TASKS, task_pools or {}),
        )
    }
    record = {
        "format": FORMAT,
        "model": kind_of(config),
        "model_config": asdict(config),
        "training_config": None if training_config is None else asdict(training_config),
        "provenance": dict(provenance or {}),
        "training": None if training_state is None else dict(training_state.counters),
        "sha256": {prefix: content_digest(tensors) for prefix, tensors in parts.items()},
    }
    every = {name: tensor for tensors in parts.values() for name, tensor in tensors.items()}
    with replacing(path) as unfinished:
        unfinished.write_bytes(to_bytes(every, metadata=record_of(record)))
        flush_to_disk(unfinished)
        if keep_previous and path.exists():
            _keep(path)
    flush_to_disk(path.parent)
    return path


def load(source: str | Path, *, model: nn.Module | None = None) -> Checkpoint:
    """Return the model in the checkpoint `source`: a path, a run's folder, or a shipped name
    ("tiny", "nano").

    `model` receives the weights in place of a new network; a model class of your own needs it.
    Raises FileNotFoundError when there is no such file or name, ValueError when it is not a whole
    checkpoint, holds other content than was written to it, or is of a newer format.
    """
    path = locate(source)
    header = read_header(path)
    config = header.config if model is None else None
    weights = _tensors(header, "", header.shapes)
    pools = _tensors(header, TASKS)
    try:
        network: Any = PFN(config) if model is None else model
        network.load_state_dict(weights)
    except RuntimeError as error:
        known = header.config if model is None else getattr(model, "config", "its configuration")
        kind = type(model).__name__ if model is not None else "network"
        raise ValueError(f"{path} does not fit a {kind} with {known}: {error}") from error
    record = training_config_of(header), header.provenance, pools
    return Checkpoint(network.eval(), network.config, *record)


def load_training_state(source: str | Path) -> TrainingState:
    """Return what `training.train` continues from. Raises ValueError if the file holds weights
    only."""
    path = locate(source)
    header = read_header(path)
    if header.training is None:
        raise ValueError(
            f"{path} holds weights only, no training state. Continue from the run's"
            " latest.safetensors, or start a new run from these weights with"
            f" init_from={str(source)!r}."
        )
    return TrainingState(_tensors(header, TRAINING), header.training)


def _tensors(header: Header, prefix: str, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Return the tensors in a file whose names begin with `prefix`, without it, once they are known
    to be those that were written."""
    with opened(header.path) as file:
        if names is None:
            names = [name for name in names_in(file) if name.startswith(prefix)]
        tensors = {name: file.get_tensor(name) for name in names}
    if header.digests and header.digests.get(prefix) != content_digest(tensors):
        what = {"": "its weights", TRAINING: "the state of its run", TASKS: "its pools of tasks"}
        raise damaged(header.path, f"{what[prefix]} are not what was written (another SHA-256)")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _portable(tensor: Tensor) -> Tensor:
    # a copy on the CPU of its own: tied weights may not share memory in the file
    return tensor.detach().to("cpu", copy=True).contiguous()


def _keep(path: Path) -> None:
    """Give the file at `path` a second name, so that `path` itself never goes missing."""
    link = unfinished_name(path, "link")
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        return
    os.replace(link, previous_of(path))
