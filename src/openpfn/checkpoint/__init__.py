"""Checkpoints: one safetensors file with the weights, the configurations and where they come from;
no pickle.

The tensors carry the names of the model's `state_dict`. The metadata key `openpfn` is a JSON object
with `format`, `model` (the name of the configuration's module, "sequence.RegressionConfig" where
that holds several), `model_config`, `training_config` and `provenance`. A training checkpoint also
holds `training` (counters) and tensors whose names begin with `@training/`: everything that a run
needs to continue. Its plain tensors are the usable (averaged) weights. Tensors whose names begin
with `@tasks/` are the finite pools that the prior draws its tasks from.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from openpfn.configs.training import TrainingConfig
from openpfn.files import flush_to_disk, replacing
from openpfn.models import PFN

FORMAT = 1
TRAINING = "@training/"
TASKS = "@tasks/"
SHIPPED = Path(__file__).parents[1] / "weights"


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


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself, read without its weights."""

    path: Path
    model: str
    model_config: dict[str, Any]
    training_config: dict[str, Any] | None
    provenance: dict[str, Any]
    training: dict[str, Any] | None
    """Counters of a training checkpoint; None where the run cannot be continued from this file."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of each weight."""

    @property
    def config(self) -> Any:
        """The model's configuration as an object."""
        return _model_config(self)


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
    record = {
        "format": FORMAT,
        "model": _kind_of(config),
        "model_config": asdict(config),
        "training_config": None if training_config is None else asdict(training_config),
        "provenance": dict(provenance or {}),
        "training": None if training_state is None else dict(training_state.counters),
    }
    tensors = {name: _portable(tensor) for name, tensor in model.state_dict().items()}
    if training_state is not None:
        tensors |= {
            TRAINING + name: _portable(tensor) for name, tensor in training_state.tensors.items()
        }
    tensors |= {TASKS + name: _portable(tensor) for name, tensor in (task_pools or {}).items()}
    with replacing(path) as unfinished:
        unfinished.write_bytes(
            to_bytes(tensors, metadata={"openpfn": json.dumps(record, default=plain)})
        )
        flush_to_disk(unfinished)
        if keep_previous and path.exists():
            _keep(path)
    flush_to_disk(path.parent)
    return path


def load(source: str | Path, *, model: nn.Module | None = None) -> Checkpoint:
    """The model in the checkpoint `source`: a path, a run's folder, or a shipped name ("tiny",
    "nano").

    `model` receives the weights in place of a new network; a model class of your own needs it.
    Raises FileNotFoundError when there is no such file or name, ValueError when it is not a whole
    checkpoint or of a newer format.
    """
    path = locate(source)
    header = read_header(path)
    network: Any = PFN(header.config) if model is None else model
    with _opened(path) as file:
        weights = {name: file.get_tensor(name) for name in header.shapes}
        pools = {
            name.removeprefix(TASKS): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(TASKS)
        }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit a {type(network).__name__} with {network.config}: {error}"
        ) from error
    return Checkpoint(
        network.eval(), network.config, training_config_of(header), header.provenance, pools
    )


