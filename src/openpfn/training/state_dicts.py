"""`save_checkpoint` and `load_checkpoint`: checkpoints of a training loop of your own, as
`state_dict`s go in and come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openpfn import checkpoint
from openpfn.configs.training import TrainingConfig
from openpfn.device import pick_device
from openpfn.models import PFN
from openpfn.training.provenance import describe_environment


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint says about itself."""

    path: Path
    """The file."""
    step: int | None
    """Optimizer steps done."""
    model_config: Any
    """The configuration of the network."""
    training_config: TrainingConfig | None
    """How it was trained; None if the checkpoint does not say."""
    data_config: Any = None
    """What it was trained on, plain JSON."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Versions, seeds, wall time: whatever the writer recorded."""
    task_pools: Mapping[str, Tensor] = field(default_factory=dict)
    """The finite pools that tasks were drawn from, by name."""
    run_id: str | None = None
    """The run that it is of; None if that was not tracked."""
    run_name: str | None = None
    run_url: str | None = None
    """Where the run is shown: a page at W&B, or the folder of a registry."""

    @property
    def wandb_run_url(self) -> str | None:
        """`run_url`, as it is called where all runs are at W&B."""
        return self.run_url


def save_checkpoint(
    checkpoint_path: str | Path,
    step: int,
    model_state: Mapping[str, Tensor],
    model_config: Any,
    training_config: TrainingConfig | None = None,
    optimizer_state: Mapping[str, Any] | None = None,
    data_config: Any = None,
    task_pools: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a `state_dict` with its configurations to `checkpoint_path`: a safetensors file,
    whatever its ending; no pickle.

    A file that stands there is replaced at once, whole. `optimizer_state` is the `state_dict()` of
    one of torch's optimizers. Raises ValueError if `model_state` does not fit the network of
    `model_config`.
    """
    if not isinstance(step, Integral):
        raise TypeError(f"step is {step!r}, expected a whole number of optimizer steps.")
    if not isinstance(model_state, Mapping):
        raise TypeError(
            f"model_state is a {type(model_state).__name__}, expected a state_dict:"
            " model.state_dict()."
        )
    model = PFN(model_config)
    try:
        model.load_state_dict(model_state)
    except RuntimeError as error:
        raise ValueError(
            f"model_state does not fit a {type(model).__name__} with {model_config}: {error}"
        ) from error
    state = None if optimizer_state is None else _portable(optimizer_state)
    provenance = describe_environment(torch.device("cpu")) | {"step": step, "data": data_config}
    record = {
        "training_config": training_config,
        "provenance": provenance,
        "training_state": state,
        "task_pools": task_pools,
    }
    return checkpoint.save(checkpoint_path, model, **record)


def load_checkpoint(
    checkpoint_path: str | Path,
    device: str = "auto",
    load_optimizer: bool = False,
    *,
    model: nn.Module | None = None,
) -> tuple[Any, dict[str, Any] | None, CheckpointMetadata]:
    """Return the network on `device`, in evaluation mode; the optimizer's `state_dict`, or None;
    and what the file says about itself.

    The path may also be a run's folder or a shipped name. `load_optimizer` gives what
    `save_checkpoint` was given, or, of a run of `train` with AdamW, the state for a
    `torch.optim.AdamW(model.parameters())`; None where the file holds weights alone. `model`
    receives the weights in place of a new network; a model class of your own needs it.
    """
    found = checkpoint.load(checkpoint_path, model=model)
    path = checkpoint.locate(checkpoint_path)
    optimizer = optimizer_state_in(path, found.model) if load_optimizer else None
    return found.model.to(pick_device(device)), optimizer, metadata_of(found, path)


def metadata_of(found: checkpoint.Checkpoint, path: Path) -> CheckpointMetadata:
    """Return what a checkpoint that was loaded from `path` says about itself."""
    told, run = found.provenance, found.provenance.get("run") or {}
    configs = (found.model_config, found.training_config, told.get("data"))
    return CheckpointMetadata(
        path,
        told.get("step"),
        *configs,
        told,
        found.task_pools,
        run.get("id"),
        run.get("name"),
        run.get("url"),
    )


def optimizer_state_in(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Return the optimizer's `state_dict` in a checkpoint; None if it holds weights alone."""
    if checkpoint.read_header(path).training is None:
        return None
    state = checkpoint.load_training_state(path)
    if "state_dict" in state.counters:
        return _unpacked(state)
    kinds = tuple(state.counters["optimizers"])
    if kinds != ("adamw",):
        raise ValueError(
            f"{path} holds the state of {' and '.join(kinds)}, which none of torch's optimizers"
            " takes. Go on with train(resume_from=...), or leave out load_optimizer."
        )
    parameters = dict(model.named_parameters())
    training = checkpoint.training_config_of(checkpoint.read_header(path)) or TrainingConfig()
    blank = torch.optim.AdamW(
        parameters.values(), lr=training.learning_rate, weight_decay=training.weight_decay
    ).state_dict()
    index = {name: number for number, name in enumerate(parameters)}
    for key, value in state.tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "adamw":
            entry, _, name = rest.partition("/")
            blank["state"].setdefault(index[name], {})[entry] = value
    return blank


def _portable(state: Mapping[str, Any]) -> checkpoint.TrainingState:
    """Return an optimizer's `state_dict` as named tensors and plain values."""
    tensors, values = {}, {}
    for number, entries in state["state"].items():
        for entry, value in entries.items():
            place = tensors if isinstance(value, Tensor) else values
            place[f"{number}/{entry}"] = value
    return checkpoint.TrainingState(
        tensors, {"state_dict": {"values": values, "param_groups": state["param_groups"]}}
    )


def _unpacked(state: checkpoint.TrainingState) -> dict[str, Any]:
    record = state.counters["state_dict"]
    entries: dict[int, dict[str, Any]] = {}
    for key, value in {**record["values"], **state.tensors}.items():
        number, _, entry = key.partition("/")
        entries.setdefault(int(number), {})[entry] = value
    groups = [
        {name: tuple(value) if name == "betas" else value for name, value in group.items()}
        for group in record["param_groups"]
    ]
    return {"state": entries, "param_groups": groups}