def read_header(source: str | Path) -> Header:
    """What the checkpoint `source` says about itself. Raises as `load` does."""
    path = locate(source)
    with _opened(path) as file:
        text = (file.metadata() or {}).get("openpfn")
        if text is None:
            raise ValueError(
                f"{path} is a safetensors file without OpenPFN's record. Give a file written by"
                " openpfn.checkpoint.save."
            )
        record = json.loads(text)
        if record["format"] > FORMAT:
            raise ValueError(
                f"{path} has checkpoint format {record['format']}; this version reads up to"
                f" {FORMAT}. Update openpfn."
            )
        shapes = {
            name: tuple(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
            if not name.startswith("@")
        }
    return Header(
        path,
        record["model"],
        record["model_config"],
        record["training_config"],
        record["provenance"],
        record["training"],
        shapes,
    )


def training_config_of(header: Header) -> TrainingConfig | None:
    """The recorded training configuration; fields that this version does not have are left out."""
    if header.training_config is None:
        return None
    known = {f.name for f in fields(TrainingConfig)}
    return TrainingConfig(
        **{name: value for name, value in header.training_config.items() if name in known}
    )


def load_training_state(source: str | Path) -> TrainingState:
    """What `training.train` continues from. Raises ValueError if the file holds weights only."""
    path = locate(source)
    header = read_header(path)
    if header.training is None:
        raise ValueError(
            f"{path} holds weights only, no training state. Continue from the run's"
            " latest.safetensors, or start a new run from these weights with"
            f" init_from={str(source)!r}."
        )
    with _opened(path) as file:
        tensors = {
            name.removeprefix(TRAINING): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name.startswith(TRAINING)
        }
    return TrainingState(tensors, header.training)


def locate(source: str | Path) -> Path:
    """Return the file that `source` stands for.

    A shipped name means the shipped checkpoint, whatever the current folder holds: write ./nano, or
    give a `Path`, for a file or folder that is called so. Anything else is a file, or a run's
    folder, which stands for its `latest.safetensors`.
    """
    path = Path(source)
    shipped = SHIPPED / f"{source}.safetensors"
    is_name = isinstance(source, str) and path.name == source and not path.suffix
    if is_name and shipped.is_file():
        return shipped
    if path.is_dir():
        path = path / "latest.safetensors"
    if path.is_file():
        return path
    if path.name == str(source) and shipped.is_file():
        return shipped
    names = ", ".join(shipped_names()) or "none"
    runs = sorted(
        Path(source).glob("*/latest.safetensors"),
        key=lambda file: file.stat().st_mtime,
        reverse=True,
    )
    if runs:
        listed = ", ".join(str(file.parent) for file in runs[:8])
        raise FileNotFoundError(
            f"{source} holds a folder for each of {len(runs)} runs. Give the folder of one, newest"
            f" first: {listed}."
        )
    raise FileNotFoundError(
        f"no checkpoint at {path}. Give a file, a run's folder, or a shipped name ({names})."
    )


def shipped_names() -> list[str]:
    """Names of the checkpoints inside the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def _model_config(header: Header) -> Any:
    name, _, class_name = header.model.partition(".")
    if not header.model.replace(".", "", 1).isidentifier():
        raise ValueError(
            f"{header.path} holds a model of your own, {header.model}: build it and pass it as"
            " model=."
        )
    try:
        module = importlib.import_module(f"openpfn.configs.{name}")
    except ModuleNotFoundError:
        raise ValueError(
            f"{header.path} holds a {header.model!r} model, which this version does not know."
            " Update openpfn."
        ) from None
    found = [kind for kind in _configurations(module) if class_name in ("", kind.__name__)]
    if len(found) != 1:
        raise ValueError(
            f"{header.path} holds a {header.model!r} model, which this version does not know."
            " Update openpfn."
        )
    return from_json(found[0], header.model_config, header.path)


def _kind_of(config: Any) -> str:
    """The record's name for the class of `config`: its module in `openpfn.configs`, with the class
    where there are several."""
    kind = type(config)
    name = getattr(kind, "model", None)
    own = (
        [] if name is None else _configurations(importlib.import_module(f"openpfn.configs.{name}"))
    )
    if kind not in own:
        return f"{kind.__module__}:{kind.__qualname__}"
    return str(name) if len(own) == 1 else f"{name}.{kind.__name__}"


def _configurations(module: Any) -> list[Any]:
    """The model configurations that a module of `openpfn.configs` defines."""
    return [
        kind
        for kind in vars(module).values()
        if is_dataclass(kind) and getattr(kind, "model", None)
    ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        previous = _previous(path)
        hint = f" An older one is kept in {previous}." if previous.is_file() else ""
        raise ValueError(f"{path} is not a whole safetensors file ({error}).{hint}") from error


def _portable(tensor: Tensor) -> Tensor:
    # a copy on the CPU of its own: tied weights may not share memory in the file
    return tensor.detach().to("cpu", copy=True).contiguous()


def as_json(config: Any) -> dict[str, Any]:
    """A configuration as a checkpoint records it."""
    return json.loads(json.dumps(asdict(config), default=plain))


def from_json(kind: Any, values: Mapping[str, Any], path: Path) -> Any:
    """The configuration of class `kind` that `path` records as `values`; fields that it does not
    set keep their defaults.

    Raises ValueError if it sets a field that this version does not have.
    """
    unknown = sorted(values.keys() - {f.name for f in fields(kind)})
    if unknown:
        names = ", ".join(unknown)
        raise ValueError(
            f"{path} sets {names} of {kind.__name__}, unknown to this version. Use the version that"
            " wrote it."
        )
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
    )


def plain(value: Any) -> Any:
    """What JSON writes for a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    as_list = getattr(value, "tolist", None)  # a number or an array of NumPy's or torch's
    return str(value) if as_list is None else as_list()


def _previous(path: Path) -> Path:
    return path.with_suffix(".previous.safetensors")


def _keep(path: Path) -> None:
    """Give the file at `path` a second name, so that `path` itself never goes missing."""
    link = path.with_name(f".{path.name}.{os.getpid()}.link")
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links
        return
    os.replace(link, _previous(path))
